#pragma once

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <future>
#include <stdexcept>

#include "base/text.h"
#include "irsa/sigv4.h"
#include "irsa/sts_service.h"
#include "jose/test_keys.h"

// A whole STS in memory for tests and benchmarks: an issuer on loopback, an API with one provider and the roles that are put there.
namespace podpass::irsa::test {

// Serves discovery and JWKS of one key.
class Issuer {
 public:
  explicit Issuer(std::string_view pem) : key_(*jose::makeKey(*crypto::KeyPair::fromPrivatePem(pem))) {
    server_ = http::makeServer({.tls = std::nullopt, .threads = 1, .limits = {}},
                               [this](std::shared_ptr<const http::Request> request) { return handle(std::move(request)); });
    if (!server_->start()) throw std::runtime_error("the issuer did not start");
    url_ = "http://127.0.0.1:" + std::to_string(server_->port());
  }
  ~Issuer() { server_->stop(std::chrono::milliseconds(0)); }
  [[nodiscard]] const std::string& url() const { return url_; }
  [[nodiscard]] std::string sign(const json::object& claims) const { return *jose::signCompact(key_, json::serialize(claims)); }
  [[nodiscard]] const jose::Key& key() const { return key_; }

  // What becomes of an answer; set while nobody asks.
  std::function<void(const std::string& path, http::Response& response)> spoil;
  std::chrono::milliseconds delay{0};
  std::atomic<int> asked{0};

 private:
  http::asio::awaitable<http::Response> handle(std::shared_ptr<const http::Request> request) {
    json::object document{{"issuer", url_}, {"jwks_uri", url_ + "/keys"}};
    if (request->path == "/keys") document = {{"keys", json::array{jose::toJwk(key_)}}};
    http::Response response;
    response.headers.add("Content-Type", "application/json");
    response.body = std::make_shared<const std::string>(json::serialize(document));
    ++asked;
    if (spoil) spoil(request->path, response);
    boost::asio::steady_timer timer(co_await http::asio::this_coro::executor, delay);
    co_await timer.async_wait(http::asio::use_awaitable);
    co_return response;
  }
  jose::Key key_;
  std::string url_;
  std::unique_ptr<http::Server> server_;
};

// Lists and gets what was put; watches tell of what is put later. What is created is kept; subresources answer as `subresource` says.
class Api final : public api::Client {
 public:
  void put(const api::Kind& kind, json::object object) {
    auto document = std::make_shared<Document>();
    object["apiVersion"] = kind.apiVersion();
    object["kind"] = kind.kind;
    document->value = std::move(object);
    std::vector<DocumentPtr>& known = objects_[&kind];
    std::erase_if(known, [&document](const DocumentPtr& each) {
      const auto name = [](const Document& of) {
        return std::pair(textAt(of.value, {"metadata", "namespace"}), textAt(of.value, {"metadata", "name"}));
      };
      return name(*each) == name(*document);
    });
    known.push_back(document);
    if (changed_[&kind]) changed_[&kind]({api::WatchEvent::Type::Modified, document});
  }
  Result<DocumentPtr> create(const api::Kind& kind, const std::string&, json::object object) override {
    if (const auto refused = refused_.find(kind.plural); refused != refused_.end()) return refused->second;
    const std::lock_guard lock(mutex_);
    if (kind.plural == "tokenreviews") object["status"] = review;
    auto document = std::make_shared<Document>();
    document->value = std::move(object);
    events.push_back(document);
    return DocumentPtr(document);
  }
  Result<api::Listing> list(const api::Kind& kind, const std::string&, const api::Selectors&) override {
    if (const auto refused = refused_.find(kind.plural); refused != refused_.end()) return refused->second;
    return api::Listing{objects_[&kind], 1};
  }
  // From now on whoever asks for objects of this plural gets the error.
  void refuse(std::string_view plural, Error error) { refused_.insert_or_assign(std::string(plural), std::move(error)); }
  void allow(std::string_view plural) { refused_.erase(std::string(plural)); }
  void clear(const api::Kind& kind) { objects_[&kind].clear(); }
  Result<std::unique_ptr<api::Watching>> watch(const api::Kind& kind, const std::string&, const api::Selectors&, std::uint64_t,
                                               std::function<void(const api::WatchEvent&)> changed) override {
    changed_[&kind] = std::move(changed);
    return std::make_unique<api::Watching>();
  }
  Result<void> remove(const api::Kind&, const api::ObjectName& name, const api::DeleteOptions&) override {
    const std::lock_guard lock(mutex_);
    std::erase_if(events, [&](const DocumentPtr& event) { return textAt(event->value, {"metadata", "name"}) == name.name; });
    return {};
  }
  Result<DocumentPtr> get(const api::Kind& kind, const api::ObjectName& name) override {
    if (const auto refused = refused_.find(kind.plural); refused != refused_.end()) return refused->second;
    const std::vector<DocumentPtr>& all = objects_[&kind];  // the last put counts
    for (auto each = all.rbegin(); each != all.rend(); ++each)
      if (textAt((*each)->value, {"metadata", "name"}) == name.name && textAt((*each)->value, {"metadata", "namespace"}) == name.ns)
        return *each;
    return none();
  }
  Result<DocumentPtr> update(const api::Kind&, const api::ObjectName&, json::object) override { return none(); }
  Result<DocumentPtr> updateStatus(const api::Kind&, const api::ObjectName&, json::object) override { return none(); }
  Result<DocumentPtr> updateSubresource(const api::Kind&, const api::ObjectName&, std::string_view, json::object) override {
    return none();
  }
  Result<DocumentPtr> mergePatch(const api::Kind&, const api::ObjectName&, json::object, std::string_view) override { return none(); }
  Result<json::object> createSubresource(const api::Kind&, const api::ObjectName&, std::string_view, json::object body) override {
    return subresource ? subresource(body) : Result<json::object>(none());
  }

