#pragma once

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>
#include <future>

#include "http/client.h"
#include "http/test_certificates.h"

namespace podpass::http {

inline FetchOptions multiplexing(std::string body = "") {
  FetchOptions options;
  options.caPem = Certificates::get().text("ca.crt");
  options.multiplex = true;
  options.timeout = std::chrono::seconds(20);
  if (!body.empty()) options.method = "POST";
  options.body = std::move(body);
  return options;
}

// What is asked at once, on one event loop.
class Together {
 public:
  explicit Together(Client& client) : client_(client) {}
  void add(const std::string& url, FetchOptions options = multiplexing()) {
    answers_.push_back(asio::co_spawn(loop_, client_.send(url, std::move(options)), asio::use_future));
  }
  std::vector<Result<Fetched>> answers() {
    loop_.run();
    std::vector<Result<Fetched>> all;
    for (auto& each : answers_) all.push_back(each.get());
    return all;
  }

 private:
  Client& client_;
  asio::io_context loop_{1};
  std::vector<std::future<Result<Fetched>>> answers_;
};

inline std::string textOf(const Result<Fetched>& fetched) { return fetched ? fetched->body : "error: " + fetched.error().sentence; }

}  // namespace podpass::http
