#include "irsa/instance_identity.h"

#include <gtest/gtest.h>

#include "http/http.h"

namespace podpass::irsa {
namespace {

using namespace std::chrono_literals;

// An instance metadata service on loopback that wants a token first.
class Metadata {
 public:
  explicit Metadata(std::string document, int tokenStatus = 200) : document_(std::move(document)), tokenStatus_(tokenStatus) {
    server_ = http::makeServer({.tls = std::nullopt, .threads = 1, .limits = {}},
                               [this](std::shared_ptr<const http::Request> request) { return answer(std::move(request)); });
    EXPECT_TRUE(server_->start());
  }
  ~Metadata() { server_->stop(0ms); }
  [[nodiscard]] std::string url() const { return "http://127.0.0.1:" + std::to_string(server_->port()); }

 private:
  http::asio::awaitable<http::Response> answer(std::shared_ptr<const http::Request> request) const {
    http::Response response;
    response.status = 401;
    std::string body;
    if (request->method == "PUT" && request->path == "/latest/api/token" && request->headers.has("X-aws-ec2-metadata-token-ttl-seconds")) {
      response.status = tokenStatus_;
      body = "the-token";
    } else if (request->method == "GET" && request->path == "/latest/dynamic/instance-identity/document" &&
               request->headers.find("X-aws-ec2-metadata-token") == "the-token") {
      response.status = 200;
      body = document_;
    }
    response.body = std::make_shared<const std::string>(std::move(body));
    co_return response;
  }
  std::string document_;
  int tokenStatus_;
  std::unique_ptr<http::Server> server_;
};

TEST(InstanceIdentity, CompletesRoleNames) {
  struct Case {
    const char *region, *arn;
  };
  for (const Case& c :
       {Case{"eu-west-1", "arn:aws:iam::210987654321:role/a/b"}, Case{"cn-north-1", "arn:aws-cn:iam::210987654321:role/a/b"},
        Case{"us-gov-west-1", "arn:aws-us-gov:iam::210987654321:role/a/b"}}) {
    const Metadata metadata(std::string(R"({"accountId":"210987654321","region":")") + c.region + R"(","instanceId":"i-1"})");
    AwsSettings settings;
    settings.composeRoleArn = true;
    const Result<void> asked = askInstance(settings, metadata.url() + "/");
    ASSERT_TRUE(asked) << asked.error().sentence;
    EXPECT_EQ(composedRoleArn("a/b", settings), c.arn);
    EXPECT_EQ(composedRoleArn("arn:aws:iam::1:role/c", settings), "arn:aws:iam::1:role/c");
  }
}

TEST(InstanceIdentity, SaysWhyItIsNotKnown) {
  struct Case {
    const char *why, *document;
    int tokenStatus;
  };
  const std::string huge = "{\"accountId\":\"" + std::string(100'000, '1') + "\"}";
  for (const Case& c : {Case{"no document", "", 200}, Case{"no JSON", "<html>", 200}, Case{"a list", "[]", 200},
                        Case{"truncated", R"({"accountId":"2109)", 200}, Case{"no account", R"({"region":"eu-west-1"})", 200},
                        Case{"a short account", R"({"accountId":"1"})", 200},
                        Case{"an account that would change the ARN", R"({"accountId":"1:role/admin"})", 200},
                        Case{"a number", R"({"accountId":210987654321})", 200}, Case{"too large", huge.c_str(), 200},
                        Case{"no token", R"({"accountId":"210987654321"})", 403}}) {
    SCOPED_TRACE(c.why);
    const Metadata metadata(c.document, c.tokenStatus);
    AwsSettings settings;
    const Result<void> asked = askInstance(settings, metadata.url());
    ASSERT_FALSE(asked);
    EXPECT_EQ(asked.error().reason, Reason::Unavailable);
    EXPECT_EQ(asked.error().fix, "say the account with --account-id");
    EXPECT_TRUE(asked.error().cause);
    EXPECT_EQ(settings.accountId, "");
  }
  AwsSettings settings;
  EXPECT_FALSE(askInstance(settings, "http://127.0.0.1:1"));
}

}  // namespace
}  // namespace podpass::irsa
