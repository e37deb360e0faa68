#include "node/pull_secrets.h"

#include <gtest/gtest.h>

#include "base/document.h"
#include "base/text.h"

namespace podpass::node {
namespace {

std::vector<std::string> usersFor(const std::string& config, const std::string& reference) {
  std::vector<std::string> users;
  for (const Registry& registry : credentialsFor({Secret(config)}, reference)) users.push_back(registry.username);
  return users;
}

TEST(PullSecrets, AreForTheirRegistryAndPathOnly) {
  struct Case {
    const char *why, *key, *image;
    bool used;
  };
  const Case cases[] = {{"a host", "ghcr.io", "ghcr.io/team/app:1", true},
                        {"another host", "ghcr.io", "quay.io/team/app:1", false},
                        {"a host that only begins so", "ghcr.io", "ghcr.io.example.org/app:1", false},
                        {"Docker Hub's old name", "https://index.docker.io/v1/", "docker.io/library/nginx:1", true},
                        {"a port", "localhost:5000", "localhost:5000/app:1", true},
                        {"another port", "localhost:5000", "localhost:5001/app:1", false},
                        {"a path", "ghcr.io/team", "ghcr.io/team/app:1", true},
                        {"a path that only begins so", "ghcr.io/team", "ghcr.io/teammates/app:1", false},
                        {"the repository itself", "ghcr.io/team/app", "ghcr.io/team/app@sha256:00", true},
                        {"a star for one part", "*.example.org", "eu.example.org/app:1", true},
                        {"a star is one part, not two", "*.example.org", "a.b.example.org/app:1", false}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    const json::object entry = {{c.key, json::object{{"username", "me"}, {"password", "secret"}}}};
    const std::vector<std::string> expected(c.used ? 1 : 0, "me");
    EXPECT_EQ(usersFor(json::serialize(json::object{{"auths", entry}}), c.image), expected);
    EXPECT_EQ(usersFor(json::serialize(entry), c.image), expected) << "as .dockercfg";
  }
}

TEST(PullSecrets, ComeTheMostSpecificFirstAndReadAuth) {
  const std::string config =
      R"({"auths":{"ghcr.io":{"auth":")" + base64Encode("wide:a:b") + R"("},"ghcr.io/team":{"username":"narrow","password":"c"}}})";
  const std::vector<Registry> found = credentialsFor({Secret(config)}, "ghcr.io/team/app:1");
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].username, "narrow");
  EXPECT_EQ(found[1].username, "wide");
  EXPECT_EQ(found[1].password, "a:b") << "a password may hold colons";
}

TEST(PullSecrets, PassOverWhatCannotBeRead) {
  for (const char* config : {"", "{", "[]", R"({"auths":[]})", R"({"auths":{"ghcr.io":7}})", "null", R"({"auths":{"":{}}})"})
    EXPECT_EQ(usersFor(config, "ghcr.io/team/app:1"), std::vector<std::string>()) << config;
}

}  // namespace
}  // namespace podpass::node
