#include "irsa/container_credentials.h"

#include <gtest/gtest.h>

#include "irsa/test_sts.h"

namespace podpass::irsa {
namespace {

using namespace std::chrono_literals;

constexpr const char* kTrust =
    R"({"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"pods.eks.amazonaws.com"},
    "Action":["sts:AssumeRole","sts:TagSession"]}})";

// The endpoint over an STS in memory; the token is believed to be of `identity`.
class ContainerCredentialsTest : public ::testing::Test {
 protected:
  ContainerCredentialsTest() {
    identity.username = "system:serviceaccount:a:b";
    identity.extra = {{"authentication.kubernetes.io/pod-name", {"p-1"}}, {"authentication.kubernetes.io/pod-uid", {"u-1"}}};
    putRole("pods", kTrust);
    associate("a1", "b", "pods");
  }

  void putRole(const std::string& name, const std::string& policy) {
    sts.api.put(test::Sts::roleKind(),
                {{"metadata", json::object{{"name", name}, {"uid", name}}}, {"spec", json::object{{"trustPolicy", policy}}}});
  }
  void associate(const std::string& name, const std::string& account, const std::string& role, json::object more = {},
                 const std::string& made = "2024-01-01T00:00:00Z", const std::string& ns = "a") {
    more["serviceAccountName"] = account;
    more["roleArn"] = arn(role);
    const json::object metadata{{"namespace", ns}, {"name", name}, {"uid", "uid-" + name}, {"creationTimestamp", made}};
    sts.api.put(*api::findKind("identity.podpass.dev", "v1", "podidentityassociations"),
                {{"metadata", metadata}, {"spec", std::move(more)}});
  }
  static std::string arn(const std::string& role) { return "arn:aws:iam::000000000000:role/" + role; }

  test::Answer ask(const std::string& token, const std::string& host = "127.0.0.1:81", const std::string& path = "/v1/credentials") {
    auto request = std::make_shared<http::Request>();
    request->method = "GET";
    request->path = request->target = path;
    request->remote = "127.0.0.1:5";
    request->headers.add("Host", host);
    if (!token.empty()) request->headers.add("Authorization", token);
    http::asio::io_context here(1);
    auto done = http::asio::co_spawn(here, endpoint.handle(std::move(request)), http::asio::use_future);
    here.run();
    const http::Response response = done.get();
    return {response.status, *response.body};
  }
  // The session of the credentials in the answer.
  Session sessionIn(const test::Answer& answer) {
    if (answer.status != 200) throw std::runtime_error(answer.body);
    const json::object body = json::parse(answer.body).as_object();
    const Result<CredentialKeys::Known> known =
        sts.keys->find("000000000000", std::string(textAt(body, {"AccessKeyId"})), Secret(textAt(body, {"Token"})));
    if (!known) throw std::runtime_error(known.error().sentence);
    EXPECT_EQ(known->secretAccessKey.reveal(), textAt(body, {"SecretAccessKey"}));
    EXPECT_EQ(textAt(body, {"Expiration"}), rfc3339(WallTime(std::chrono::seconds(known->session.expires))));
    EXPECT_EQ(textAt(body, {"AccountId"}), "000000000000");
    return known->session;
  }
  // The code of EKS Auth's in "[ID]: (CODE): …".
  std::string codeOf(const test::Answer& answer) {
    const std::size_t start = answer.body.find("]: (");
    return start == std::string::npos ? answer.body : answer.body.substr(start + 4, answer.body.find(')') - start - 4);
  }

  test::Sts sts;
  token::Identity identity;
  Error problem;  // with a sentence: what verifying ends in
  ContainerCredentials endpoint{sts.api,
                                sts.keys,
                                sts.directory,
                                sts.refusals,
                                sts.clock,
                                {.verify = [this](std::string_view) -> Result<token::Identity> {
                                   if (!problem.sentence.empty()) return problem;
                                   return identity;
                                 },
                                 .hosts = {"127.0.0.1"}}};
};

