#include "irsa/sts_service.h"

#include <gtest/gtest.h>

#include <boost/asio/post.hpp>

#include "http/test_certificates.h"
#include "irsa/test_sts.h"

// Sessions, issuers that fail, and crowds.
namespace podpass::irsa {
namespace {

using namespace std::chrono_literals;

std::string between(const std::string& text, const std::string& tag) { return test::Answer{0, text}.element(tag); }
std::string codeOf(const test::Answer& answer) { return answer.code(); }

TEST(StsService, GivesCredentialsThatLiveAsLongAsAsked) {
  test::Sts sts;
  const test::Answer answer = sts.ask(test::Sts::assume("role0", sts.token(), "&DurationSeconds=900"));
  ASSERT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(between(answer.body, "Arn"), "arn:aws:sts::000000000000:assumed-role/role0/ss");
  EXPECT_EQ(between(answer.body, "Expiration"), rfc3339(sts.clock.now() + 900s));
}

TEST(StsService, JudgesATokensTimeToTheSecond) {
  test::Sts sts;
  const std::string token = sts.token();
  sts.clock.advance(599s);
  EXPECT_EQ(codeOf(sts.ask(test::Sts::assume("role0", token))), "good");
  sts.clock.advance(1s);
  EXPECT_EQ(codeOf(sts.ask(test::Sts::assume("role0", token))), "ExpiredTokenException");
}

TEST(StsService, AllowsTheSkewThatItWasTold) {
  test::Sts sts(jose::test::kEcPem, 1, 300s);
  const std::string token = sts.token();
  sts.clock.advance(899s);
  EXPECT_EQ(codeOf(sts.ask(test::Sts::assume("role0", token))), "good");
  sts.clock.advance(1s);
  EXPECT_EQ(codeOf(sts.ask(test::Sts::assume("role0", token))), "ExpiredTokenException");
  const std::string early = sts.token();
  sts.clock.stepWall(-300s);
  EXPECT_EQ(codeOf(sts.ask(test::Sts::assume("role0", early))), "good");
  sts.clock.stepWall(-1s);
  EXPECT_EQ(sts.ask(test::Sts::assume("role0", early)).sentence(), "InvalidIdentityToken: Token is not valid yet");
}

TEST(StsService, ForgetsARoleAndKnowsANewPolicyAtOnce) {
  test::Sts sts;
  EXPECT_EQ(codeOf(sts.ask(test::Sts::assume("later", sts.token()))), "AccessDenied");
  sts.putRole("later");
  EXPECT_EQ(codeOf(sts.ask(test::Sts::assume("later", sts.token()))), "good");
  sts.putRole("later", {{"path", "/moved/"}});
  EXPECT_EQ(codeOf(sts.ask(test::Sts::assume("later", sts.token()))), "AccessDenied");
  EXPECT_EQ(codeOf(sts.ask(test::Sts::assume("moved/later", sts.token()))), "good");
}

TEST(StsService, ALaterProviderDoesNotDisplaceAnOlderOne) {
  test::Sts sts;
  const auto put = [&](const std::string& name, const std::string& made, const std::string& audience) {
    sts.api.put(test::Sts::providers(), {{"metadata", json::object{{"name", name}, {"uid", name}, {"creationTimestamp", made}}},
                                         {"spec", json::object{{"url", "http://127.0.0.1:1"}, {"clientIDs", json::array{audience}}}}});
  };
  const auto audienceFits = [&](const std::string& audience) {
    return sts.ask(test::Sts::assume("role0", sts.token({{"iss", "http://127.0.0.1:1"}, {"aud", audience}}))).element("Message") !=
           "Incorrect token audience";
  };
  put("podpass", "2024-01-01T00:00:00Z", "older");
  put("a", "2024-01-01T00:00:01Z", "later");
  EXPECT_TRUE(audienceFits("older"));
  EXPECT_FALSE(audienceFits("later"));
}

TEST(StsService, RevokesWhatMayHaveBegunBefore) {
  test::Sts sts;
  const test::Signer session(sts.ask(test::Sts::assume("role0", sts.token())));
  const std::string begun = rfc3339(sts.clock.now());
  const auto code = [&](const std::string& before) {
    sts.putRole("role0", {{"revokeSessionsBefore", before}});
    return codeOf(sts.ask(session, "Action=GetCallerIdentity"));
  };
  EXPECT_EQ(code(begun), "good");
  const std::string parts = begun.substr(0, begun.size() - 1);
  EXPECT_EQ(code(parts + ".000001Z"), "ExpiredToken") << "a fraction of the second in which the session began";
  EXPECT_EQ(code(parts + ".999999Z"), "ExpiredToken");
  EXPECT_EQ(code(rfc3339(sts.clock.now() + 1s)), "ExpiredToken");
  EXPECT_EQ(code(rfc3339(sts.clock.now() - 1s)), "good");
}

TEST(StsService, AnswersXmlWhateverItIsSent) {
  test::Sts sts;
  http::Request request;
  for (const std::string body :
       {"", "Action=Nope&Version=2011-06-15", "Action=GetCallerIdentity&Version=1", "%", "Action=AssumeRole&Version=2011-06-15"}) {
    request.method = "POST";
    request.body = body;
    const test::Answer answer = sts.ask(request);
    EXPECT_GE(answer.status, 400);
    EXPECT_TRUE(answer.body.starts_with("<ErrorResponse")) << answer.body;
  }
  request.bodyTooLarge = true;
  EXPECT_EQ(sts.ask(request).status, 413);
}

TEST(StsService, SaysOfEveryBrokenIssuerWhatAwsSays) {
  const char* const key =
      "Couldn't retrieve verification key from your identity provider,  please reference AssumeRoleWithWebIdentity documentation for "
      "requirements";
  const char* const away = "Couldn't reach your identity provider to verify the incoming identity token";
  test::Sts sts;
  const auto body = [](http::Response& response, std::string text) {
    response.body = std::make_shared<const std::string>(std::move(text));
  };
  const auto keys = [&](http::Response& response, const json::array& all) { body(response, json::serialize(json::object{{"keys", all}})); };
  const json::object own = jose::toJwk(sts.issuer.key());
  struct Case {
    const char* why;
    std::function<void(const std::string& path, http::Response& response)> spoil;
    const char *code, *message;
  };
  const Case cases[] = {
      {"away",
       [](const std::string&, http::Response& response) {
         response.takeOver = [](auto stream) -> http::asio::awaitable<void> {
           stream->close();
           co_return;
         };
       },
       "IDPCommunicationError", away},
      {"overloaded", [](const std::string&, http::Response& response) { response.status = 503; }, "InvalidIdentityToken", key},
      {"private", [](const std::string&, http::Response& response) { response.status = 403; }, "InvalidIdentityToken", key},
      {"a log-in page", [&](const std::string&, http::Response& response) { body(response, "<html>"); }, "InvalidIdentityToken", key},
      {"a redirect to itself",
       [](const std::string& path, http::Response& response) {
         response.status = 302;
         response.headers.add("Location", path);
       },
       "InvalidIdentityToken", key},
      {"ten megabytes", [&](const std::string&, http::Response& response) { body(response, std::string(10 << 20, ' ')); },
       "InvalidIdentityToken", key},
      {"no keys",
       [&](const std::string& path, http::Response& response) {
         if (path == "/keys") keys(response, {});
       },
       "InvalidIdentityToken", key},
      {"the key removed",
       [&](const std::string& path, http::Response& response) {
         json::object other = own;
         other["kid"] = "other";
         if (path == "/keys") keys(response, {other});
       },
       "InvalidIdentityToken", key},
      {"two keys of one kid",
       [&](const std::string& path, http::Response& response) {
         if (path == "/keys") keys(response, {own, own});
       },
       "InvalidIdentityToken", key},
      {"well again", nullptr, "", ""}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    sts.issuer.spoil = c.spoil;
    sts.relyingParty.forget();
    const int before = sts.issuer.asked;
    for (int i = 0; i < 5; ++i) {
      const test::Answer answer = sts.ask(test::Sts::assume("role0", sts.token()));
      EXPECT_EQ(between(answer.body, "Code"), c.code) << answer.body;
      EXPECT_EQ(between(answer.body, "Message"), c.message);
      EXPECT_EQ(answer.status, *c.code == '\0' ? 200 : 400);
    }
    EXPECT_LE(sts.issuer.asked, before + 2) << "both documents once, however many ask";
  }
}

TEST(StsService, RefusesWhatItCannotServeAtOnce) {
  test::Sts sts;
  sts.issuer.delay = 300ms;
  http::asio::io_context here(1);
  std::vector<std::future<http::Response>> all;
  const auto request = std::make_shared<const http::Request>(test::Sts::assume("role0", sts.token()));
  for (int i = 0; i < 600; ++i) all.push_back(http::asio::co_spawn(here, sts.service.handle(request), http::asio::use_future));
  here.run();
  int good = 0, throttled = 0;
  for (auto& one : all) {
    const http::Response response = one.get();
    good += response.status == 200 ? 1 : 0;
    throttled +=
        response.status == 400 && between(*response.body, "Code") == "Throttling" && between(*response.body, "Message") == "Rate exceeded";
  }
  EXPECT_EQ(good, 512);
  EXPECT_EQ(throttled, 88);
  EXPECT_EQ(sts.issuer.asked, 2) << "and the issuer is asked once";
  EXPECT_EQ(codeOf(sts.ask(test::Sts::assume("role0", sts.token()))), "good") << "the places are free again";
}

TEST(StsService, BelievesAnIssuersCertificateByItsThumbprintOnly) {
  const http::Certificates& certificates = http::Certificates::get();
  std::string url, path = "/thumbprint";
  http::Handler handler = [&](std::shared_ptr<const http::Request>) -> http::asio::awaitable<http::Response> {
    http::Response response;
    response.status = 404;
    co_return response;
  };
  const std::unique_ptr<http::Server> issuer =
      http::makeServer({.tls = certificates.files(), .threads = 1, .limits = {}}, std::move(handler));
  ASSERT_TRUE(issuer->start());
  url = "https://127.0.0.1:" + std::to_string(issuer->port()) + path;
  test::Sts sts;
  const auto saidWith = [&](const json::object& how, const std::string& name) {
    json::object spec = how;
    spec["url"] = url + name;  // another issuer each time: nothing is kept of the one before
    spec["clientIDs"] = json::array{"sts.amazonaws.com"};
    sts.api.put(test::Sts::providers(), {{"metadata", json::object{{"name", name}, {"uid", name}}}, {"spec", spec}});
    return sts.ask(test::Sts::assume("role0", sts.token({{"iss", url + name}}))).sentence();
  };
  EXPECT_EQ(saidWith({{"thumbprints", json::array{std::string(40, 'a')}}}, "a"),
            "InvalidIdentityToken: OpenIDConnect provider's HTTPS certificate doesn't match configured thumbprint");
  EXPECT_TRUE(saidWith({{"caBundle", base64Encode(certificates.text("ca.crt"))}}, "b")
                  .starts_with("InvalidIdentityToken: Couldn't retrieve verification key"))
      << "the certificate is good, the document is not there";
  issuer->stop(std::chrono::seconds(1));
}

// Errors of the machinery, not of a request.
class BrittleClock final : public Clock {
 public:
  [[nodiscard]] WallTime now() const override { throw std::runtime_error("broken"); }
  [[nodiscard]] SteadyTime steady() const override { return {}; }
};

TEST(StsService, ARequestThatFailsGivesItsPlaceBack) {
  test::Sts sts;
  const BrittleClock brittle;
  token::RelyingParty broken(sts.pool, brittle);
  token::TrustedIssuer issuer;
  issuer.url = sts.issuer.url();
  issuer.plainLoopback = true;
  ASSERT_TRUE(broken.trust({issuer}));
  StsService service(sts.keys, sts.directory, broken, sts.refusals, sts.clock);
  const auto ask = [&](http::Request request) {
    http::asio::io_context here(1);
    auto done =
        http::asio::co_spawn(here, service.handle(std::make_shared<const http::Request>(std::move(request)), {}), http::asio::use_future);
    here.run();
    return done.get().status;
  };
  for (int i = 0; i < 600; ++i) EXPECT_THROW(ask(test::Sts::assume("role0", sts.token())), std::runtime_error);
  http::Request request;
  request.method = "POST";
  request.body = "Action=GetCallerIdentity&Version=2011-06-15";
  EXPECT_EQ(ask(request), 403) << "not Throttling";
}

TEST(StsService, AnswersThrottlingWhenTooManyWait) {
  test::Sts sts;
  std::promise<void> release;
  const std::shared_future<void> released = release.get_future().share();
  for (int i = 0; i < 2; ++i) boost::asio::post(sts.pool, [released] { released.wait(); });
  const std::string token = sts.token();
  http::asio::io_context crowd(1);
  std::vector<std::future<http::Response>> waiting;
  for (int i = 0; i < 512; ++i) {
    auto request = std::make_shared<const http::Request>(test::Sts::assume("role0", token));
    waiting.push_back(http::asio::co_spawn(crowd, sts.service.handle(std::move(request), {}), http::asio::use_future));
  }
  crowd.poll();
  EXPECT_EQ(sts.ask(test::Sts::assume("role0", token)).sentence(), "Throttling: Rate exceeded");
  release.set_value();
  crowd.run();
  for (std::future<http::Response>& each : waiting) EXPECT_EQ(each.get().status, 200);
  EXPECT_EQ(codeOf(sts.ask(test::Sts::assume("role0", token))), "good");
}

}  // namespace
}  // namespace podpass::irsa
