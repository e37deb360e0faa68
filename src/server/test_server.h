#pragma once

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <stdexcept>
#include <string>

#include "api/kinds.h"
#include "http/message.h"
#include "jose/test_keys.h"
#include "server/api_server.h"
#include "server/issued_tokens.h"
#include "server/token_issuers.h"
#include "server/webhook_admission.h"
#include "store/store.h"

namespace podpass::server::test {

constexpr const char* kIssuer = "https://issuer.example";
constexpr const char* kOldIssuer = "https://old.example/id/1";
constexpr const char* kApiAudience = "https://kubernetes.default.svc";

// Tests and benchmarks share this fixture, so it has no words of a test framework: what it needs and does not get ends the test.
inline void require(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error("the test server failed: " + what);
}

struct Answer {
  int status = 0;
  http::Headers headers;
  std::string text;
  json::object body;  // empty when the text is not a JSON object
  [[nodiscard]] std::string message() const { return std::string(textAt(body, {"message"})); }
  [[nodiscard]] std::string reason() const { return std::string(textAt(body, {"reason"})); }
};

inline std::shared_ptr<const token::KeyRing> testRing(std::string_view pem = jose::test::kEcPem) {
  auto key = std::make_shared<const jose::Key>(*jose::makeKey(*crypto::KeyPair::fromPrivatePem(pem)));
  return std::make_shared<const token::KeyRing>(std::vector{std::move(key)});
}

// The whole API server over a store in memory, asked without a wire; the namespace and service account default/default are there.
class TestServer {
 public:
  explicit TestServer(ApiServerOptions options = {.serverAddress = "127.0.0.1:6443", .jwksUri = "https://issuer.example/openid/v1/jwks"},
                      std::unique_ptr<Store> kept = makeMemoryStore())
      : store(std::move(kept)), api_(std::move(options), registry, admission, authenticator, authorizer, issuer, verifier, ring, clock) {
    registry.setAdmission(&admission);
    registry.setWebhooks(&webhooks);
    registry.setComputed(api::issuedTokenKind(), issuedTokens(registry, liveTokens));
    registry.setComputed(api::tokenIssuerKind(), tokenIssuers(registry, liveTokens, {kIssuer, kOldIssuer}));
    registry.setSupplement(api::signingKeyKind(), livesOfKeys(liveTokens));
    require(static_cast<bool>(revocations.start()), "revocations");
    require(ask("POST", "/api/v1/namespaces", R"({"metadata":{"name":"default"}})").status == 201, "namespace");
    require(ask("POST", "/api/v1/namespaces/default/serviceaccounts", R"({"metadata":{"name":"default"}})").status == 201, "account");
  }

  // As the admin (a client certificate of system:masters), unless the headers hold an Authorization.
  Answer ask(std::string method, std::string_view target, std::string body = "", http::Headers headers = {}) {
    return send(request(std::move(method), target, std::move(body), std::move(headers)));
  }
  static std::shared_ptr<const http::Request> request(std::string method, std::string_view target, std::string body = "",
                                                      http::Headers headers = {}) {
    auto made = std::make_shared<http::Request>();
    made->method = std::move(method);
    require(http::setTarget(*made, target), "target");
    if (!headers.has("authorization"))
      made->peer = std::make_shared<http::PeerCertificate>(http::PeerCertificate{"admin", {"system:masters"}, "00"});
    if (!headers.has("content-type")) headers.add("Content-Type", "application/json");
    made->headers = std::move(headers);
    made->body = std::move(body);
    made->remote = "127.0.0.1:50000";
    return made;
  }
  Answer send(std::shared_ptr<const http::Request> request) {
    http::Response response = run(api_.handle(std::move(request)));
    Answer answer{response.status, std::move(response.headers), response.body ? *response.body : std::string(), {}};
    boost::system::error_code failed;
    if (json::value parsed = json::parse(answer.text, failed); !failed && parsed.is_object()) answer.body = std::move(parsed.get_object());
    return answer;
  }
  asio::io_context& loop() { return loop_; }
  // Runs until the coroutine has ended.
  template <class T>
  T run(asio::awaitable<T> work) {
    loop_.restart();
    auto working = asio::make_work_guard(loop_);  // part of the work is done by other threads
    std::optional<T> result;
    asio::co_spawn(loop_, std::move(work), [&](std::exception_ptr failed, T value) {
      if (failed) std::rethrow_exception(failed);
      result = std::move(value);
      working.reset();
    });
    loop_.run();
    return *std::move(result);
  }
  // A bound token of default/default for `audience` ("": the API server).
  std::string token(const std::string& audience = "") {
    json::object spec;
    if (!audience.empty()) spec["audiences"] = json::array{audience};
    const Answer made =
        ask("POST", "/api/v1/namespaces/default/serviceaccounts/default/token", json::serialize(json::object{{"spec", spec}}));
    require(made.status == 201, made.text);
    return std::string(textAt(made.body, {"status", "token"}));
  }

 private:
  asio::io_context loop_;  // first, so that it outlives the threads that come back to it

 public:
  FakeClock clock;
  std::unique_ptr<Store> store;
  Registry registry{*store, clock};
  Admission admission{registry};
  http::Client client;
  WebhookAdmission webhooks{*store, registry, client};
  Snapshot<token::KeyRing> ring{testRing()};
  token::Inventory inventory{"", clock, [] { return WallTime{}; }};  // not started: in memory
  token::Issuer issuer{kIssuer, ring, nullptr, &inventory};
  token::Revocations revocations{*store, clock, [] { return std::nullopt; }};
  LiveTokens liveTokens{inventory, ring, revocations, clock};
  token::Verifier verifier{{kIssuer, kOldIssuer},
                           {kApiAudience},
                           ring,
                           [this](std::string_view plural, const std::string& ns, const std::string& name) {
                             return registry.read(*api::findKind("", "v1", plural), ns, name);
                           },
                           clock,
                           &revocations};
  auth::Authenticator authenticator{verifier};
  auth::Authorizer authorizer{registry};
  ApiServer& api() { return api_; }

 private:
  ApiServer api_;
};

inline http::Headers headers(std::initializer_list<std::pair<std::string, std::string>> all) {
  http::Headers made;
  for (const auto& [name, value] : all) made.add(name, value);
  return made;
}

}  // namespace podpass::server::test
