#include "server/served_issuers.h"

#include <gtest/gtest.h>

#include "server/test_server.h"

namespace podpass::server {
namespace {

constexpr const char* kAtRoot = "/.well-known/openid-configuration";

TEST(ServedIssuers, AreChosenByPathAndThenByHost) {
  const ServedIssuers issuers(
      {"https://new.example/id/a%20b", "https://old.example", "https://OLDER.example:443/", "https://x.example/id"});
  struct Case {
    const char* why;
    const char* path;
    const char* host;
    const char* issuer;  // "": nothing is described there
  };
  const Case cases[] = {
      {"below its path, decoded", "/id/a b/.well-known/openid-configuration", "new.example", "https://new.example/id/a%20b"},
      {"whatever the host is", "/id/.well-known/openid-configuration", "10.0.0.1:6443", "https://x.example/id"},
      {"by host at the root", kAtRoot, "old.example", "https://old.example"},
      {"in any case, with and without the scheme's port", kAtRoot, "Older.example", "https://OLDER.example:443/"},
      {"the one that signs at the root of any other host", kAtRoot, "127.0.0.1:6443", "https://new.example/id/a%20b"},
      {"no path of any", "/id/b/.well-known/openid-configuration", "new.example", ""},
      {"a path of one that goes on", "/id/.well-known/openid-configuration/x", "x.example", ""}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    ASSERT_EQ(issuers.describes(c.path), *c.issuer != '\0');
    if (*c.issuer != '\0') {
      EXPECT_EQ(issuers.at(c.path, c.host), c.issuer);
    }
  }
}

TEST(ServedIssuers, OneThatIsNoUrlIsAtTheRootWhenItSigns) {
  const ServedIssuers issuers({"kubernetes.default", "https://x.example"});
  EXPECT_EQ(issuers.at(kAtRoot, "y.example"), "kubernetes.default");
  EXPECT_EQ(issuers.at(kAtRoot, "x.example"), "https://x.example");
}

TEST(Server, ServesTheDocumentOfEachIssuerToWhomeverTheRootsIsFor) {
  test::TestServer server({.serverAddress = "127.0.0.1:6443",
                           .jwksUri = "https://issuer.example/openid/v1/jwks",
                           .issuers = {test::kIssuer, test::kOldIssuer}});
  const char* const path = "/id/1/.well-known/openid-configuration";
  const test::Answer old = server.ask("GET", path);
  ASSERT_EQ(old.status, 200) << old.text;
  EXPECT_EQ(textAt(old.body, {"issuer"}), test::kOldIssuer);
  EXPECT_EQ(textAt(old.body, {"jwks_uri"}), "https://issuer.example/openid/v1/jwks");
  EXPECT_EQ(textAt(server.ask("GET", kAtRoot).body, {"issuer"}), test::kIssuer);
  EXPECT_EQ(server.ask("POST", path).status, 405);
  EXPECT_EQ(server.ask("GET", "/id/2/.well-known/openid-configuration").status, 404);
  const http::Headers theirs = test::headers({{"Authorization", "Bearer " + server.token()}});
  EXPECT_EQ(server.ask("GET", path, "", theirs).status, server.ask("GET", kAtRoot, "", theirs).status);
}

}  // namespace
}  // namespace podpass::server
