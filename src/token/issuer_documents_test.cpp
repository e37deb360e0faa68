#include "token/issuer_documents.h"

#include <gtest/gtest.h>

#include "base/text.h"

namespace podpass::token {
namespace {

using namespace std::chrono_literals;

http::Headers headers(std::initializer_list<std::pair<std::string, std::string>> all) {
  http::Headers made;
  for (const auto& [name, value] : all) made.add(name, value);
  return made;
}

TEST(IssuerDocuments, AreKeptAsLongAsTheirHeadersAllowAndNoLonger) {
  struct Case {
    const char* why;
    http::Headers headers;
    std::chrono::seconds life;
  };
  const Case cases[] = {
      {"nothing is said", {}, 300s},
      {"fresh from its origin", headers({{"Cache-Control", "public, max-age=900"}}), 900s},
      {"a cache has had it for ten minutes", headers({{"Cache-Control", "max-age=900"}, {"Age", "600"}}), 300s},
      {"a cache has had it too long", headers({{"Cache-Control", "max-age=900"}, {"Age", "901"}}), 60s},
      {"an age that is no number", headers({{"Cache-Control", "max-age=900"}, {"Age", "old"}}), 900s},
      {"an age before it was made", headers({{"Cache-Control", "max-age=900"}, {"Age", "-600"}}), 900s},
      {"an age beyond all", headers({{"Cache-Control", "max-age=900"}, {"Age", "99999999999999999999"}}), 60s},
      {"a life beyond all", headers({{"Cache-Control", "max-age=99999999999999999999"}}), 3600s},
      {"a negative life", headers({{"Cache-Control", "max-age=-1"}}), 60s},
      {"not to be kept", headers({{"Cache-Control", "no-store, max-age=900"}}), 60s},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    EXPECT_EQ(cacheLife(c.headers), c.life);
  }
}

TEST(IssuerDocuments, KeysThatWouldMakeEachCheckDearAreLeftOut) {
  json::array keys;
  for (const std::size_t bytes : {256u, 512u, 513u, 1024u})
    keys.push_back(json::object{
        {"kty", "RSA"}, {"kid", std::to_string(bytes * 8)}, {"n", base64UrlEncode(std::string(bytes, '\xff'))}, {"e", "AQAB"}});
  http::Fetched jwks;
  jwks.status = 200;
  jwks.body = json::serialize(json::object{{"keys", std::move(keys)}});
  const Result<std::vector<jose::Key>> taken = keysOf(jwks);
  ASSERT_TRUE(taken);
  std::vector<std::string> kids;
  for (const jose::Key& key : *taken) kids.push_back(key.kid);
  EXPECT_EQ(kids, (std::vector<std::string>{"2048", "4096"}));
}

}  // namespace
}  // namespace podpass::token