  std::vector<DocumentPtr> events;  // read it when the refusal log has stopped
  std::function<Result<json::object>(const json::object& body)> subresource;
  json::object review;  // status of the TokenReviews that are created

 private:
  static Error none() { return {Reason::NotFound, "not there"}; }
  std::mutex mutex_;
  std::map<std::string, Error, std::less<>> refused_;  // by plural
  std::map<const api::Kind*, std::vector<DocumentPtr>> objects_;
  std::map<const api::Kind*, std::function<void(const api::WatchEvent&)>> changed_;
};

struct Answer {
  int status = 0;
  std::string body;
  // The text of the first element of that name; "" without one.
  [[nodiscard]] std::string element(const std::string& name) const {
    const std::size_t start = body.find("<" + name + ">");
    return start == std::string::npos ? "" : body.substr(start + name.size() + 2, body.find("</" + name + ">") - start - name.size() - 2);
  }
  [[nodiscard]] std::string code() const { return status == 200 ? "good" : element("Code"); }
  [[nodiscard]] std::string sentence() const { return code() + ": " + element("Message"); }
};

// Signs as AWS's clients do.
struct Signer {
  std::string accessKeyId, secretAccessKey, sessionToken;
  explicit Signer(const Answer& assumed)
      : accessKeyId(assumed.element("AccessKeyId")),
        secretAccessKey(assumed.element("SecretAccessKey")),
        sessionToken(assumed.element("SessionToken")) {}
  explicit Signer(const Credentials& credentials)
      : accessKeyId(credentials.accessKeyId),
        secretAccessKey(credentials.secretAccessKey.reveal()),
        sessionToken(credentials.sessionToken.reveal()) {}

  [[nodiscard]] http::Request sign(std::string body, WallTime when, const std::string& region = "eu-west-1") const {
    std::string date = rfc3339(when);
    std::erase_if(date, [](char c) { return c == '-' || c == ':'; });
    http::Request request;
    request.method = "POST";
    request.path = request.target = "/";
    request.remote = "127.0.0.1:5";
    request.body = std::move(body);
    request.headers.add("Host", "127.0.0.1:7443");
    request.headers.add("X-Amz-Date", date);
    std::string names = "host;x-amz-date";
    if (!sessionToken.empty()) {
      request.headers.add("X-Amz-Security-Token", sessionToken);
      names += ";x-amz-security-token";
    }
    const auto authorization = [&](const std::string& hex) {
      return "AWS4-HMAC-SHA256 Credential=" + accessKeyId + "/" + date.substr(0, 8) + "/" + region +
             "/sts/aws4_request, SignedHeaders=" + names + ", Signature=" + hex;
    };
    http::Request draft = request;
    draft.headers.add("Authorization", authorization("x"));
    const Outcome<Signature> signature = readSignature(draft);
    if (!signature) throw std::runtime_error(signature.refusal().message);
    request.headers.add("Authorization",
                        authorization(signatureOf(*signature, canonicalRequest(*signature, draft), Secret(secretAccessKey))));
    return request;
  }
};

class Sts {
 public:
  explicit Sts(std::string_view issuerPem = jose::test::kEcPem, std::size_t roles = 1, std::chrono::seconds skew = {})
      : issuer(issuerPem), directory(api, relyingParty, "000000000000", skew), refusals(api, clock) {
    api.put(providers(), {{"metadata", json::object{{"name", "p"}, {"uid", "p"}}},
                          {"spec", json::object{{"url", issuer.url()}, {"clientIDs", json::array{"sts.amazonaws.com"}}}}});
    for (std::size_t i = 0; i < roles; ++i) putRole("role" + std::to_string(i));
    if (!directory.start()) throw std::runtime_error("the directory did not start");
  }
  ~Sts() { refusals.stop(); }