TEST_F(ContainerCredentialsTest, ARequestThatFailsGivesItsPlaceBack) {
  ContainerCredentials brittle(
      sts.api, sts.keys, sts.directory, sts.refusals, sts.clock,
      {.verify = [](std::string_view) -> Result<token::Identity> { throw std::runtime_error("broken"); }, .hosts = {"127.0.0.1"}});
  auto request = std::make_shared<http::Request>();
  request->path = "/v1/credentials";
  request->headers.add("Host", "127.0.0.1");
  request->headers.add("Authorization", sts.token());
  const auto status = [&] {
    http::asio::io_context here(1);
    auto done = http::asio::co_spawn(here, brittle.handle(request), http::asio::use_future);
    here.run();
    return done.get().status;
  };
  for (int i = 0; i < 300; ++i) EXPECT_THROW(status(), std::runtime_error);
  request->headers = {};
  request->headers.add("Host", "127.0.0.1");
  EXPECT_EQ(status(), 400) << "not 429";
}

TEST_F(ContainerCredentialsTest, GivesASessionOfTheAssociatedRoleWithTags) {
  const Session session = sessionIn(ask(sts.token()));
  EXPECT_EQ(session.roleArn, arn("pods"));
  EXPECT_TRUE(session.arn.starts_with("arn:aws:sts::000000000000:assumed-role/pods/eks-podpass-p-1-")) << session.arn;
  const SessionTags tags{{"eks-cluster-arn", "arn:aws:eks:us-east-1:000000000000:cluster/podpass"},
                         {"eks-cluster-name", "podpass"},
                         {"kubernetes-namespace", "a"},
                         {"kubernetes-service-account", "b"},
                         {"kubernetes-pod-name", "p-1"},
                         {"kubernetes-pod-uid", "u-1"}};
  EXPECT_EQ(session.tags, tags);
  EXPECT_EQ(session.transitiveTags.size(), tags.size());
  EXPECT_EQ(session.expires - session.issuedAt, 6 * 3600);
}

TEST_F(ContainerCredentialsTest, ALongPodNameLeavesRoomForTheEndOfTheSessionName) {
  identity.extra["authentication.kubernetes.io/pod-name"] = {std::string(253, 'x')};
  const std::string whole = sessionIn(ask(sts.token())).arn;
  EXPECT_EQ(whole.size() - whole.rfind('/') - 1, 64u);
}

TEST_F(ContainerCredentialsTest, TheTrustPolicySeesPodAndCluster) {
  const auto policy = [](const std::string& conditions, const std::string& actions = R"(["sts:AssumeRole","sts:TagSession"])") {
    return R"({"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"pods.eks.amazonaws.com"},"Action":)" + actions +
           R"(,"Condition":{"StringEquals":)" + conditions + "}}}";
  };
  struct Case {
    const char* why;
    std::string policy;
    bool good;
  };
  const Case cases[] = {
      {"the namespace is a tag", policy(R"({"aws:RequestTag/kubernetes-namespace":"a"})"), true},
      {"of another namespace", policy(R"({"aws:RequestTag/kubernetes-namespace":"z"})"), false},
      {"the cluster is the source", policy(R"({"aws:SourceArn":"arn:aws:eks:us-east-1:000000000000:cluster/podpass"})"), true},
      {"another cluster", policy(R"({"aws:SourceArn":"arn:aws:eks:us-east-1:000000000000:cluster/other"})"), false},
      {"without sts:TagSession", policy("{}", R"("sts:AssumeRole")"), false},
      {"made for web identity",
       R"({"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}})", false}};
  int next = 0;
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    const std::string role = "r" + std::to_string(next++);
    putRole(role, c.policy);
    associate(role, role, role);
    identity.username = "system:serviceaccount:a:" + role;
    const test::Answer answer = ask(sts.token());
    EXPECT_EQ(answer.status, c.good ? 200 : 400) << answer.body;
    if (!c.good) {
      EXPECT_EQ(codeOf(answer), "AccessDeniedException");
    }
  }
}

TEST_F(ContainerCredentialsTest, WithoutTagsSessionAssumeRoleIsEnough) {
  putRole("plain", R"({"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"pods.eks.amazonaws.com"},
                      "Action":"sts:AssumeRole"}})");
  associate("plain", "plain", "plain", {{"disableSessionTags", true}});
  identity.username = "system:serviceaccount:a:plain";
  EXPECT_TRUE(sessionIn(ask(sts.token())).tags.empty());
}

