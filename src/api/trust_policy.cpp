#include "api/trust_policy.h"

#include <algorithm>
#include <array>
#include <optional>
#include <set>

#include "api/iam_names.h"
#include "api/json_reader.h"
#include "api/policy_value.h"
#include "base/text.h"

namespace podpass::api {
namespace {

constexpr std::size_t kMostCharacters = 2048;  // IAM's quota for a role's trust policy; white space is not counted

constexpr std::array<std::string_view, 6> kActions = {"sts:AssumeRole",        "sts:AssumeRoleWithSAML", "sts:AssumeRoleWithWebIdentity",
                                                      "sts:SetSourceIdentity", "sts:TagSession",         "sts:SetContext"};

// Identity providers that IAM knows by their domain.
constexpr std::array<std::string_view, 4> kBuiltInProviders = {"accounts.google.com", "cognito-identity.amazonaws.com",
                                                               "graph.facebook.com", "www.amazon.com"};

struct OperatorName {
  std::string_view name;
  Comparison comparison;
  bool negated = false;
};

constexpr OperatorName kOperators[] = {
    {"StringEquals", Comparison::StringEquals},
    {"StringNotEquals", Comparison::StringEquals, true},
    {"StringEqualsIgnoreCase", Comparison::StringEqualsIgnoreCase},
    {"StringNotEqualsIgnoreCase", Comparison::StringEqualsIgnoreCase, true},
    {"StringLike", Comparison::StringLike},
    {"StringNotLike", Comparison::StringLike, true},
    {"ArnEquals", Comparison::ArnLike},
    {"ArnLike", Comparison::ArnLike},
    {"ArnNotEquals", Comparison::ArnLike, true},
    {"ArnNotLike", Comparison::ArnLike, true},
    {"NumericEquals", Comparison::NumericEquals},
    {"NumericNotEquals", Comparison::NumericEquals, true},
    {"NumericLessThan", Comparison::NumericLessThan},
    {"NumericLessThanEquals", Comparison::NumericLessThanEquals},
    {"NumericGreaterThan", Comparison::NumericGreaterThan},
    {"NumericGreaterThanEquals", Comparison::NumericGreaterThanEquals},
    {"DateEquals", Comparison::DateEquals},
    {"DateNotEquals", Comparison::DateEquals, true},
    {"DateLessThan", Comparison::DateLessThan},
    {"DateLessThanEquals", Comparison::DateLessThanEquals},
    {"DateGreaterThan", Comparison::DateGreaterThan},
    {"DateGreaterThanEquals", Comparison::DateGreaterThanEquals},
    {"Bool", Comparison::Bool},
    {"BinaryEquals", Comparison::BinaryEquals},
    {"IpAddress", Comparison::IpAddress},
    {"NotIpAddress", Comparison::IpAddress, true},
    {"Null", Comparison::Null},
};

std::string upper(std::string_view text) {
  std::string result(text);
  for (char& c : result)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 32);
  return result;
}

bool allDigits(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

std::optional<ConditionOperator> readOperator(std::string_view text) {
  ConditionOperator result{.text = std::string(text)};
  for (const auto& [prefix, set] : {std::pair{std::string_view("ForAllValues:"), SetOperator::ForAllValues},
                                    std::pair{std::string_view("ForAnyValue:"), SetOperator::ForAnyValue}}) {
    if (!text.starts_with(prefix)) continue;
    result.set = set;
    text.remove_prefix(prefix.size());
    break;
  }
  constexpr std::string_view kIfExists = "IfExists";
  if (text.ends_with(kIfExists)) {
    result.ifExists = true;
    text.remove_suffix(kIfExists.size());
  }
  for (const OperatorName& each : kOperators) {
    if (each.name != text) continue;
    if (each.comparison == Comparison::Null && (result.ifExists || result.set != SetOperator::None)) return std::nullopt;
    result.comparison = each.comparison;
    result.negated = each.negated;
    return result;
  }
  return std::nullopt;
}

// ---- ARNs

std::vector<std::string_view> arnParts(std::string_view arn) {
  std::vector<std::string_view> parts;
  for (std::size_t colon; parts.size() < 5 && (colon = arn.find(':')) != std::string_view::npos; arn.remove_prefix(colon + 1))
    parts.push_back(arn.substr(0, colon));
  parts.push_back(arn);
  return parts;
}

bool isArn(const std::vector<std::string_view>& parts, std::string_view service) {
  return parts.size() == 6 && parts[0] == "arn" && parts[1].starts_with("aws") && parts[2] == service && parts[3].empty() &&
         parts[4].size() == 12 && allDigits(parts[4]);
}

bool isFederatedPrincipal(std::string_view value) {
  if (std::find(kBuiltInProviders.begin(), kBuiltInProviders.end(), value) != kBuiltInProviders.end()) return true;
  const std::vector<std::string_view> parts = arnParts(value);
  if (!isArn(parts, "iam")) return false;
  for (const std::string_view type : {"oidc-provider/", "saml-provider/"})
    if (parts[5].starts_with(type) && parts[5].size() > type.size()) return true;
  return false;
}

bool isAwsPrincipal(std::string_view value) {
  if (value == "*" || (value.size() == 12 && allDigits(value))) return true;
  const std::vector<std::string_view> parts = arnParts(value);
  const auto named = [&](std::string_view type) {  // wildcards are not allowed in principals, only the lone *
    return parts[5].starts_with(type) && parts[5].size() > type.size() && parts[5].find_first_of("*?") == std::string_view::npos;
  };
  if (isArn(parts, "iam")) return parts[5] == "root" || named("role/") || named("user/");
  return isArn(parts, "sts") && (named("assumed-role/") || named("federated-user/"));
}

bool isServicePrincipal(std::string_view value) {
  return value.find('.') != std::string_view::npos && value.find_first_of(" *?/:") == std::string_view::npos;
}

bool isAlphanumeric(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); });
}

