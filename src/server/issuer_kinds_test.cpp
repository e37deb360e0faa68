#include <gtest/gtest.h>

#include <future>

#include "server/test_server.h"

// What users may do to the kinds that the issuer itself writes.
namespace podpass::server::test {
namespace {

constexpr const char* kGroup = "/apis/identity.podpass.dev/v1/";
struct Written {
  const char *plural, *spec, *forged;
};
constexpr Written kKinds[] = {{"signingkeys", R"({"algorithm":"ES256"})", R"({"state":"Retiring","kid":"k","publicKey":{"kty":"EC"}})"},
                              {"tokenrevocations", R"({"jti":"a"})", R"({"expires":"2020-01-01T00:00:00Z"})"}};

http::Headers mergePatch() { return headers({{"Content-Type", "application/merge-patch+json"}}); }

void write(Store& store, const std::string& key, json::object object) {
  std::promise<void> written;
  store.commit({key, std::move(object), std::nullopt}, [&](const Result<Entry>& done) {
    EXPECT_TRUE(done);
    written.set_value();
  });
  written.get_future().get();
}

TEST(IssuerKinds, HaveAStatusThatOnlyTheServerWrites) {
  for (const auto& [plural, spec, status] : kKinds) {
    SCOPED_TRACE(plural);
    TestServer server;
    const std::string all = std::string(kGroup) + plural, one = all + "/x";
    const std::string forged = status;
    const std::string object = R"({"metadata":{"name":"x"},"spec":)" + std::string(spec) + R"(,"status":)" + forged + "}";
    const Answer made = server.ask("POST", all, object);
    ASSERT_EQ(made.status, 201) << made.text;
    const auto untouched = [&] {
      return !server.registry.get(*api::findKind("identity.podpass.dev", "v1", plural), "", "x")->value.contains("status");
    };
    EXPECT_TRUE(untouched());
    EXPECT_EQ(server.ask("PATCH", one + "/status", R"({"status":)" + forged + "}", mergePatch()).status, 404);
    EXPECT_EQ(server.ask("PUT", one + "/status", object).status, 404);
    EXPECT_EQ(server.ask("PATCH", one, R"({"status":)" + forged + "}", mergePatch()).status, 200);
    EXPECT_EQ(server.ask("PUT", one, object).status, 200);
    EXPECT_EQ(server
                  .ask("PATCH", one + "?fieldManager=m&force=true",
                       R"({"kind":")" + std::string(textAt(made.body, {"kind"})) + R"(","apiVersion":"identity.podpass.dev/v1","status":)" +
                           forged + "}",
                       headers({{"Content-Type", "application/apply-patch+yaml"}}))
                  .status,
              200);
    EXPECT_TRUE(untouched());
  }
}

TEST(IssuerKinds, ASigningKeyThatVerifiesTokensIsRevokedRatherThanDeleted) {
  struct Case {
    const char* status;
    bool revoked, goes;
  };
  const Case cases[] = {{"", false, true},          {"Pending", false, true}, {"Published", false, false}, {"Active", false, false},
                        {"Retiring", false, false}, {"Retired", false, true}, {"Active", true, true},      {"Retiring", true, true}};
  for (const Case& c : cases) {
    SCOPED_TRACE(std::string(c.status) + (c.revoked ? ", revoked" : ""));
    TestServer server;
    const std::string one = std::string(kGroup) + "signingkeys/x";
    ASSERT_EQ(server.ask("POST", std::string(kGroup) + "signingkeys", R"({"metadata":{"name":"x"},"spec":{"algorithm":"ES256"}})").status,
              201);
    json::object key = server.registry.get(*api::findKind("identity.podpass.dev", "v1", "signingkeys"), "", "x")->value;
    if (*c.status != '\0') key["status"] = {{"state", c.status}, {"kid", "k"}};
    if (c.revoked) makeObjectAt(key, {"spec"})["revoked"] = true;
    write(*server.store, "/registry/signingkeys.identity.podpass.dev/x", std::move(key));
    const Answer answer = server.ask("DELETE", one);
    EXPECT_EQ(answer.status, c.goes ? 200 : 403) << answer.text;
    const std::string why =
        "signingkeys.identity.podpass.dev \"x\" is forbidden: it still verifies tokens; `podpass keys revoke x` says what ends with it, "
        "and ends it";
    EXPECT_EQ(answer.message(), c.goes ? "" : why);
    EXPECT_EQ(server.ask("DELETE", std::string(kGroup) + "signingkeys").status, c.goes ? 200 : 403) << "nor with all the others";
  }
}

}  // namespace
}  // namespace podpass::server::test