  // Trusts the service account a/b unless `more` has a trust policy.
  void putRole(const std::string& name, json::object more = {}) {
    json::object spec = std::move(more);
    if (!spec.contains("trustPolicy"))
      spec["trustPolicy"] =
          policy("sts:AssumeRoleWithWebIdentity", R"({"StringEquals":{")" + prefix() + R"(:sub":"system:serviceaccount:a:b"}})");
    api.put(roleKind(), {{"metadata", json::object{{"name", name}, {"uid", name}}}, {"spec", std::move(spec)}});
  }
  [[nodiscard]] std::string prefix() const { return issuer.url().substr(7); }  // of the issuer's condition keys
  // Allows the actions, a text or several in a list, to tokens of the issuer and to everybody in AWS.
  [[nodiscard]] std::string policy(const std::string& actions, const std::string& condition = "{}") const {
    return R"({"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"*","Federated":"arn:aws:iam::000000000000:oidc-provider/)" +
           prefix() + R"("},"Action":)" + (actions.starts_with("[") ? actions : "\"" + actions + "\"") + R"(,"Condition":)" + condition +
           "}}";
  }
  [[nodiscard]] Signer administrator() const { return Signer(keys->administrator("000000000000")); }
  Answer ask(const Signer& signer, const std::string& body) { return ask(signer.sign("Version=2011-06-15&" + body, clock.now())); }
  [[nodiscard]] std::string token(json::object more = {}) const {
    const auto now = std::chrono::duration_cast<std::chrono::seconds>(clock.now().time_since_epoch()).count();
    json::object claims{
        {"iss", issuer.url()}, {"sub", "system:serviceaccount:a:b"}, {"aud", "sts.amazonaws.com"}, {"iat", now}, {"exp", now + 600}};
    for (const auto& [name, value] : more) claims[name] = value;
    return issuer.sign(claims);
  }
  static http::Request assume(const std::string& role, const std::string& token, const std::string& more = {}) {
    http::Request request;
    request.method = "POST";
    request.path = request.target = "/";
    request.remote = "127.0.0.1:5";
    request.body = "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleSessionName=ss&RoleArn=arn:aws:iam::000000000000:role/" + role +
                   "&WebIdentityToken=" + token + more;
    return request;
  }
  Answer ask(http::Request request, bool secure = true) {
    http::asio::io_context here(1);
    Arrival arrival{.secure = secure};
    auto done = http::asio::co_spawn(here, service.handle(std::make_shared<const http::Request>(std::move(request)), std::move(arrival)),
                                     http::asio::use_future);
    here.run();
    const http::Response response = done.get();
    return {response.status, *response.body};
  }
  static const api::Kind& roleKind() { return *api::findKind("iam.podpass.dev", "v1", "roles"); }
  static const api::Kind& providers() { return *api::findKind("iam.podpass.dev", "v1", "oidcproviders"); }

  FakeClock clock;
  Issuer issuer;
  Api api;
  boost::asio::thread_pool pool{2};
  token::RelyingParty relyingParty{pool, clock};
  StsDirectory directory;
  StsRefusalLog refusals;
  std::shared_ptr<const CredentialKeys> keys = std::make_shared<const CredentialKeys>(std::vector<Secret>{Secret(std::string(32, 'k'))});
  StsService service{keys, directory, relyingParty, refusals, clock};
};

}  // namespace podpass::irsa::test
