#include "token/signer_service.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/text.h"
#include "token/external_signer.h"

namespace podpass::token {
namespace {

using namespace std::chrono_literals;

struct Directory {
  std::filesystem::path path = std::filesystem::temp_directory_path() / ("podpass-signer-" + randomUuid().substr(0, 8));
  Directory() { std::filesystem::create_directories(path); }
  ~Directory() { std::filesystem::remove_all(path); }
};

struct Serving {
  Directory directory;
  SystemClock clock;
  std::unique_ptr<Store> store = makeMemoryStore();
  std::unique_ptr<KeyEncryption> kek = KeyEncryption::of(*crypto::Envelope::of({Secret(std::string(32, 'k'))}));
  SigningKeys keys{*store, *kek, clock, {.algorithms = {.standard = crypto::KeyType::P256}, .every = 0s, .cacheLife = 2s}};
  std::filesystem::path socket = directory.path / "run" / "s";
  SignerService service{keys, clock, {.socket = socket, .maxTokenLife = 7200s}};
  Serving() {
    EXPECT_TRUE(keys.open());
    EXPECT_TRUE(keys.start());
    EXPECT_TRUE(service.start());
  }
  std::string claims(std::int64_t life = 600) const {
    const std::int64_t now = std::chrono::duration_cast<std::chrono::seconds>(clock.now().time_since_epoch()).count();
    return R"({"aud":["a"],"exp":)" + std::to_string(now + life) + R"(,"iss":"https://i"})";
  }
};

bool eventually(const std::function<bool()>& holds) {
  for (const auto end = std::chrono::steady_clock::now() + 20s; std::chrono::steady_clock::now() < end; std::this_thread::sleep_for(20ms))
    if (holds()) return true;
  return false;
}

TEST(SignerService, SignsForAClientOfTheProtocolAndNobodyElseMayConnect) {
  Serving serving;
  struct stat status {};
  ASSERT_EQ(::stat(serving.socket.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777u, 0600u);
  ASSERT_EQ(::stat(serving.socket.parent_path().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777u, 0700u);
  const auto client = ExternalSigner::connect(serving.socket.string());
  ASSERT_TRUE(client) << client.error().sentence;
  EXPECT_EQ((*client)->maxTokenLife(), 7200s);
  EXPECT_LE((*client)->untilRefresh(), 1s) << "half of what a new key is shown before it signs";
  const Result<Secret> token = (*client)->sign(serving.claims());
  ASSERT_TRUE(token) << token.error().sentence;
  EXPECT_EQ(jose::parseCompactJws(token->reveal())->kid, serving.keys.ring().load()->signer().kid);
  EXPECT_GT(*serving.keys.tokensUntil(), serving.clock.now() + 599s) << "the key stays until the token has expired";
}

TEST(SignerService, ARotationIsSeenByTheClientBeforeItSigns) {
  Serving serving;
  const auto client = *ExternalSigner::connect(serving.socket.string());
  client->start();
  const std::string first = serving.keys.ring().load()->signer().kid;
  ASSERT_TRUE(serving.keys.rotate());
  EXPECT_EQ(serving.keys.rotate().error().reason, Reason::Conflict) << "one at a time";
  std::string next;
  EXPECT_TRUE(eventually([&] {
    const auto ring = client->ring().load();
    const Result<Secret> token = client->sign(serving.claims());
    EXPECT_TRUE(token) << token.error().sentence;
    next = jose::parseCompactJws(token->reveal())->kid;
    EXPECT_NE(ring->find(next), nullptr) << "it was told before it signed";
    return next != first;
  }));
  EXPECT_NE(client->ring().load()->find(first), nullptr);
}

TEST(SignerService, RefusesClaimsThatItShouldNotSign) {
  const WallTime now{std::chrono::seconds(1'700'000'000)};
  struct Case {
    const char* why;
    std::string claims;
    const char* says;
  };
  for (const Case& c : {Case{"padded", "e30=", "not base64url"}, Case{"no object", base64UrlEncode("[]"), "not a JSON object"},
                        Case{"twice", base64UrlEncode(R"({"exp":1,"exp":2})"), "occurs twice"},
                        Case{"never expires", base64UrlEncode(R"({"iss":"https://i"})"), "have no exp"},
                        Case{"a text", base64UrlEncode(R"({"exp":"1700000600","iss":"https://i"})"), "have no exp"},
                        Case{"a fraction", base64UrlEncode(R"({"exp":1700000600.5,"iss":"https://i"})"), "no whole number"},
                        Case{"too long", base64UrlEncode(R"({"exp":1700003661,"iss":"https://i"})"), "later than 3600 seconds"},
                        Case{"overflow", base64UrlEncode(R"({"exp":9223372036854775807,"iss":"https://i"})"), "later than 3600 seconds"},
                        Case{"another issuer", base64UrlEncode(R"({"exp":1700000600,"iss":"https://j"})"), "only those of \"https://i\""},
                        Case{"a legacy token", base64UrlEncode(R"({"exp":1700000600,"iss":"kubernetes/serviceaccount"})"), "only those of"},
                        Case{"huge", std::string((64u << 10) + 1, 'A'), "larger than 64 KiB"}}) {
    const auto asked = checkClaims(c.claims, 3600s, "https://i", now);
    ASSERT_FALSE(asked) << c.why;
    EXPECT_EQ(asked.error().reason, Reason::BadRequest);
    EXPECT_NE(asked.error().sentence.find(c.says), std::string::npos) << c.why << ": " << asked.error().sentence;
  }
  EXPECT_EQ(checkClaims(base64UrlEncode(R"({"aud":["a","b"],"exp":1700003660,"iss":"https://j"})"), 3600s, "", now)->audiences,
            (std::vector<std::string>{"a", "b"}))
      << "the last second, and any issuer";
  Serving serving;
  const auto client = *ExternalSigner::connect(serving.socket.string());
  EXPECT_TRUE(client->sign(serving.claims(9000))
                  .error()
                  .sentence.starts_with("while signing jwt: rpc error: code = InvalidArgument desc = the claims ask for"));
}

TEST(SignerService, TakesTheSocketOfADeadSignerAndNotOfALivingOne) {
  Serving serving;
  SignerService second(serving.keys, serving.clock, {.socket = serving.socket});
  EXPECT_EQ(second.start().error().reason, Reason::Conflict);
  EXPECT_TRUE((*ExternalSigner::connect(serving.socket.string()))->sign(serving.claims())) << "the first was not disturbed";
  serving.service.stop();
  EXPECT_FALSE(std::filesystem::exists(serving.socket));
  EXPECT_TRUE(second.start());
  second.stop();

  const std::filesystem::path file = serving.directory.path / "file";
  ASSERT_TRUE(writeFileAtomically(file, "not a socket"));
  EXPECT_EQ(SignerService(serving.keys, serving.clock, {.socket = file}).start().error().reason, Reason::BadRequest);
  EXPECT_EQ(*readFile(file), "not a socket");
  const std::filesystem::path longer = serving.directory.path / std::string(108, 's');
  EXPECT_NE(SignerService(serving.keys, serving.clock, {.socket = longer}).start().error().sentence.find("1 to 107 bytes"),
            std::string::npos);
}

}  // namespace
}  // namespace podpass::token
