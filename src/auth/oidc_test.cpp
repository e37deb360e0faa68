#include "auth/oidc.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include "auth/authenticator.h"
#include "token/test_issuer.h"

namespace podpass::auth {
namespace {

namespace asio = boost::asio;

class OidcTest : public testing::Test {
 protected:
  OidcTest() {
    options.issuerUrl = issuer.url(), options.clientId = "kubernetes", options.caPem = http::Certificates::get().text("ca.crt");
  }
  std::string sign(json::object more) const {
    const auto now = std::chrono::duration_cast<std::chrono::seconds>(clock.now().time_since_epoch()).count();
    json::object claims{{"iss", issuer.url()}, {"sub", "ann"}, {"aud", "kubernetes"}, {"exp", now + 600}, {"iat", now}};
    for (const auto& [name, value] : more) claims[name] = value;
    return *jose::signCompact(token::rsa(), json::serialize(claims));
  }
  // "name in group,group", or the sentence of the refusal.
  std::string whoIs(const std::string& token) {
    Result<std::unique_ptr<Oidc>> oidc = Oidc::make(options, pool, clock);
    if (!oidc) return oidc.error().sentence;
    const Authenticator authenticator(verifier, true, oidc->get());
    http::Request request;
    request.headers.add("Authorization", "Bearer " + token);
    Result<Authenticated> who;
    asio::io_context here(1);
    asio::co_spawn(here, authenticator.identify(request), [&](std::exception_ptr, Result<Authenticated> got) { who = std::move(got); });
    here.run();
    if (!who) return who.error().sentence;
    std::string text = who->user.name + " in";
    for (const std::string& group : who->user.groups) text += " " + group;
    return text;
  }
  static Result<DocumentPtr> nothing(std::string_view, const std::string&, const std::string&) { return Error{Reason::NotFound, "none"}; }

  FakeClock clock;
  token::SomebodysIssuer issuer;
  asio::thread_pool pool{1};
  Snapshot<token::KeyRing> ring{std::make_shared<const token::KeyRing>(std::vector<std::shared_ptr<const jose::Key>>{})};
  token::Verifier verifier{{"https://issuer"}, {"https://issuer"}, ring, nothing, clock};
  OidcOptions options;
};

TEST_F(OidcTest, NamesUsersAndGroupsAsTheFlagsSay) {
  const json::object claims{{"email", "ann@example.com"}, {"groups", json::array{"devs", "ops", "system:masters"}}, {"team", "red"}};
  struct Case {
    const char* why;
    std::function<void()> set;
    std::string expected;
  };
  const Case cases[] = {
      {"by default the subject, under the issuer's name", [] {}, issuer.url() + "#ann in system:authenticated"},
      {"a prefix", [&] { options.usernamePrefix = "oidc:"; }, "oidc:ann in system:authenticated"},
      {"no prefix", [&] { options.usernamePrefix = "-"; }, "ann in system:authenticated"},
      {"an email has none", [&] { options.usernameClaim = "email"; }, "ann@example.com in system:authenticated"},
      {"groups, but none of Kubernetes' own", [&] { options.usernamePrefix = "-", options.groupsClaim = "groups"; },
       "ann in devs ops system:authenticated"},
      {"groups with a prefix", [&] { options.usernamePrefix = "-", options.groupsClaim = "groups", options.groupsPrefix = "o:"; },
       "ann in o:devs o:ops o:system:masters system:authenticated"},
      {"one group", [&] { options.usernamePrefix = "-", options.groupsClaim = "team"; }, "ann in red system:authenticated"},
      {"a claim that is missing", [&] { options.usernameClaim = "login"; }, "oidc: the token has no claim login for the user's name"},
      {"a name of Kubernetes' own", [&] { options.usernamePrefix = "system:"; },
       "oidc: the name \"system:ann\" is reserved for Kubernetes' own users"},
      {"a claim that is required",
       [&] {
         options.requiredClaims = {{"team", "blue"}};
       },
       "oidc: the claim team is \"red\", required is \"blue\""},
      {"an algorithm that is not accepted", [&] { options.signingAlgorithms = {"ES256"}; },
       "the token is signed with \"RS256\", accepted are \"ES256\""},
      {"another audience", [&] { options.clientId = "other"; },
       "the token is not for this audience: expected \"other\", the token says \"kubernetes\""}};
  const OidcOptions plain = options;
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    options = plain;
    c.set();
    EXPECT_EQ(whoIs(sign(claims)), c.expected);
  }
  options = plain;
  options.usernameClaim = "email";
  EXPECT_EQ(whoIs(sign({{"email", "a@b"}, {"email_verified", false}})), "oidc: the email address is not verified");
}

TEST_F(OidcTest, LeavesOtherTokensToOthers) {
  EXPECT_EQ(whoIs("rubbish").find("oidc"), std::string::npos);
  const std::string foreign = whoIs(sign({{"iss", "https://127.0.0.1:1"}}));
  EXPECT_EQ(foreign.find("in system:authenticated"), std::string::npos) << foreign;
  EXPECT_EQ(issuer.asked(), 0) << "only the registered issuer is asked";
}

TEST_F(OidcTest, RefusesOptionsThatMakeNoSense) {
  options.clientId = "";
  EXPECT_EQ(whoIs(""), "an OIDC issuer needs a client id");
  options.clientId = "kubernetes";
  options.issuerUrl = "http://127.0.0.1";
  EXPECT_NE(whoIs("").find("must use https"), std::string::npos);
  options.issuerUrl = issuer.url();
  options.signingAlgorithms = {"HS256"};
  EXPECT_NE(whoIs("").find("HS256"), std::string::npos);
}

}  // namespace
}  // namespace podpass::auth