// ---- the document

// Where in the document the reader is, as a JSON pointer.
std::string below(const std::string& pointer, std::string_view member) {
  std::string result = pointer + "/";
  for (const char c : member) result += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
  return result;
}
std::string below(const std::string& pointer, std::size_t index) { return pointer + "/" + std::to_string(index); }

// What a value of this operator must be, in the words of the refusal; "" when it is.
std::string valueProblem(Comparison comparison, const std::string& value) {
  switch (comparison) {
    case Comparison::NumericEquals:
    case Comparison::NumericLessThan:
    case Comparison::NumericLessThanEquals:
    case Comparison::NumericGreaterThan:
    case Comparison::NumericGreaterThanEquals:
      return policyNumber(value) ? "" : "Invalid numeric value: " + value;
    case Comparison::DateEquals:
    case Comparison::DateLessThan:
    case Comparison::DateLessThanEquals:
    case Comparison::DateGreaterThan:
    case Comparison::DateGreaterThanEquals:
      return policyDate(value) ? "" : "Invalid date value: " + value;
    case Comparison::IpAddress:
      return policyNetwork(value) ? "" : "Invalid IP range: " + value;
    default:
      return "";
  }
}

enum class Grammar { Trust, Session };  // with Principal, or with Resource

// Reads the document top down; the first problem ends it. Texts: spec irsa.md §3.6.
class Reader {
 public:
  explicit Reader(Grammar grammar) : grammar_(grammar) {}
  Result<TrustPolicy> read(const json::value& document) {
    TrustPolicy policy;
    readPolicy(document, policy);
    if (problem_) return *problem_;
    return policy;
  }

 private:
  bool refuse(const std::string& pointer, std::string sentence) {
    if (!problem_)
      problem_ = Error{.reason = Reason::Invalid, .sentence = std::move(sentence), .causes = {{pointer, {}, "MalformedPolicyDocument"}}};
    return false;
  }
  bool refuseSyntax(const std::string& pointer) { return refuse(pointer, "Syntax errors in policy."); }