TEST_F(ContainerCredentialsTest, ATargetRoleIsAssumedByTheFirstForThisAssociationOnly) {
  const auto trusting = [this](const std::string& id) {
    return R"({"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":")" + arn("pods") +
           R"("},"Action":["sts:AssumeRole","sts:TagSession"],"Condition":{"StringEquals":{"sts:ExternalId":")" + id + R"("}}}})";
  };
  putRole("target", trusting("uid-chain"));
  putRole("closed", trusting("uid-other"));
  associate("chain", "chain", "pods", {{"targetRoleArn", arn("target")}});
  associate("shut", "shut", "pods", {{"targetRoleArn", arn("closed")}});
  identity.username = "system:serviceaccount:a:chain";
  const Session session = sessionIn(ask(sts.token()));
  EXPECT_EQ(session.roleArn, arn("target"));
  EXPECT_TRUE(session.chained);
  EXPECT_EQ(session.expires - session.issuedAt, 3600);
  EXPECT_EQ(session.tags.at("kubernetes-namespace"), "a");
  identity.username = "system:serviceaccount:a:shut";
  EXPECT_EQ(codeOf(ask(sts.token())), "AccessDeniedException");
}

TEST_F(ContainerCredentialsTest, TheOldestAssociationOfTheNamespaceCounts) {
  associate("newer", "b", "nobody", {}, "2024-01-02T00:00:00Z");
  associate("elsewhere", "b", "nobody", {}, "2023-01-01T00:00:00Z", "other");
  EXPECT_EQ(sessionIn(ask(sts.token())).roleArn, arn("pods"));
}

TEST_F(ContainerCredentialsTest, RefusesAsTheAgentDoes) {
  const std::string good = sts.token();
  EXPECT_EQ(ask(good, "127.0.0.1", "/").status, 404);
  EXPECT_EQ(ask("", "evil.example:81").body,
            "Access Denied. Called agent through invalid address, please use either [127.0.0.1] address not evil.example\n");
  EXPECT_EQ(ask(good, "evil.example").status, 403);
  EXPECT_EQ(ask(good, "").status, 403);
  EXPECT_EQ(ask(good, "[127.0.0.1").status, 200) << "what is compared is the address";
  EXPECT_EQ(ask("").body, "Service account token cannot be empty\n");
  for (const std::string& malformed : {std::string("Bearer x"), good + "." + good, std::string(30'000, 'a'), "Bearer " + good}) {
    const test::Answer answer = ask(malformed);
    EXPECT_EQ(answer.status, 400);
    EXPECT_TRUE(answer.body.starts_with("Service account token cannot be parsed: token is malformed: ")) << answer.body;
    EXPECT_EQ(answer.body.find(good), std::string::npos);
  }
  sts.clock.advance(599s);
  EXPECT_EQ(ask(good).status, 200);
  sts.clock.advance(1s);
  EXPECT_EQ(ask(good).body, "Service account token failed basic claim validations: token has invalid claims: token is expired\n");
}

TEST_F(ContainerCredentialsTest, NamesEksAuthsCodeAndTellsTheReasonToTheOperatorOnly) {
  sts.refusals.start();
  problem = Error{Reason::Unauthorized, "the pod p-1 is gone"};
  EXPECT_EQ(codeOf(ask(sts.token())), "InvalidTokenException");
  EXPECT_EQ(ask(sts.token()).body.find("gone"), std::string::npos);
  problem = Error{Reason::Unavailable, "the store is away"};
  EXPECT_EQ(ask(sts.token()).status, 503);
  problem = {};
  identity.username = "system:serviceaccount:a:stranger";
  EXPECT_EQ(codeOf(ask(sts.token())), "ResourceNotFoundException");
  EXPECT_EQ(ask(sts.token()).status, 404);
  associate("ghost", "ghost", "ghost");
  identity.username = "system:serviceaccount:a:ghost";
  EXPECT_EQ(codeOf(ask(sts.token())), "AccessDeniedException");
  identity.username = "system:serviceaccount:a:b";
  identity.extra.clear();
  EXPECT_EQ(codeOf(ask(sts.token())), "InvalidTokenException") << "a token that is bound to no pod";
  identity.username = "kubernetes-admin";
  EXPECT_EQ(codeOf(ask(sts.token())), "InvalidTokenException");
  sts.refusals.stop();
  bool told = false;
  for (const DocumentPtr& event : sts.api.events)
    told = told || json::serialize(event->value).find("there is no role " + arn("ghost")) != std::string::npos;
  EXPECT_TRUE(told);
}

}  // namespace
}  // namespace podpass::irsa
