#include "irsa/doctor_token.h"

#include <gtest/gtest.h>

#include "base/text.h"
#include "irsa/test_diagnosis.h"
#include "irsa/trust_policy_mend.h"
#include "token/test_issuer.h"

namespace podpass::irsa {
namespace {

using test::expectBroken;
using test::summary;

using namespace std::chrono_literals;

constexpr const char* kRole = "arn:aws:iam::000000000000:role/reader";
constexpr const char* kSubject = "system:serviceaccount:shop:cart";

std::int64_t seconds(WallTime time) { return std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count(); }

// A token, its issuer over TLS, and what is registered for both; all of it good until a test spoils it.
struct Bench {
  token::SomebodysIssuer issuer;
  FakeClock clock{std::chrono::time_point_cast<std::chrono::seconds>(std::chrono::system_clock::now())};
  IamView iam;
  json::object claims{{"iss", issuer.url()},
                      {"sub", kSubject},
                      {"aud", json::array{"sts.amazonaws.com"}},
                      {"iat", seconds(clock.now())},
                      {"exp", seconds(clock.now()) + 600}};
  json::object provider{{"metadata", json::object{{"name", "mine"}}},
                        {"spec", json::object{{"url", issuer.url()},
                                              {"clientIDs", json::array{"sts.amazonaws.com"}},
                                              {"caBundle", base64Encode(http::Certificates::get().text("ca.crt"))}}}};
  json::object policy;
  std::string role = kRole;
  TokenSource source;
  const jose::Key* key = &token::rsa();