  bool knowsAll(const json::object& object, const std::string& pointer, std::initializer_list<std::string_view> known) {
    for (const auto& member : object) {
      const std::string_view name = member.key();
      if (std::find(known.begin(), known.end(), name) != known.end()) continue;
      if (name == "Resource" || name == "NotResource" || name == "Principal" || name == "NotPrincipal")
        return refuse(below(pointer, name), "Has prohibited field " + std::string(name));
      return refuseSyntax(below(pointer, name));
    }
    return true;
  }

  bool readPolicy(const json::value& document, TrustPolicy& policy) {
    const json::object* object = document.if_object();
    if (object == nullptr) return refuseSyntax("");
    if (!knowsAll(*object, "", {"Version", "Id", "Statement"})) return false;
    if (const json::value* version = object->if_contains("Version")) {
      policy.variables = *version == "2012-10-17";
      if (!policy.variables && *version != "2008-10-17")
        return refuse("/Version", "Policy document must be version 2012-10-17 or greater.");
    }
    if (const json::value* id = object->if_contains("Id"); id != nullptr && !id->is_string()) return refuseSyntax("/Id");
    const json::value* statements = object->if_contains("Statement");
    if (statements == nullptr) return refuseSyntax("");
    if (statements->is_object()) return readStatement(*statements, "/Statement", policy);
    const json::array* list = statements->if_array();
    if (list == nullptr || list->empty()) return refuseSyntax("/Statement");
    for (std::size_t i = 0; i < list->size(); ++i)
      if (!readStatement((*list)[i], below("/Statement", i), policy)) return false;
    return true;
  }

  bool readStatement(const json::value& value, const std::string& pointer, TrustPolicy& policy) {
    const json::object* object = value.if_object();
    if (object == nullptr) return refuseSyntax(pointer);
    const bool trust = grammar_ == Grammar::Trust;
    const bool known = trust
                           ? knowsAll(*object, pointer, {"Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Condition"})
                           : knowsAll(*object, pointer, {"Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition"});
    PolicyStatement statement;
    if (!known || !readSid(*object, pointer, statement) || !readEffect(*object, pointer, statement) ||
        (trust && !readPrincipals(*object, pointer, statement)) || !readActions(*object, pointer, statement) ||
        (!trust && !readResources(*object, pointer)))
      return false;
    if (const json::value* conditions = object->if_contains("Condition"))
      if (!readConditions(*conditions, below(pointer, "Condition"), statement)) return false;
    policy.statements.push_back(std::move(statement));
    return true;
  }

  bool readSid(const json::object& object, const std::string& pointer, PolicyStatement& statement) {
    const json::value* sid = object.if_contains("Sid");
    if (sid == nullptr) return true;
    const std::string place = below(pointer, "Sid");
    if (!sid->is_string()) return refuseSyntax(place);
    statement.sid = sid->get_string();
    if (!isAlphanumeric(statement.sid))
      return refuse(place,
                    "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*");
    if (!statement.sid.empty() && !sids_.insert(statement.sid).second)
      return refuse(place, "Statement IDs (SID) in a single policy must be unique.");
    return true;
  }

  bool readEffect(const json::object& object, const std::string& pointer, PolicyStatement& statement) {
    const json::value* effect = object.if_contains("Effect");
    if (effect == nullptr) return refuse(pointer, "Missing required field Effect");
    statement.allows = *effect == "Allow";
    if (statement.allows || *effect == "Deny") return true;
    return refuse(below(pointer, "Effect"),
                  "Invalid effect: " + (effect->is_string() ? std::string(effect->get_string()) : json::serialize(*effect)));
  }

