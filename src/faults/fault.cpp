#include "faults/fault.h"

#include <algorithm>
#include <charconv>

#include "base/text.h"
#include "http/message.h"
#include "irsa/container_credentials.h"
#include "irsa/sts_answer.h"
#include "jose/jws.h"

namespace podpass::faults {
namespace {

constexpr std::string_view kDiscovery = "/.well-known/openid-configuration", kJwks = "/openid/v1/jwks";

std::chrono::seconds createdAt(const json::object& object) {
  const Result<WallTime> at = parseRfc3339(textAt(object, {"metadata", "creationTimestamp"}));
  return at ? std::chrono::floor<std::chrono::seconds>(at->time_since_epoch()) : std::chrono::seconds(0);
}

std::string doneBefore(const json::object& object) {
  const json::array* conditions = arrayAt(object, {"status", "conditions"});
  return conditions != nullptr && !conditions->empty() && conditions->front().is_object()
             ? std::string(textAt(conditions->front().get_object(), {"message"}))
             : std::string();
}

std::shared_ptr<const std::string> foreignJwks() {
  const Result<crypto::KeyPair> pair = crypto::KeyPair::generate(crypto::KeyType::P256);
  json::array keys;
  if (pair)
    if (const Result<jose::Key> key = jose::makeKey(*pair)) keys.push_back(jose::toJwk(*key));
  return std::make_shared<const std::string>(json::serialize(json::object{{"keys", std::move(keys)}}));
}

http::Response closedConnection() {
  http::Response response;
  response.takeOver = [](std::shared_ptr<http::ByteStream> stream) -> http::asio::awaitable<void> {
    stream->close();
    co_return;
  };
  return response;
}

http::Response htmlPage() {
  http::Response response = http::plainText(200, "");
  response.headers = {};
  response.headers.add("Content-Type", "text/html; charset=utf-8");
  response.body =
      std::make_shared<const std::string>("<!DOCTYPE html><html><head><title>Sign in</title></head><body>Sign in</body></html>\n");
  return response;
}

// An error in the words of who would have answered.
http::Response errorOf(Place place, bool internal) {
  irsa::Refusal refusal = internal ? irsa::internalFailure() : irsa::serviceUnavailable();
  refusal.check = "fault";
  if (place == Place::STS) return irsa::errorAnswer(refusal, randomUuid());
  if (place != Place::ContainerCredentials)
    return http::plainText(refusal.status, std::to_string(refusal.status) + " " + std::string(http::reasonPhrase(refusal.status)) + "\n");
  refusal.code = internal ? "InternalServerException" : "ServiceUnavailableException";
  return irsa::podCredentialsRefusal(refusal, randomUuid());
}

}  // namespace

Fault::Fault(const json::object& object)
    : name(textAt(object, {"metadata", "name"})),
      uid(textAt(object, {"metadata", "uid"})),
      type(textAt(object, {"spec", "type"})),
      since(createdAt(object)),
      skew(integerAt(object, {"spec", "skewSeconds"})),
      clock(textAt(object, {"spec", "component"}) == "APIServer" ? Place::APIServer : Place::STS),
      done(doneBefore(object)),
      answer_(textAt(object, {"spec", "answer"})),
      percent_(integerAt(object, {"spec", "percent"}, 100)),
      times_(integerAt(object, {"spec", "times"})),
      staleJwks_(type == "JWKSStale" ? foreignJwks() : nullptr),
      answered_(integerAt(object, {"status", "requests"})) {}

bool Fault::concerns(Place place, const http::Request& request) const {
  switch (place) {
    case Place::APIServer:
      return request.path == kJwks ? type == "IssuerDown" || type == "JWKSStale" : request.path == kDiscovery && type == "IssuerDown";
    case Place::STS:
      return type == "STSDown" || type == "STSThrottling";
    case Place::Webhook:
      return type == "WebhookDown" && request.path == "/mutate";
    case Place::ContainerCredentials:
      return type == "CredentialsDown" && request.path == "/v1/credentials";
  }
  return false;
}

bool Fault::strikes(Place place, const http::Request& request) {
  if (!concerns(place, request)) return false;
  const std::int64_t before = asked_.fetch_add(1);
  // Evenly spread, the first one being struck: with 50 every other request.
  if ((before * percent_ + 99) / 100 == ((before + 1) * percent_ + 99) / 100) return false;
  return answered_.fetch_add(1) < times_ || times_ == 0;
}

std::int64_t Fault::requests() const { return times_ == 0 ? answered_.load() : std::min(answered_.load(), times_); }

http::Response Fault::answer(Place place, const http::Request& request) const {
  if (type == "STSThrottling") {
    irsa::Refusal refusal = irsa::throttled();
    refusal.check = "fault";
    return irsa::errorAnswer(refusal, randomUuid());
  }
  if (answer_ == "HTMLPage") return htmlPage();
  const bool closes = answer_.empty() || answer_ == "ConnectionClosed";
  if (closes && request.versionMajor == 1) return closedConnection();
  return errorOf(place, answer_ == "InternalError");  // of HTTP/2 only a stream could end, which clients take for something else
}

http::Response Fault::changed(http::Response response) const {
  if (response.status == 200) response.body = staleJwks_;
  return response;
}

Result<json::object> faultOf(std::string_view argument) {
  const std::size_t equals = argument.find('=');
  const std::string type(argument.substr(0, equals));
  const std::string_view value = equals == std::string_view::npos ? std::string_view() : argument.substr(equals + 1);
  json::object spec{{"type", type}};
  const bool isNumber = type == "ClockSkew" || type == "STSThrottling";
  std::int64_t number = 0;
  const auto [end, failed] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (isNumber && !value.empty() && (failed != std::errc() || end != value.data() + value.size()))
    return Error{Reason::BadRequest, "the fault " + quoted(argument.substr(0, 128)) + " needs a number",
                 "write ClockSkew=SECONDS or STSThrottling=PERCENT"};
  if (!value.empty() && !isNumber && !type.ends_with("Down"))
    return Error{Reason::BadRequest, "the fault " + type.substr(0, 64) + " takes no value", "write --fault " + type.substr(0, 64)};
  if (!value.empty() && type == "ClockSkew") spec["skewSeconds"] = number;
  if (!value.empty() && type == "STSThrottling") spec["percent"] = number;
  if (!value.empty() && !isNumber) spec["answer"] = value;
  std::string name = type;
  for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return json::object{
      {"apiVersion", "identity.podpass.dev/v1"}, {"kind", "Fault"}, {"metadata", json::object{{"name", name}}}, {"spec", std::move(spec)}};
}

}  // namespace podpass::faults
