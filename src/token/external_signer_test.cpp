#include "token/external_signer.h"

#include <external_jwt_signer.grpc.pb.h>
#include <external_jwt_signer_alpha.grpc.pb.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/text.h"
#include "jose/test_keys.h"
#include "token/issuer.h"
#include "token/verifier.h"

namespace podpass::token {
namespace {

namespace wire = ::v1;
using namespace std::chrono_literals;

struct Directory {
  std::filesystem::path path = std::filesystem::temp_directory_path() / ("podpass-signer-" + randomUuid().substr(0, 8));
  Directory() { std::filesystem::create_directories(path); }
  ~Directory() { std::filesystem::remove_all(path); }
};

jose::Key keyFrom(const crypto::KeyPair& pair, std::string kid) { return {std::move(kid), pair.algorithm(), pair}; }

// Somebody's signer: what it answers is the test's to say.
template <class Base>
class Signer final : public Base::Service {
 public:
  explicit Signer(const std::string& socket) : socket_(socket) { start(); }
  ~Signer() override { stop(); }
  void start() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("unix:" + socket_, grpc::InsecureServerCredentials());
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  void stop() {
    if (server_) server_->Shutdown(std::chrono::system_clock::now());
    server_.reset();
  }

  std::mutex mutex;  // guards the answers
  std::vector<jose::Key> keys{keyFrom(*crypto::KeyPair::fromPrivatePem(jose::test::kEcPem), "first")};
  std::int64_t hint = 3600, life = 7200;
  bool hasTimestamp = true, lies = false;
  grpc::Status refusal = grpc::Status::OK;
  int fetches = 0;