  // A text or a list of texts; numbers and booleans too, as their JSON text, where conditions allow them.
  bool readTexts(const json::value& value, const std::string& pointer, bool scalars, std::vector<std::string>& texts) {
    const auto one = [&](const json::value& each, const std::string& place) {
      if (each.is_string())
        texts.emplace_back(each.get_string());
      else if (scalars && (each.is_number() || each.is_bool()))
        texts.push_back(json::serialize(each));
      else
        return refuseSyntax(place);
      return true;
    };
    const json::array* list = value.if_array();
    if (list == nullptr) return one(value, pointer);
    if (list->empty()) return refuseSyntax(pointer);
    for (std::size_t i = 0; i < list->size(); ++i)
      if (!one((*list)[i], below(pointer, i))) return false;
    return true;
  }

  bool readPrincipals(const json::object& object, const std::string& pointer, PolicyStatement& statement) {
    const json::value* principal = object.if_contains("Principal");
    const json::value* except = object.if_contains("NotPrincipal");
    if (principal == nullptr && except == nullptr) return refuse(pointer, "Missing required field Principal");
    if (principal != nullptr && except != nullptr) return refuseSyntax(pointer);
    statement.exceptPrincipals = except != nullptr;
    if (except != nullptr && statement.allows) return refuse(below(pointer, "NotPrincipal"), "Allow with NotPrincipal is not allowed.");
    const std::string place = below(pointer, except != nullptr ? "NotPrincipal" : "Principal");
    const json::value& value = except != nullptr ? *except : *principal;
    if (value == "*") {
      statement.principals.push_back({PrincipalType::Everyone, "*"});
      return true;
    }
    const json::object* types = value.if_object();
    if (types == nullptr || types->empty()) return refuseSyntax(place);
    for (const auto& each : *types)
      if (!readPrincipal(each.key(), each.value(), below(place, each.key()), statement)) return false;
    return true;
  }

  bool readPrincipal(std::string_view name, const json::value& value, const std::string& pointer, PolicyStatement& statement) {
    struct Type {
      std::string_view name;
      PrincipalType type;
      bool (*good)(std::string_view);
    };
    static constexpr Type kTypes[] = {{"Federated", PrincipalType::Federated, isFederatedPrincipal},
                                      {"AWS", PrincipalType::Aws, isAwsPrincipal},
                                      {"Service", PrincipalType::Service, isServicePrincipal},
                                      {"CanonicalUser", PrincipalType::CanonicalUser, isAlphanumeric}};
    std::vector<std::string> values;
    if (!readTexts(value, pointer, false, values)) return false;
    for (const Type& type : kTypes) {
      if (type.name != name) continue;
      for (std::string& each : values) {
        if (!type.good(each)) return refuse(pointer, "Invalid principal in policy: \"" + upper(name) + "\":\"" + each + "\"");
        statement.principals.push_back(
            {type.type == PrincipalType::Aws && each == "*" ? PrincipalType::Everyone : type.type, std::move(each)});
      }
      return true;
    }
    return refuse(pointer, "Invalid principal in policy: \"" + upper(name) + "\":\"" + values.front() + "\"");
  }

  bool readActions(const json::object& object, const std::string& pointer, PolicyStatement& statement) {
    const json::value* action = object.if_contains("Action");
    const json::value* except = object.if_contains("NotAction");
    const bool trust = grammar_ == Grammar::Trust;
    if (action == nullptr && except == nullptr)
      return refuse(pointer, trust ? "Missing required field Action" : "Policy statement must contain actions.");
    if (action != nullptr && except != nullptr) return refuseSyntax(pointer);
    statement.exceptActions = except != nullptr;
    const std::string place = below(pointer, except != nullptr ? "NotAction" : "Action");
    if (!readTexts(except != nullptr ? *except : *action, place, false, statement.actions)) return false;
    for (const std::string& each : statement.actions) {
      const std::size_t colon = each.find(':');
      if (!trust && each != "*" && (colon == std::string::npos || colon == 0 || colon + 1 == each.size()))
        return refuse(place, "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.");
      if (trust && std::none_of(kActions.begin(), kActions.end(), [&](std::string_view known) { return matchesAction(each, known); }))
        return refuse(place, "AssumeRole policy may only specify STS AssumeRole actions.");
    }
    return true;
  }

