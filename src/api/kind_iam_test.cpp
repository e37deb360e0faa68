#include <gtest/gtest.h>

#include "api/codec.h"
#include "api/kinds.h"

namespace podpass::api {
namespace {

const json::object kPolicy{
    {"Version", "2012-10-17"},
    {"Statement", json::object{{"Effect", "Allow"},
                               {"Principal", json::object{{"Federated", "arn:aws:iam::000000000000:oidc-provider/i"}}},
                               {"Action", "sts:AssumeRoleWithWebIdentity"}}}};

// All problems of the object after decoding and defaults, as one text.
std::string problemsOf(const Kind& kind, const std::string& name, json::object spec) {
  json::object object{
      {"apiVersion", kind.apiVersion()}, {"kind", kind.kind}, {"metadata", json::object{{"name", name}}}, {"spec", std::move(spec)}};
  Result<Decoded> decoded = conform(kind, std::move(object));
  if (!decoded) return decoded.error().sentence;
  applyDefaults(kind, decoded->object);
  std::string text;
  for (const Cause& cause : validate(kind, decoded->object)) text += cause.field + ": " + cause.message + "\n";
  return text;
}

TEST(IamRole, TakesAwsNamesAndAPolicyAsObjectOrText) {
  EXPECT_EQ(problemsOf(iamRoleKind(), "Read_Only+prod@eu", {{"trustPolicy", kPolicy}}), "");
  EXPECT_EQ(
      problemsOf(iamRoleKind(), "reader", {{"trustPolicy", json::serialize(kPolicy)}, {"path", "/a/b/"}, {"maxSessionDuration", 43200}}),
      "");
}

TEST(IamRole, RefusesWhatIamRefuses) {
  struct Case {
    const char *why, *name;
    json::object spec;
    const char* problem;
  };
  const Case cases[] = {
      {"no policy", "r", {}, "spec.trustPolicy: Required value\n"},
      {"a bad policy, at its line",
       "r",
       {{"trustPolicy", "{\n\"Statement\":{\n\"Effect\":\"Allow\",\n\"Resource\":\"*\"}}"}},
       "spec.trustPolicy: Invalid value: MalformedPolicyDocument: Has prohibited field Resource (at /Statement/Resource, line 4)\n"},
      {"a policy that is a number",
       "r",
       {{"trustPolicy", 5}},
       "spec.trustPolicy: Invalid value: MalformedPolicyDocument: Syntax errors in policy.\n"},
      {"too short a session",
       "r",
       {{"trustPolicy", kPolicy}, {"maxSessionDuration", 3599}},
       "spec.maxSessionDuration: Invalid value: 3599: must be between 3600 and 43200, inclusive\n"},
      {"a path without its end",
       "r",
       {{"trustPolicy", kPolicy}, {"path", "/a"}},
       "spec.path: Invalid value: \"/a\": must begin and end with / and consist of printable ASCII characters, at most 512\n"},
      {"a name with a blank",
       "a b",
       {{"trustPolicy", kPolicy}},
       "metadata.name: Invalid value: \"a b\": must consist of letters, digits and _+=,.@-\n"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    EXPECT_EQ(problemsOf(iamRoleKind(), c.name, c.spec), c.problem);
  }
}

TEST(OidcProvider, RefusesWhatIamRefusesButLoopback) {
  const auto with = [](std::string_view url) { return json::object{{"url", url}, {"clientIDs", json::array{"sts.amazonaws.com"}}}; };
  EXPECT_EQ(problemsOf(oidcProviderKind(), "p", with("https://oidc.eks.eu-west-1.amazonaws.com/id/AB")), "");
  EXPECT_EQ(problemsOf(oidcProviderKind(), "p", with("http://127.0.0.1:8080")), "");
  EXPECT_EQ(problemsOf(oidcProviderKind(), "p", with("https://[::1]:6443")), "");
  EXPECT_EQ(problemsOf(oidcProviderKind(), "p", with("http://localhost:8080/x")), "");
  for (const char* url : {"http://127.evil.example", "http://127.0.0.1.evil.example:80", "http://127.0.0.1evil", "http://[::1]evil",
                          "http://localhost.evil.example", "http://[::2]", "http://127.1@evil.example", "http://0x7f000001"})
    EXPECT_NE(problemsOf(oidcProviderKind(), "p", with(url)), "") << url;
  for (const char* url : {"http://issuer.example", "ftp://x", "https://", "https://a/?q", "https://user@a", "issuer.example"})
    EXPECT_NE(problemsOf(oidcProviderKind(), "p", with(url)), "") << url;
  json::object spec = with("https://issuer.example");
  spec["thumbprints"] = json::array{"abc"};
  EXPECT_EQ(problemsOf(oidcProviderKind(), "p", spec),
            "spec.thumbprints[0]: Invalid value: \"abc\": must be 40 hexadecimal digits: the SHA-1 of a CA certificate\n");
  spec["thumbprints"] = json::array{};
  spec["caBundle"] = "YWJj";
  EXPECT_EQ(problemsOf(oidcProviderKind(), "p", spec), "spec.caBundle: Invalid value: must be certificates in PEM\n");
  EXPECT_EQ(problemsOf(oidcProviderKind(), "p", {{"url", "https://i"}}), "spec.clientIDs: Required value\n");
}

TEST(OidcProvider, KeepsItsUrl) {
  const json::object before{{"spec", json::object{{"url", "https://a"}}}}, now{{"spec", json::object{{"url", "https://b"}}}};
  EXPECT_EQ(validateUpdate(oidcProviderKind(), now, before).size(), 1u);
  EXPECT_TRUE(validateUpdate(oidcProviderKind(), now, now).empty());
}

}  // namespace
}  // namespace podpass::api