  // Signs with the last key.
  grpc::Status Sign(grpc::ServerContext*, const wire::SignJWTRequest* request, wire::SignJWTResponse* response) override {
    const std::lock_guard lock(mutex);
    if (!refusal.ok()) return refusal;
    const jose::Key& key = keys.back();
    response->set_header(base64UrlEncode(R"({"alg":")" + key.alg + R"(","kid":")" + key.kid + R"(","typ":"JWT"})"));
    response->set_signature(base64UrlEncode(*key.key.sign(response->header() + "." + request->claims() + (lies ? "x" : ""))));
    return grpc::Status::OK;
  }
  grpc::Status FetchKeys(grpc::ServerContext*, const wire::FetchKeysRequest*, wire::FetchKeysResponse* response) override {
    const std::lock_guard lock(mutex);
    ++fetches;
    if (!refusal.ok()) return refusal;
    for (const jose::Key& key : keys) {
      wire::Key& each = *response->add_keys();
      each.set_key_id(key.kid);
      each.set_key(key.key.publicDer());
    }
    if (hasTimestamp) response->mutable_data_timestamp()->set_seconds(1'700'000'000);
    response->set_refresh_hint_seconds(hint);
    return grpc::Status::OK;
  }
  grpc::Status Metadata(grpc::ServerContext*, const wire::MetadataRequest*, wire::MetadataResponse* response) override {
    const std::lock_guard lock(mutex);
    response->set_max_token_expiration_seconds(life);
    return refusal;
  }
  void change(const std::function<void()>& how) {
    const std::lock_guard lock(mutex);
    how();
  }

 private:
  std::string socket_;
  std::unique_ptr<grpc::Server> server_;
};
using CurrentSigner = Signer<wire::ExternalJWTSigner>;

struct Pair {
  Directory directory;
  std::string socket = (directory.path / "s").string();
  CurrentSigner signer{socket};
};

bool eventually(const std::function<bool()>& holds) {
  for (const auto end = std::chrono::steady_clock::now() + 20s; std::chrono::steady_clock::now() < end; std::this_thread::sleep_for(20ms))
    if (holds()) return true;
  return false;
}

std::string refusalOf(ExternalSigner& signer) {
  const Result<Secret> token = signer.sign("{}");
  return token ? "" : token.error().sentence;
}

TEST(ExternalSigner, SignsWithTheSignersHeaderAndTellsItsKeysAndLimits) {
  Pair pair;
  const auto signer = ExternalSigner::connect(pair.socket);
  ASSERT_TRUE(signer) << signer.error().sentence;
  EXPECT_EQ((*signer)->maxTokenLife(), 7200s);
  EXPECT_GT((*signer)->untilRefresh(), 3590s);
  const Result<Secret> token = (*signer)->sign(R"({"sub":"a"})");
  ASSERT_TRUE(token) << token.error().sentence;
  const auto jws = jose::parseCompactJws(token->reveal());
  EXPECT_EQ(jws->typ, "JWT");
  EXPECT_EQ(jws->kid, "first");
  EXPECT_EQ(textAt(jws->payload, {"sub"}), "a");
  const std::string metrics = (*signer)->metrics();
  EXPECT_NE(metrics.find("apiserver_externaljwt_sign_request_total{code=\"OK\"} 1\n"), std::string::npos) << metrics;
  EXPECT_NE(metrics.find("apiserver_externaljwt_fetch_keys_request_total{code=\"OK\"} 1\n"), std::string::npos);
  EXPECT_NE(metrics.find("apiserver_externaljwt_fetch_keys_data_timestamp 1700000000\n"), std::string::npos);
  EXPECT_NE(metrics.find("apiserver_externaljwt_request_duration_seconds_count{method=\"Metadata\",code=\"OK\"} 1\n"), std::string::npos);
}

TEST(ExternalSigner, SpeaksTheAlphasNameWhereTheSignerKnowsNoOther) {
  const Directory directory;
  const std::string socket = (directory.path / "s").string();
  auto old = std::make_unique<Signer<v1alpha1::ExternalJWTSigner>>(socket);
  const auto signer = ExternalSigner::connect(socket);
  ASSERT_TRUE(signer) << signer.error().sentence;
  EXPECT_EQ(refusalOf(**signer), "");
  old.reset();
  const CurrentSigner next(socket);  // replaced by a newer version
  EXPECT_EQ(refusalOf(**signer), "");
}

TEST(ExternalSigner, IsNotTakenWhenItsFirstAnswersAreUnacceptable) {
  struct Case {
    const char* why;
    std::function<void(CurrentSigner&)> spoil;
    const char* says;
  };
  for (const Case& c :
       {Case{"too short a life", [](CurrentSigner& s) { s.life = 599; },
             "max token life supported by external-jwt-signer (599s) is less than acceptable (min 600s)"},
        Case{"no hint", [](CurrentSigner& s) { s.hint = 0; }, "while fetching keys: found invalid refresh hint (0s)"},
        Case{"no keys", [](CurrentSigner& s) { s.keys.clear(); }, "while fetching keys: found no keys"},
        Case{"no time", [](CurrentSigner& s) { s.hasTimestamp = false; }, "while fetching keys: found invalid data timestamp"},
        Case{"an error",
             [](CurrentSigner& s) {
               s.refusal = {grpc::StatusCode::PERMISSION_DENIED, "not you"};
             },
             "while fetching metadata: rpc error: code = PermissionDenied desc = not you"}}) {
    Pair pair;
    c.spoil(pair.signer);
    const auto signer = ExternalSigner::connect(pair.socket);
    ASSERT_FALSE(signer) << c.why;
    EXPECT_EQ(signer.error().sentence, c.says) << c.why;
    EXPECT_EQ(signer.error().reason, Reason::Unavailable);
  }
}

TEST(ExternalSigner, NeverHandsOutWhatItDidNotVerify) {
  Pair pair;
  const auto signer = *ExternalSigner::connect(pair.socket);
  pair.signer.change([&] { pair.signer.lies = true; });
  EXPECT_NE(refusalOf(*signer).find("not one of the key \"first\""), std::string::npos);
  pair.signer.change([&] {
    pair.signer.lies = false;
    pair.signer.refusal = {grpc::StatusCode::INTERNAL, std::string(4096, 'x')};
  });
  EXPECT_TRUE(refusalOf(*signer).starts_with("while signing jwt: rpc error: code = Internal desc = xxx"))
      << refusalOf(*signer).substr(0, 100);
  EXPECT_LT(refusalOf(*signer).size(), 600u) << "a signer's essay is cut";
}

TEST(ExternalSigner, FollowsTheSignersKeysAndKeepsTheOldOnesWhileThatFails) {
  Pair pair;
  pair.signer.hint = 1;
  const auto signer = *ExternalSigner::connect(pair.socket);
  signer->start();
  const auto first = signer->ring().load();
  const crypto::KeyPair next = *crypto::KeyPair::generate(crypto::KeyType::P384);
  pair.signer.change([&] { pair.signer.keys.push_back(keyFrom(next, "second")); });
  EXPECT_TRUE(eventually([&] { return signer->ring().load()->find("second") != nullptr; }));
  EXPECT_NE(signer->ring().load()->find("first"), nullptr);
  const auto both = signer->ring().load();
  int before = 0;
  pair.signer.change([&] {
    before = pair.signer.fetches;
    pair.signer.hint = 0;  // unacceptable from now on
  });
  EXPECT_TRUE(eventually([&] {
    const std::lock_guard lock(pair.signer.mutex);
    return pair.signer.fetches > before;
  }));
  EXPECT_EQ(signer->ring().load(), both) << "the same ring, so that what was proven under it stays proven";
  EXPECT_EQ(refusalOf(*signer), "");
}

TEST(ExternalSigner, LearnsAKeyThatSignsBeforeItWasTold) {
  Pair pair;
  const auto signer = *ExternalSigner::connect(pair.socket);
  pair.signer.change([&] { pair.signer.keys.push_back(keyFrom(*crypto::KeyPair::generate(crypto::KeyType::P256), "unheard")); });
  EXPECT_EQ(refusalOf(*signer), "");
  EXPECT_NE(signer->ring().load()->find("unheard"), nullptr);
}

TEST(ExternalSigner, ATokenOfAnUnknownKeyAsksTheSignerAtMostOnceASecond) {
  Pair pair;
  const auto signer = *ExternalSigner::connect(pair.socket);
  const SystemClock clock;
  Verifier verifier(
      {"https://i"}, {"a"}, signer->ring(),
      [](std::string_view, const std::string&, const std::string&) -> Result<DocumentPtr> {
        return std::make_shared<const Document>(Document{json::object{{"metadata", {{"uid", "u"}}}}, "", 1});
      },
      clock);
  verifier.onUnknownKey([&](const std::string& kid) { return signer->fetchFor(kid); });
  const jose::Key next = keyFrom(*crypto::KeyPair::generate(crypto::KeyType::P256), "next");
  const std::int64_t now = std::chrono::duration_cast<std::chrono::seconds>(clock.now().time_since_epoch()).count();
  const Snapshot<KeyRing> elsewhere(std::make_shared<const KeyRing>(std::vector{std::make_shared<const jose::Key>(next)}));
  const auto tokenOf = [&](const Snapshot<KeyRing>& ring) {
    return *Issuer("https://i", ring)
                .issue({.ns = "n", .serviceAccount = {"s", "u"}, .audiences = {"a"}, .issuedAt = now, .expires = now + 600});
  };
  pair.signer.change([&] { pair.signer.keys.push_back(next); });
  EXPECT_TRUE(verifier.verify(tokenOf(elsewhere).reveal(), {})) << "another server's signer was faster";
  const int asked = pair.signer.fetches;
  for (int i = 0; i < 50; ++i) {
    const Snapshot<KeyRing> forged(
        std::make_shared<const KeyRing>(std::vector{std::make_shared<const jose::Key>(keyFrom(next.key, "forged-" + std::to_string(i)))}));
    const Result<Identity> who = verifier.verify(tokenOf(forged).reveal(), {});
    ASSERT_FALSE(who);
    EXPECT_EQ(who.error().sentence, "invalid signature, no keys found");
  }
  EXPECT_LE(pair.signer.fetches, asked + 2);
}

TEST(ExternalSigner, WaitsForASignerThatIsStartedAgainAndIsStoppedWhileItWaits) {
  Pair pair;
  const auto signer = *ExternalSigner::connect(pair.socket);
  signer->start();
  pair.signer.stop();
  std::string refusal = "not called";
  {
    std::jthread waiting([&] { refusal = refusalOf(*signer); });
    pair.signer.start();
  }
  EXPECT_EQ(refusal, "");
  pair.signer.stop();
  {
    std::jthread waiting([&] { refusal = refusalOf(*signer); });
    signer->stop();
  }
  EXPECT_NE(refusal.find("code = Canceled"), std::string::npos) << refusal;
}

}  // namespace
}  // namespace podpass::token
