#include "irsa/instance_identity.h"

#include "http/client.h"

namespace podpass::irsa {
namespace {

constexpr std::chrono::seconds kPatience{3};
constexpr std::size_t kLargest = 64 << 10;

Result<std::string> ask(const std::string& method, const std::string& url, const char* header, const std::string& value) {
  http::FetchOptions options;
  options.method = method;
  options.headers.add(header, value);
  options.timeout = kPatience;
  options.maxBody = kLargest;
  Result<http::Fetched> answer = http::fetch(url, options);
  if (!answer) return answer.error();
  if (answer->status != 200) return Error{Reason::Unavailable, url + " answers with status " + std::to_string(answer->status)};
  return std::move(answer->body);
}

bool isAccount(std::string_view text) { return text.size() == 12 && text.find_first_not_of("0123456789") == std::string_view::npos; }

Result<void> readInto(AwsSettings& settings, const std::string& document) {
  boost::system::error_code malformed;
  const json::value parsed = json::parse(document, malformed);
  const json::object* identity = malformed ? nullptr : parsed.if_object();
  if (identity == nullptr || !isAccount(textAt(*identity, {"accountId"})))
    return Error{Reason::Unavailable, "it has no accountId of twelve digits"};
  settings.accountId = textAt(*identity, {"accountId"});
  settings.partition = partitionOf(textAt(*identity, {"region"}));
  return {};
}

}  // namespace

Result<void> askInstance(AwsSettings& settings, std::string endpoint) {
  while (endpoint.ends_with('/')) endpoint.pop_back();
  const Result<std::string> token = ask("PUT", endpoint + "/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds", "60");
  const Result<std::string> document =
      token ? ask("GET", endpoint + "/latest/dynamic/instance-identity/document", "X-aws-ec2-metadata-token", *token) : token;
  const Result<void> read = document ? readInto(settings, *document) : Result<void>(document.error());
  if (read) return {};
  return Error{Reason::Unavailable, "the instance identity document could not be read", "say the account with --account-id",
               std::make_shared<const Error>(read.error())};
}

}  // namespace podpass::irsa
