#pragma once

#include <gtest/gtest.h>

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <mutex>

#include "http/test_certificates.h"
#include "jose/jws.h"
#include "jose/test_keys.h"

namespace podpass::token {

namespace asio = boost::asio;
using namespace std::chrono_literals;

inline jose::Key keyFrom(std::string_view pem) { return *jose::makeKey(*crypto::KeyPair::fromPrivatePem(pem)); }
inline const jose::Key& rsa() {
  static const jose::Key key = keyFrom(jose::test::kRsaPem);
  return key;
}
inline const jose::Key& ec() {
  static const jose::Key key = keyFrom(jose::test::kEcPem);
  return key;
}

inline std::string jwksOf(const std::vector<jose::Key>& keys) {
  json::array all;
  for (const jose::Key& key : keys) all.push_back(jose::toJwk(key));
  return json::serialize(json::object{{"keys", std::move(all)}});
}

inline http::Response answerOf(std::string text, int status = 200, std::string type = "application/json") {
  http::Response response;
  response.status = status;
  response.headers.add("Content-Type", std::move(type));
  response.body = std::make_shared<const std::string>(std::move(text));
  return response;
}

// Somebody's issuer over TLS, which answers as the test wants and counts what it was asked.
class SomebodysIssuer {
 public:
  explicit SomebodysIssuer(bool tls = true) {
    http::ServerOptions options;
    if (tls) options.tls = http::Certificates::get().files();
    options.threads = 1;
    server_ = http::makeServer(options, [this](std::shared_ptr<const http::Request> request) { return handle(std::move(request)); });
    const Result<void> started = server_->start();
    EXPECT_TRUE(started);
    url_ = std::string(tls ? "https" : "http") + "://127.0.0.1:" + std::to_string(server_->port());
    publish({rsa(), ec()});
    document = answerOf(openidDocument(url_, url_ + "/keys"));
  }
  ~SomebodysIssuer() { server_->stop(0ms); }

  static std::string openidDocument(const std::string& issuer, const std::string& jwksUri) {
    return json::serialize(json::object{{"issuer", issuer}, {"jwks_uri", jwksUri}});
  }
  void publish(const std::vector<jose::Key>& keys) {
    change([&] { jwks = answerOf(jwksOf(keys)); });
  }
  void change(const std::function<void()>& how) {
    const std::lock_guard lock(mutex_);
    how();
  }
  [[nodiscard]] const std::string& url() const { return url_; }
  [[nodiscard]] int asked() const { return asked_; }
  void stop() { server_->stop(0ms); }

  http::Response document, jwks;  // through change(), once the server runs
  std::chrono::milliseconds delay{0};

 private:
  asio::awaitable<http::Response> handle(std::shared_ptr<const http::Request> request) {
    ++asked_;
    http::Response response;
    std::chrono::milliseconds wait{};
    {
      const std::lock_guard lock(mutex_);
      wait = delay;
      response = request->path == "/.well-known/openid-configuration" ? document : request->path == "/keys" ? jwks : answerOf("{}", 404);
    }
    asio::steady_timer timer(co_await asio::this_coro::executor, wait);
    co_await timer.async_wait(asio::use_awaitable);
    co_return response;
  }

  std::mutex mutex_;
  std::atomic<int> asked_{0};
  std::unique_ptr<http::Server> server_;
  std::string url_;
};

}  // namespace podpass::token