  bool readResources(const json::object& object, const std::string& pointer) {
    const json::value* resource = object.if_contains("Resource");
    const json::value* except = object.if_contains("NotResource");
    if (resource == nullptr && except == nullptr) return refuse(pointer, "Policy statement must contain resources.");
    if (resource != nullptr && except != nullptr) return refuseSyntax(pointer);
    const std::string place = below(pointer, except != nullptr ? "NotResource" : "Resource");
    std::vector<std::string> all;
    if (!readTexts(except != nullptr ? *except : *resource, place, false, all)) return false;
    for (const std::string& each : all)
      if (each != "*" && (!each.starts_with("arn:") || arnParts(each).size() != 6))
        return refuse(place, "Resource " + each + " must be in ARN format or \"*\".");
    return true;
  }

  bool readConditions(const json::value& value, const std::string& pointer, PolicyStatement& statement) {
    const json::object* operators = value.if_object();
    if (operators == nullptr) return refuseSyntax(pointer);
    for (const auto& each : *operators) {
      const std::string place = below(pointer, each.key());
      const std::optional<ConditionOperator> test = readOperator(each.key());
      if (!test) return refuse(place, "Invalid Condition type : " + std::string(each.key()) + ".");
      const json::object* keys = each.value().if_object();
      if (keys == nullptr) return refuseSyntax(place);
      for (const auto& key : *keys) {
        PolicyCondition condition{*test, std::string(key.key()), {}};
        const std::string at = below(place, key.key());
        if (!readTexts(key.value(), at, true, condition.values)) return false;
        for (std::size_t i = 0; i < condition.values.size(); ++i)
          if (const std::string problem = valueProblem(test->comparison, condition.values[i]); !problem.empty())
            return refuse(key.value().is_array() ? below(at, i) : at, problem);
        statement.conditions.push_back(std::move(condition));
      }
    }
    return true;
  }

  const Grammar grammar_;
  std::optional<Error> problem_;
  std::set<std::string> sids_;
};

// ---- lines

// Finds the line (from 1) on which what `pointer` names begins. `text` is JSON that was parsed before; members come once.
class LineFinder {
 public:
  explicit LineFinder(std::string_view text) : text_(text) {}
  std::size_t find(const std::string& pointer) {
    wanted_ = pointer;
    found_ = 0;
    value("");
    return 1 + static_cast<std::size_t>(std::count(text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(found_), '\n'));
  }

 private:
  void blanks() {
    while (place_ < text_.size() && std::string_view(" \t\r\n,:").find(text_[place_]) != std::string_view::npos) ++place_;
  }
  std::string_view quoted() {
    const std::size_t start = ++place_;
    for (; place_ < text_.size() && text_[place_] != '"'; ++place_)
      if (text_[place_] == '\\') ++place_;
    const std::size_t end = std::min(place_++, text_.size());
    return text_.substr(start, end - start);
  }
  void value(const std::string& pointer) {
    blanks();
    if (pointer == wanted_ && found_ == 0) found_ = std::min(place_, text_.size());
    if (place_ >= text_.size()) return;
    if (text_[place_] == '"') {
      quoted();
    } else if (text_[place_] == '{' || text_[place_] == '[') {
      const bool members = text_[place_++] == '{';
      for (std::size_t index = 0;; ++index) {
        blanks();
        if (place_ >= text_.size() || text_[place_] == '}' || text_[place_] == ']') break;
        value(members ? below(pointer, quoted())
                      : below(pointer, index));  // a name with escapes is not found: then its parent's line is told
      }
      ++place_;
    } else {
      while (place_ < text_.size() && std::string_view(" \t\r\n,]}").find(text_[place_]) == std::string_view::npos) ++place_;
    }
  }

  std::string_view text_;
  std::string wanted_;
  std::size_t place_ = 0, found_ = 0;
};

