#include "http/client_connect.h"

#include <poll.h>

#include <boost/asio/post.hpp>
#include <boost/asio/ssl/context.hpp>

#include "base/text.h"
#include "http/stream_transport.h"

namespace podpass::http {
namespace {

using asio::ip::tcp;
using boost::system::error_code;
using std::chrono::steady_clock;

constexpr std::size_t kLookups = 4;  // names that are resolved at a time: getaddrinfo blocks

struct Lookup {
  bool done = false;
  error_code failed;
  std::vector<asio::ip::address> addresses;
};

// One after the other; a silent one gets its share of the time that is left, so that the next has a chance.
asio::awaitable<Result<Socket>> connectAny(asio::io_context& loop, SendingPtr sending, std::vector<asio::ip::address> addresses, Url url) {
  const auto port = static_cast<unsigned short>(std::strtoul(url.port.c_str(), nullptr, 10));
  std::string problem;
  for (std::size_t i = 0; i < addresses.size() && !sending->ended; ++i) {
    const auto socket = std::make_shared<Socket>(loop);
    const auto close = [weak = std::weak_ptr(socket)] {
      error_code ignored;
      if (const std::shared_ptr<Socket> still = weak.lock()) still->close(ignored);
    };
    const SteadyTime now = steady_clock::now();
    asio::steady_timer attempt(loop, now + (sending->deadline - now) / static_cast<int>(addresses.size() - i));
    attempt.async_wait([close](error_code cancelled) {
      if (!cancelled) close();
    });
    sending->close = close;
    const tcp::endpoint endpoint(addresses[i], port);
    const auto [failed] = co_await socket->async_connect(endpoint, asio::as_tuple(asio::use_awaitable));
    sending->close = nullptr;
    if (!failed) co_return std::move(*socket);
    problem = failed == asio::error::operation_aborted ? "no answer from " + addresses[i].to_string() : failed.message();
  }
  co_return Error{Reason::Unavailable, "cannot connect to " + url.authority + ": " + problem};
}

}  // namespace

bool PooledConnection::quiet() const {
  pollfd asked{socket, POLLIN, 0};
  return ::poll(&asked, 1, 0) == 0;
}

asio::awaitable<Result<ConnectionPtr>> Connector::connect(SendingPtr sending, std::shared_ptr<const ClientTls> tls, Url url,
                                                          const FetchOptions& options) {
  Result<Addresses> addresses = co_await resolve(sending, url.host, options);
  if (sending->ended) co_return *sending->ended;
  if (!addresses) co_return addresses.error();
  Result<Socket> socket = co_await connectAny(loop_, sending, *std::move(addresses), url);
  if (sending->ended) co_return *sending->ended;
  if (!socket) co_return socket.error();
  keepAlive(*socket);
  auto connection = std::make_shared<PooledConnection>(loop_);
  connection->socket = (*socket).native_handle();
  error_code gone;
  connection->to = (*socket).remote_endpoint(gone).address();
  if (gone) co_return Error{Reason::Unavailable, "the connection to " + url.authority + " was closed"};
  if (!url.secure) {
    connection->transport = std::make_shared<StreamTransport<Socket>>(*std::move(socket));
    sending->close = [transport = connection->transport] { transport->close(); };
    co_return connection;
  }
  connection->tls = tls;
  const auto transport = std::make_shared<StreamTransport<TlsStream>>(*std::move(socket), SSL_new(tls->context.get()));
  connection->transport = transport;
  sending->close = [transport] { transport->close(); };
  SSL* ssl = transport->stream().native_handle();
  const std::string& name = options.serverName.empty() ? url.host : options.serverName;
  ChainVerdict verdict;
  if (!expectServer(ssl, name, verdict)) co_return Error{Reason::BadRequest, "not a host name: " + quoted(name)};
  const auto [failed] = co_await transport->stream().async_handshake(asio::ssl::stream_base::client, asio::as_tuple(asio::use_awaitable));
  if (sending->ended) co_return *sending->ended;
  if (failed) co_return handshakeFailure(ssl, url.authority, name, verdict, failed.message());
  connection->http2 = negotiatedHttp2(ssl);
  co_return connection;
}

// getaddrinfo cannot be interrupted: it is left behind when the request ends before.
asio::awaitable<Result<Connector::Addresses>> Connector::resolve(SendingPtr sending, std::string host, const FetchOptions& options) {
  error_code notAnAddress;
  const asio::ip::address literal = asio::ip::make_address(host, notAnAddress);
  if (!notAnAddress) co_return allowedOf({literal}, host, options);
  if (!lookups_) lookups_.emplace(kLookups);
  const auto lookup = std::make_shared<Lookup>();
  asio::post(*lookups_, [this, sending, lookup, host] {
    Lookup found;
    tcp::resolver resolver(*lookups_);
    for (const auto& entry : resolver.resolve(host, "", found.failed)) found.addresses.push_back(entry.endpoint().address());
    found.done = true;
    asio::post(loop_, [sending, lookup, found = std::move(found)] {
      *lookup = found;
      sending->wakeup.wake();
    });
  });
  while (!lookup->done && !sending->ended) co_await sending->wakeup.wait();
  if (sending->ended) co_return *sending->ended;
  if (lookup->failed) co_return Error{Reason::Unavailable, "cannot resolve " + host + ": " + lookup->failed.message()};
  co_return allowedOf(std::move(lookup->addresses), host, options);
}

Result<Connector::Addresses> Connector::allowedOf(Addresses addresses, const std::string& host, const FetchOptions& options) const {
  const std::string first = addresses.empty() ? "" : addresses.front().to_string();
  for (const auto* allowed : {&allowed_, &options.allowed})
    if (*allowed) std::erase_if(addresses, [allowed](const asio::ip::address& address) { return !(*allowed)(address); });
  if (addresses.empty())
    return Error{Reason::Forbidden, "the address " + first + " of " + host + " is excluded", "allow it, if it is meant"};
  return addresses;
}

}  // namespace podpass::http
