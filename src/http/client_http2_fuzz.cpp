#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdlib>

#include "http/client_http2.h"
#include "http/test_memory_transport.h"

// Whatever a server sends and then hangs up: each request has ended, its answer within the bounds that were asked for, and nothing waits
// on.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace http = podpass::http;
  namespace asio = boost::asio;
  if (size == 0) return 0;
  asio::io_context loop(1);
  const auto transport = std::make_shared<http::MemoryTransport>(loop.get_executor(), 1u + data[0]);
  const std::string kSettings("\0\0\0\4\0\0\0\0\0", 9);
  transport->feed(kSettings + std::string(reinterpret_cast<const char*>(data + 1), size - 1));
  transport->hangUp();
  const auto connection = std::make_shared<http::Http2Connection>(transport, asio::ip::address(), "server", http::ClientOptions(), [] {});
  if (!connection->start()) std::abort();

  http::FetchOptions options;
  options.method = "POST";
  options.body = "question";
  options.maxBody = 1000;
  const http::Url url = *http::parseUrl("https://server/");
  int ended = 0;
  const auto check = [&](std::exception_ptr thrown, const podpass::Result<http::Fetched>& fetched) {
    ++ended;
    const bool good = fetched ? fetched->status >= 200 && fetched->status <= 999 && fetched->body.size() <= options.maxBody
                              : !fetched.error().sentence.empty();
    if (thrown || !good) std::abort();
  };
  http::Exchange exchanges[3];
  for (http::Exchange& exchange : exchanges) asio::co_spawn(loop, connection->answerOf(connection->begin(url, options), exchange), check);
  loop.run();
  if (ended != 3 || !connection->over()) std::abort();
  return 0;
}
