#include "irsa/sts_request.h"

#include <algorithm>
#include <charconv>

#include "api/json_reader.h"
#include "api/trust_policy.h"
#include "http/message.h"

namespace podpass::irsa {
namespace {

constexpr std::size_t kMostParameters = 512;
constexpr std::size_t kMostPolicyArns = 10;
constexpr std::string_view kNamePattern = "[\\w+=,.@-]*";

Refusal malformed(std::string why) { return {400, "MalformedQueryString", std::move(why), "parameters"}; }

bool isWord(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool consistsOf(std::string_view text, std::string_view extra) {
  return std::all_of(text.begin(), text.end(), [&](char c) { return isWord(c) || extra.find(c) != std::string_view::npos; });
}

bool isPolicyText(std::string_view text) {
  const std::u32string points = api::codePoints(text);
  return std::all_of(points.begin(), points.end(),
                     [](char32_t c) { return c == U'\t' || c == U'\n' || c == U'\r' || (c >= 0x20 && c <= 0xff); });
}

// All violations of a request, in AWS's words.
class Violations {
 public:
  void length(const std::string& member, const std::string& value, std::size_t least, std::size_t most) {
    const std::size_t length = characters(value);
    if (length < least) add(member, value, "Member must have length greater than or equal to " + std::to_string(least));
    if (length > most) add(member, value, "Member must have length less than or equal to " + std::to_string(most));
  }
  void pattern(const std::string& member, const std::string& value, bool good, std::string_view pattern) {
    if (!good) add(member, value, "Member must satisfy regular expression pattern: " + std::string(pattern));
  }
  void range(const std::string& member, std::int64_t value, std::int64_t least, std::int64_t most) {
    if (value < least) add(member, std::to_string(value), "Member must have value greater than or equal to " + std::to_string(least));
    if (value > most) add(member, std::to_string(value), "Member must have value less than or equal to " + std::to_string(most));
  }
  void missing(const std::string& member) {
    clause("Value null at '" + member + "' failed to satisfy constraint: Member must not be null");
  }
  void notANumber(const std::string& member, const std::string& value) { add(member, value, "Member must be a number"); }
  [[nodiscard]] std::optional<Refusal> refusal() const {
    if (count_ == 0) return std::nullopt;
    return validationError(std::to_string(count_) + (count_ == 1 ? " validation error detected: " : " validation errors detected: ") +
                           text_);
  }

 private:
  void add(const std::string& member, const std::string& value, const std::string& constraint) {
    const std::string shown = member == "webIdentityToken" ? "Value" : "Value '" + std::string(beginning(value, 2048)) + "'";
    clause(shown + " at '" + member + "' failed to satisfy constraint: " + constraint);
  }
  void clause(const std::string& text) {
    text_ += (count_ == 0 ? "" : "; ") + text;
    ++count_;
  }
  int count_ = 0;
  std::string text_;
};

std::string lowerCamel(std::string name) {
  if (!name.empty() && name.front() >= 'A' && name.front() <= 'Z') name.front() = static_cast<char>(name.front() + 32);
  return name;
}

// Reads and checks one member after the other.
class Members {
 public:
  explicit Members(const Parameters& parameters) : parameters_(parameters) {}

  const std::string* find(const std::string& name) const {
    const auto found = parameters_.find(name);
    return found == parameters_.end() ? nullptr : &found->second;
  }
  std::string required(const std::string& name, std::size_t least, std::size_t most) {
    if (find(name) != nullptr) return optional(name, least, most);
    violations.missing(lowerCamel(name));
    return {};
  }
  std::string optional(const std::string& name, std::size_t least, std::size_t most) {
    const std::string* value = find(name);
    if (value == nullptr) return {};
    violations.length(lowerCamel(name), *value, least, most);
    return *value;
  }
  std::string named(std::string value, const std::string& name, std::string_view extra = "+=,.@-",
                    std::string_view pattern = kNamePattern) {
    violations.pattern(lowerCamel(name), value, consistsOf(value, extra), pattern);
    return value;
  }
  std::optional<std::int64_t> seconds(std::int64_t least, std::int64_t most) {
    const std::string* text = find("DurationSeconds");
    if (text == nullptr) return std::nullopt;
    std::int64_t value = 0;
    const auto [end, failed] = std::from_chars(text->data(), text->data() + text->size(), value);
    if (failed != std::errc() || end != text->data() + text->size()) {
      violations.notANumber("durationSeconds", *text);
      return std::nullopt;
    }
    violations.range("durationSeconds", value, least, most);
    return value;
  }
  // Calls `each` for NAME.member.1, .2, … up to the first gap.
  template <class Each>
  void list(const std::string& name, const std::string& part, std::size_t most, Each each) {
    for (std::size_t i = 1;; ++i) {
      const std::string place = name + ".member." + std::to_string(i);
      const std::string* value = find(place + part);
      if (value == nullptr) return;
      if (i > most) {
        violations.length(lowerCamel(name), std::string(i, ' '), 0, most);
        return;
      }
      each(place, *value);
    }
  }

  Violations violations;

 private:
  const Parameters& parameters_;
};

void readTags(Members& members, AssumeRequest& request) {
  members.list("Tags", ".Key", kMostTags, [&](const std::string& place, const std::string& key) {
    const std::string* value = members.find(place + ".Value");
    const std::string member = "tags." + place.substr(place.rfind('.') + 1) + ".member.";
    members.violations.length(member + "key", key, 1, kLongestTagKey);
    members.violations.pattern(member + "key", key, isTagText(key), kTagKeyPattern);
    if (value == nullptr) {
      members.violations.missing(member + "value");
      return;
    }
    members.violations.length(member + "value", *value, 0, kLongestTagValue);
    members.violations.pattern(member + "value", *value, isTagText(*value), kTagValuePattern);
    request.tags.push_back({key, *value});
  });
  members.list("TransitiveTagKeys", "", kMostTags, [&](const std::string&, const std::string& key) {
    members.violations.length("transitiveTagKeys", key, 1, kLongestTagKey);
    request.transitiveTagKeys.push_back(key);
  });
}

}  // namespace

bool isSessionName(std::string_view text) { return consistsOf(text, "+=,.@-"); }

Outcome<Parameters> readParameters(const http::Request& request) {
  std::string_view form =
      request.method == "POST" && !request.body.empty() ? std::string_view(request.body) : std::string_view(request.query);
  Parameters parameters;
  while (!form.empty()) {
    const std::size_t end = std::min(form.find('&'), form.size());
    const std::string_view pair = form.substr(0, end);
    form.remove_prefix(std::min(end + 1, form.size()));
    if (pair.empty()) continue;
    const std::size_t equals = std::min(pair.find('='), pair.size());
    std::optional<std::string> name = http::percentDecoded(pair.substr(0, equals), true);
    std::optional<std::string> value = http::percentDecoded(pair.substr(std::min(equals + 1, pair.size())), true);
    if (!name || !value || !api::isUtf8(*name) || !api::isUtf8(*value)) return malformed("The query string contains a syntax error");
    if (parameters.size() == kMostParameters)
      return malformed("The query string has more than " + std::to_string(kMostParameters) + " parameters");
    if (!parameters.emplace(*std::move(name), *std::move(value)).second) return malformed("The query string contains a parameter twice");
  }
  return parameters;
}

Outcome<AssumeRequest> readAssumeRole(const Parameters& parameters, bool webIdentity) {
  Members members(parameters);
  AssumeRequest request;
  request.roleArn = members.required("RoleArn", 20, 2048);
  request.sessionName = members.named(members.required("RoleSessionName", 2, 64), "RoleSessionName");
  if (webIdentity) request.webIdentityToken = members.required("WebIdentityToken", 4, 20000);
  // Of AssumeRole the packed size alone decides (§2.2).
  request.policy = members.optional("Policy", 1, webIdentity ? 2048 : std::string::npos);
  members.violations.pattern("policy", request.policy, isPolicyText(request.policy), "[\\u0009\\u000A\\u000D\\u0020-\\u00FF]+");
  request.durationSeconds = members.seconds(900, 43200);
  members.list("PolicyArns", ".arn", kMostPolicyArns, [&](const std::string&, const std::string& arn) {
    members.violations.length("policyArns", arn, 20, 2048);
    request.policyArns.push_back(arn);
  });
  if (!webIdentity) {
    request.externalId = members.named(members.optional("ExternalId", 2, 1224), "ExternalId", "+=,.@:/-", "[\\w+=,.@:\\/-]*");
    request.sourceIdentity = members.named(members.optional("SourceIdentity", 2, 64), "SourceIdentity");
    request.serialNumber = members.named(members.optional("SerialNumber", 9, 256), "SerialNumber", "+=/:,.@-", "[\\w+=/:,.@-]*");
    request.tokenCode = members.optional("TokenCode", 6, 6);
    const bool digits = request.tokenCode.find_first_not_of("0123456789") == std::string::npos;
    members.violations.pattern("tokenCode", request.tokenCode, digits, "[\\d]*");
    readTags(members, request);
  }
  if (std::optional<Refusal> refused = members.violations.refusal()) return *std::move(refused);
  if (webIdentity && members.find("ProviderId") != nullptr)
    return validationError("ProviderId is for OAuth 2.0 access tokens and must not be given with an OpenID Connect token");
  if (std::optional<std::string> problem = problemOf(request.tags, request.transitiveTagKeys))
    return Refusal{400, "InvalidParameterValue", *std::move(problem), "tags"};
  return request;
}

Outcome<std::int64_t> readGetSessionToken(const Parameters& parameters) {
  Members members(parameters);
  const std::int64_t seconds = members.seconds(900, 129600).value_or(43200);
  if (std::optional<Refusal> refused = members.violations.refusal()) return *std::move(refused);
  return seconds;
}

}  // namespace podpass::irsa