Error located(Error error, std::string_view text) {
  const std::string& pointer = error.causes.front().field;
  std::string place = pointer.empty() ? "" : "at " + pointer;
  if (!text.empty()) place += (place.empty() ? "at line " : ", line ") + std::to_string(LineFinder(text).find(pointer));
  if (!place.empty()) error.sentence += " (" + place + ")";
  return error;
}

// Up to which line the text is JSON.
std::size_t lineOfSyntaxError(std::string_view text) {
  json::stream_parser parser;
  boost::system::error_code failed;
  const std::size_t good = parser.write_some(text.data(), text.size(), failed);
  return 1 +
         static_cast<std::size_t>(std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(std::min(good, text.size())), '\n'));
}

Result<TrustPolicy> parseText(std::string_view text, Grammar grammar) {
  const Result<Read> read = readJson(text);
  if (!read)
    return Error{.reason = Reason::Invalid,
                 .sentence = "This policy contains invalid Json (at line " + std::to_string(lineOfSyntaxError(text)) + ")",
                 .causes = {{"", {}, "MalformedPolicyDocument"}}};
  if (!read->duplicates.empty())
    return Error{.reason = Reason::Invalid,
                 .sentence = "Syntax errors in policy. (the member " + read->duplicates.front() + " stands there twice)",
                 .causes = {{"", {}, "MalformedPolicyDocument"}}};
  Result<TrustPolicy> policy = Reader(grammar).read(read->value);
  if (!policy) return located(policy.error(), text);
  return policy;
}

}  // namespace

Result<TrustPolicy> parseTrustPolicy(const json::value& document) {
  const std::string text = document.is_string() ? std::string(document.get_string()) : json::serialize(document);
  const auto blank = [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; };
  const auto blanks = static_cast<std::size_t>(std::count_if(text.begin(), text.end(), blank));
  if (text.size() - blanks > kMostCharacters)
    return Error{
        .reason = Reason::Invalid, .sentence = "Cannot exceed quota for ACLSizePerRole: 2048", .causes = {{"", {}, "LimitExceeded"}}};
  if (document.is_string()) return parseText(text, Grammar::Trust);
  Result<TrustPolicy> policy = Reader(Grammar::Trust).read(document);
  if (!policy) return located(policy.error(), {});
  return policy;
}

Result<void> checkSessionPolicy(std::string_view text) {
  if (const Result<TrustPolicy> policy = parseText(text, Grammar::Session); !policy) return policy.error();
  return {};
}

std::u32string codePoints(std::string_view utf8) {
  std::u32string result;
  result.reserve(utf8.size());
  for (std::size_t i = 0; i < utf8.size();) {
    const auto first = static_cast<unsigned char>(utf8[i]);
    const std::size_t length = first < 0xc0 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    char32_t point = length == 1 ? first : first & (0x7fu >> length);
    for (std::size_t k = 1; k < length && i + k < utf8.size(); ++k)
      point = (point << 6) | (static_cast<unsigned char>(utf8[i + k]) & 0x3fu);
    result += point < kAnyRun ? point : U'\ufffd';
    i += length;
  }
  return result;
}

Pattern wildcardPattern(std::string_view utf8) {
  Pattern pattern = codePoints(utf8);
  for (char32_t& point : pattern) point = point == U'*' ? kAnyRun : point == U'?' ? kAnyOne : point;
  return pattern;
}

// Greedy, with one place to come back to: after a later `*` an earlier one need not be tried again.
bool matchesPattern(std::u32string_view pattern, std::u32string_view text) {
  std::size_t p = 0, t = 0, run = std::u32string_view::npos, resume = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == kAnyRun) {
      run = p++;
      resume = t;
    } else if (p < pattern.size() && (pattern[p] == kAnyOne || pattern[p] == text[t])) {
      ++p;
      ++t;
    } else if (run != std::u32string_view::npos) {
      p = run + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == kAnyRun) ++p;
  return p == pattern.size();
}

bool matchesAction(std::string_view pattern, std::string_view action) {
  return matchesPattern(wildcardPattern(lowered(pattern)), codePoints(lowered(action)));
}

}  // namespace podpass::api