  Bench() {
    iam.account = "000000000000";
    TrustRequest good;
    good.actions = {"sts:AssumeRoleWithWebIdentity"};
    good.callerNames = {"arn:aws:iam::000000000000:oidc-provider/" + issuer.url().substr(8)};
    good.keys[issuer.url().substr(8) + ":sub"] = {kSubject};
    policy = policyFor(good);
    source.another = {"get another", "another"};
    source.forAudience = [](const std::string& audience) { return Mend{"ask for " + audience, "audience " + audience}; };
    source.forRole = [](const std::string& arn) { return Mend{"ask for " + arn, "role " + arn}; };
  }
  static DocumentPtr document(json::object value) {
    auto made = std::make_shared<Document>();
    made->value = std::move(value);
    return made;
  }
  Diagnosis examine() {
    if (iam.providers && !provider.empty()) iam.providers = std::vector<DocumentPtr>{document(provider)};
    if (iam.roles)
      iam.roles = std::vector<Role>{
          roleOf(document({{"metadata", json::object{{"name", "reader"}}}, {"spec", json::object{{"trustPolicy", policy}}}}), iam.account)};
    Diagnosis diagnosis{"token", role};
    const TokenCase about{role, iam, source, http::Certificates::get().text("ca.crt"), clock};
    examineRoleArn(role, iam, source.forRole, diagnosis);
    examineToken(*jose::signCompact(*key, json::serialize(claims)), about, diagnosis);
    concludeIdentity(diagnosis);
    return diagnosis;
  }
};

TEST(ExamineToken, FindsEveryLinkGoodWhenItIs) {
  Bench bench;
  const Diagnosis diagnosis = bench.examine();
  EXPECT_EQ(diagnosis.firstBroken(), nullptr) << summary(diagnosis);
  std::vector<std::string> ids;
  for (const Check& check : diagnosis.checks) {
    EXPECT_EQ(check.finding, Finding::Ok) << summary(diagnosis);
    ids.push_back(check.id);
  }
  EXPECT_EQ(ids, (std::vector<std::string>{"role-arn", "claims", "time", "issuer", "clock", "discovery", "jwks", "kid", "signature",
                                           "provider", "audience", "role", "trust-policy", "identity"}));
  EXPECT_EQ(diagnosis.find("identity")->found, "arn:aws:sts::000000000000:assumed-role/reader/SESSION");
}

TEST(ExamineToken, NamesTheFirstLinkThatIsBroken) {
  struct Case {
    const char* why;
    std::function<void(Bench&)> spoil;
    const char *id, *says, *mend;
  };
  const auto spec = [](Bench& bench) -> json::object& { return bench.provider["spec"].as_object(); };
  const auto subject = [](Bench& bench, const char* value) {
    bench.policy["Statement"].at(0).at("Condition").at("StringEquals").as_object()[bench.issuer.url().substr(8) + ":sub"] = value;
  };
  const Case cases[] = {
      {"no ARN", [](Bench& b) { b.role = "reader"; }, "role-arn", "not the ARN of a role", "role arn:aws:iam::000000000000:role/reader"},
      {"a quoted ARN", [](Bench& b) { b.role = "\"arn:aws:iam::000000000000:role/far/away\""; }, "role-arn", "not the ARN of a role",
       "role arn:aws:iam::000000000000:role/far/away"},
      {"a claim is missing", [](Bench& b) { b.claims.erase("sub"); }, "claims", "no claim sub", "another"},
      {"another's token", [](Bench& b) { b.source.subject = "system:serviceaccount:shop:till"; }, "claims",
       "the pod runs as \"system:serviceaccount:shop:till\"", "another"},
      {"of a pod that was",
       [](Bench& b) {
         b.claims["kubernetes.io"] = json::object{{"pod", json::object{{"name", "p"}, {"uid", "old"}}}};
         b.source.podUid = "new";
       },
       "claims", "bound to the pod with uid old, this one has new", "another"},
      {"expired this second", [](Bench& b) { b.claims["exp"] = seconds(b.clock.now()); }, "time", "has expired", "another"},
      {"not valid yet", [](Bench& b) { b.claims["nbf"] = seconds(b.clock.now()) + 1; }, "time", "not valid yet", "another"},
      {"nobody answers", [](Bench& b) { b.issuer.stop(); }, "issuer", "cannot connect", ""},
      {"the chain is not believed",
       [&](Bench& b) {
         spec(b).erase("caBundle");
         spec(b)["thumbprints"] = json::array{std::string(40, '0')};
       },
       "issuer", "thumbprints of its chain", "kubectl patch oidcproviders.iam.podpass.dev mine"},
      {"this clock is slow",
       [](Bench& b) {
         b.clock.stepWall(-61s);
         b.claims["iat"] = seconds(b.clock.now());
       },
       "clock", "behind", "timedatectl"},
      {"discovery is closed", [](Bench& b) { b.issuer.change([&] { b.issuer.document = token::answerOf("{}", 403); }); }, "discovery",
       "status 403", "kubectl create clusterrolebinding"},
      {"discovery of another",
       [](Bench& b) {
         b.issuer.change(
             [&] { b.issuer.document = token::answerOf(token::SomebodysIssuer::openidDocument("https://other", b.issuer.url())); });
       },
       "discovery", "is for \"https://other\"", ""},
      {"no keys", [](Bench& b) { b.issuer.change([&] { b.issuer.jwks = token::answerOf(R"({"keys":[]})"); }); }, "jwks", "has no keys", ""},
      {"no JWKS", [](Bench& b) { b.issuer.change([&] { b.issuer.jwks = token::answerOf("{}", 404); }); }, "jwks", "status 404", ""},
      {"the key is gone", [](Bench& b) { b.issuer.publish({token::ec()}); }, "kid", "publishes no key", "another"},
      {"not registered", [&](Bench& b) { spec(b)["url"] = b.issuer.url() + "/"; }, "provider", "the slash at the end",
       "kind: OIDCProvider"},
      {"another path", [&](Bench& b) { spec(b)["url"] = b.issuer.url() + "/id/7"; }, "provider", "the same host and another path",
       "kind: OIDCProvider"},
      {"another account", [](Bench& b) { b.role = "arn:aws:iam::111122223333:role/reader"; }, "provider", "of the account 111122223333",
       "role arn:aws:iam::000000000000:role/reader"},
      {"another audience", [](Bench& b) { b.claims["aud"] = "sts.amazon.com"; }, "audience",
       "for \"sts.amazon.com\", the provider takes \"sts.amazonaws.com\"", "audience sts.amazonaws.com"},
      {"a typing error", [](Bench& b) { b.role = "arn:aws:iam::000000000000:role/raeder"; }, "role",
       "there is arn:aws:iam::000000000000:role/reader", "role arn:aws:iam::000000000000:role/reader"},
      {"no such role", [](Bench& b) { b.role = "arn:aws:iam::000000000000:role/a/nobody"; }, "role", "there is no role", "path: /a/"},
      {"the policy refuses", [&](Bench& b) { subject(b, "system:serviceaccount:shop:card"); }, "trust-policy",
       "expected \"system:serviceaccount:shop:card\", found \"system:serviceaccount:shop:cart\"",
       "kubectl patch roles.iam.podpass.dev reader"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    Bench bench;
    c.spoil(bench);
    expectBroken(bench.examine(), {c.id, c.says, c.mend}, 14u);
  }
}

TEST(ExamineToken, BelievesAThumbprintAsTheProviderSays) {
  Bench bench;
  json::object& spec = bench.provider["spec"].as_object();
  spec.erase("caBundle");
  std::string sha1 = http::outputOf("openssl x509 -noout -fingerprint -sha1 -in " + http::Certificates::get().path("server.crt"));
  sha1 = sha1.substr(sha1.find('=') + 1);
  std::erase_if(sha1, [](char c) { return c == ':' || c == '\n'; });
  spec["thumbprints"] = json::array{sha1};
  const Diagnosis diagnosis = bench.examine();
  EXPECT_EQ(diagnosis.firstBroken(), nullptr) << summary(diagnosis);
}

TEST(ExamineToken, LooksAtASignatureThatIsNotTheKeys) {
  Bench bench;
  jose::Key forged = token::ec();
  forged.kid = token::rsa().kid;
  bench.key = &forged;
  jose::Key named = *jose::fromJwk(jose::toJwk(token::rsa()));
  const Diagnosis diagnosis = bench.examine();
  EXPECT_EQ(diagnosis.firstBroken()->id, "kid") << summary(diagnosis);  // the key of that name is for another algorithm
  EXPECT_NE(diagnosis.firstBroken()->why.find("is for RS256"), std::string::npos) << summary(diagnosis);
}

TEST(ExamineToken, SaysWhatMayNotBeReadAndGoesOn) {
  Bench bench;
  bench.iam.roles = Error{Reason::Forbidden, "roles is forbidden"};
  const Diagnosis diagnosis = bench.examine();
  EXPECT_EQ(diagnosis.firstBroken(), nullptr) << summary(diagnosis);
  EXPECT_EQ(diagnosis.find("role")->finding, Finding::Unknown);
  EXPECT_EQ(diagnosis.find("role")->why, "you may not list roles.iam.podpass.dev: roles is forbidden");
  EXPECT_EQ(diagnosis.find("role")->mend.text, "ask whoever administers the cluster for the right to list roles.iam.podpass.dev");
  EXPECT_EQ(diagnosis.find("trust-policy")->finding, Finding::Skipped);
  EXPECT_EQ(diagnosis.find("identity")->finding, Finding::Skipped);
}

TEST(ExamineToken, DoesNotJudgeWhatTheRequestWillBring) {
  Bench bench;
  makeObjectAt(bench.policy["Statement"].at(0).as_object(), {"Condition", "IpAddress"})["aws:SourceIp"] = "10.0.0.0/8";
  const Diagnosis diagnosis = bench.examine();
  EXPECT_EQ(diagnosis.firstBroken(), nullptr) << summary(diagnosis);
  EXPECT_EQ(diagnosis.find("trust-policy")->finding, Finding::Unknown);
}

TEST(ExamineToken, AsksWhatAwsAsksWhenTheRoleIsThere) {
  Bench bench;
  bench.iam.aws = true;
  const Diagnosis diagnosis = bench.examine();
  ASSERT_NE(diagnosis.firstBroken(), nullptr);
  EXPECT_EQ(diagnosis.firstBroken()->id, "issuer");  // AWS takes no port, and does not reach loopback
  bench.policy["Statement"].at(0).at("Condition").at("StringEquals").as_object()[bench.issuer.url().substr(8) + ":sub"] = "another";
  const Diagnosis refused = bench.examine();
  EXPECT_NE(refused.find("trust-policy")->mend.command.find("aws iam update-assume-role-policy --role-name reader"), std::string::npos)
      << summary(refused);
}

TEST(ExamineToken, NeverShowsTheToken) {
  Bench bench;
  const std::string compact = *jose::signCompact(*bench.key, json::serialize(bench.claims));
  const std::string shown = json::serialize(bench.examine().toJson());
  EXPECT_EQ(shown.find(compact.substr(compact.rfind('.') + 1)), std::string::npos);
}

TEST(ExamineToken, SkipsTheRestOfWhatIsNoToken) {
  Bench bench;
  Diagnosis diagnosis{"token", kRole};
  const TokenCase about{bench.role, bench.iam, bench.source, "", bench.clock};
  for (const std::string& text : {std::string("x.y.z"), std::string(), std::string(1u << 17, 'a'), std::string("\0.\xff.", 4)}) {
    diagnosis.checks.clear();
    examineToken(text, about, diagnosis);
    EXPECT_EQ(diagnosis.firstBroken()->id, "claims");
    EXPECT_EQ(diagnosis.checks.size(), 12u);
  }
}

TEST(RoleObject, ReadsWhatAwsCliPrints) {
  const json::object policy{{"Version", "2012-10-17"}, {"Statement", json::array{}}};
  const Result<DocumentPtr> told = roleObject("", json::object{{"Role", json::object{{"Arn", "arn:aws:iam::111122223333:role/a/b"},
                                                                                     {"AssumeRolePolicyDocument", policy},
                                                                                     {"MaxSessionDuration", 7200}}}});
  ASSERT_TRUE(told);
  EXPECT_EQ(roleOf(*told, "111122223333").arn, "arn:aws:iam::111122223333:role/a/b");
  const Result<DocumentPtr> bare = roleObject(kRole, policy);
  ASSERT_TRUE(bare);
  EXPECT_EQ(roleOf(*bare, "000000000000").arn, kRole);
  EXPECT_FALSE(roleObject("", policy));
  EXPECT_FALSE(roleObject("", json::object{{"Role", json::object{{"Arn", kRole}}}}));
}

TEST(Diagnosis, IsReadByPrograms) {
  Diagnosis diagnosis{"pod a/b", kRole};
  diagnosis.ok("one", "seen");
  diagnosis.broken("two", "seen", "because", {"do", "this"});
  diagnosis.unknown("three", "read it", Error{Reason::Unavailable, "away", "try"});
  diagnosis.skipped("four", "no");
  EXPECT_EQ(json::value(diagnosis.toJson()),
            json::parse(R"({"subject":"pod a/b","role":"arn:aws:iam::000000000000:role/reader","good":false,"broken":"two","checks":[
    {"id":"one","finding":"ok","found":"seen"},
    {"id":"two","finding":"broken","found":"seen","why":"because","mend":{"text":"do","command":"this"}},
    {"id":"three","finding":"unknown","found":"","why":"could not read it: away","mend":{"text":"try"}},
    {"id":"four","finding":"skipped","found":"","why":"no"}]})"));
}

}  // namespace
}  // namespace podpass::irsa
