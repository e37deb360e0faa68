#include "api/selector.h"

#include <charconv>
#include <set>

#include "api/codec.h"
#include "base/text.h"

namespace podpass::api {
namespace {

Error badRequest(std::string sentence) { return Error{Reason::BadRequest, std::move(sentence)}; }

std::optional<std::int64_t> integer(std::string_view text) {
  std::int64_t value = 0;
  auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failed != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

enum class Token { End, Identifier, Comma, Open, Close, Not, Equals, DoubleEquals, NotEquals, Greater, Less, In, NotIn };

struct Lexeme {
  Token token = Token::End;
  std::string_view text;
};

bool isSpace(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
bool isSymbol(char c) { return std::string_view("=!(),><").find(c) != std::string_view::npos; }

Lexeme symbolAt(std::string_view text) {
  if (text.starts_with("==")) return {Token::DoubleEquals, text.substr(0, 2)};
  if (text.starts_with("!=")) return {Token::NotEquals, text.substr(0, 2)};
  switch (text.front()) {
    case '=':
      return {Token::Equals, text.substr(0, 1)};
    case '!':
      return {Token::Not, text.substr(0, 1)};
    case '(':
      return {Token::Open, text.substr(0, 1)};
    case ')':
      return {Token::Close, text.substr(0, 1)};
    case ',':
      return {Token::Comma, text.substr(0, 1)};
    case '>':
      return {Token::Greater, text.substr(0, 1)};
    default:
      return {Token::Less, text.substr(0, 1)};
  }
}

std::vector<Lexeme> lexemes(std::string_view text) {
  std::vector<Lexeme> found;
  while (!text.empty()) {
    if (isSpace(text.front())) {
      text.remove_prefix(1);
      continue;
    }
    Lexeme next;
    if (isSymbol(text.front())) {
      next = symbolAt(text);
    } else {
      std::size_t length = 0;
      while (length < text.size() && !isSpace(text[length]) && !isSymbol(text[length])) ++length;
      next = {Token::Identifier, text.substr(0, length)};
      if (next.text == "in") next.token = Token::In;
      if (next.text == "notin") next.token = Token::NotIn;
    }
    text.remove_prefix(next.text.size());
    found.push_back(next);
  }
  found.push_back({});
  return found;
}

std::string found(const Lexeme& lexeme, std::string_view expected) {
  return "found '" + std::string(lexeme.text) + "', expected: " + std::string(expected);
}

std::string keyProblem(std::string_view key) {
  const std::string_view problem = qualifiedNameProblem(key);
  // "<nil>" is Kubernetes' own name for the path of a key that stands in no object.
  return problem.empty() ? "" : "<nil>: Invalid value: " + podpass::quoted(key) + ": " + std::string(problem);
}

struct Parsed {
  std::string key;
  Token op = Token::End;  // End: exists; Not: does not exist
  std::set<std::string> values;
};

// The grammar of k8s.io/apimachinery/pkg/labels, with its sentences. A parse function returns the problem, "" when good.
class Parser {
 public:
  explicit Parser(std::string_view text) : lexemes_(lexemes(text)) {}

  std::string parse(std::vector<Parsed>& requirements) {
    while (peek().token != Token::End) {
      if (peek().token != Token::Identifier && peek().token != Token::Not) return found(peek(), "!, identifier, or 'end of string'");
      Parsed requirement;
      if (std::string problem = parseRequirement(requirement); !problem.empty()) return "unable to parse requirement: " + problem;
      requirements.push_back(std::move(requirement));
      const Lexeme after = take();
      if (after.token == Token::End) break;
      if (after.token != Token::Comma) return found(after, "',' or 'end of string'");
      if (peek().token != Token::Identifier && peek().token != Token::Not) return found(peek(), "identifier after ','");
    }
    return {};
  }

 private:
  // "in" and "notin" are words like any other, save where an operator is due.
  Lexeme peek() const {
    Lexeme lexeme = lexemes_[position_];
    if (lexeme.token == Token::In || lexeme.token == Token::NotIn) lexeme.token = Token::Identifier;
    return lexeme;
  }
  Lexeme takeOperator() {
    const Lexeme lexeme = lexemes_[position_];
    if (lexeme.token != Token::End) ++position_;
    return lexeme;
  }
  Lexeme take() {
    const Lexeme lexeme = peek();
    if (lexeme.token != Token::End) ++position_;
    return lexeme;
  }

  std::string parseRequirement(Parsed& requirement) {
    Lexeme key = take();
    const bool absent = key.token == Token::Not;
    if (absent) key = take();
    if (key.token != Token::Identifier) return found(key, "identifier");
    if (std::string problem = keyProblem(key.text); !problem.empty()) return problem;
    requirement.key = key.text;
    if (absent) requirement.op = Token::Not;
    if (absent || peek().token == Token::End || peek().token == Token::Comma) return {};
    const Lexeme op = takeOperator();
    requirement.op = op.token;
    switch (op.token) {
      case Token::In:
      case Token::NotIn:
        return parseValues(requirement);
      case Token::Equals:
      case Token::DoubleEquals:
      case Token::NotEquals:
      case Token::Greater:
      case Token::Less:
        return parseExactValue(requirement);
      default:
        return found(op, "'=', '!=', '==', 'in', notin'");  // the missing quote is Kubernetes'
    }
  }

  std::string parseExactValue(Parsed& requirement) {
    if (peek().token == Token::End || peek().token == Token::Comma) {
      requirement.values.insert("");
      return {};
    }
    const Lexeme value = take();
    if (value.token != Token::Identifier) return found(value, "identifier");
    requirement.values.insert(std::string(value.text));
    return {};
  }

  std::string parseValues(Parsed& requirement) {
    const Lexeme open = take();
    if (open.token != Token::Open) return "found '" + std::string(open.text) + "' expected: '('";
    std::string value;  // what stands since the last comma: nothing counts as the empty value
    bool filled = false;
    for (;;) {
      const Lexeme lexeme = take();
      if (lexeme.token == Token::Identifier && !filled) {
        value = lexeme.text;
        filled = true;
        continue;
      }
      if (lexeme.token != Token::Comma && lexeme.token != Token::Close)
        return found(lexeme, filled ? "',' or ')'" : "',', ')' or identifier");
      requirement.values.insert(std::exchange(value, ""));
      filled = false;
      if (lexeme.token == Token::Close) return {};
    }
  }

  std::vector<Lexeme> lexemes_;
  std::size_t position_ = 0;
};

std::string valuesProblem(const Parsed& requirement) {
  const bool compares = requirement.op == Token::Greater || requirement.op == Token::Less;
  std::size_t index = 0;
  for (const std::string& value : requirement.values) {
    const std::string path = "values[" + std::to_string(index++) + "]";
    if (compares) {
      if (!integer(value))
        return path + ": Invalid value: " + podpass::quoted(value) + ": for 'Gt', 'Lt' operators, the value must be an integer";
      continue;
    }
    if (const std::string_view problem = labelValueProblem(value); !problem.empty())
      return path + "[" + requirement.key + "]: Invalid value: " + podpass::quoted(value) + ": " + std::string(problem);
  }
  return {};
}

const json::value* fieldValue(const json::object& object, std::string_view path) {
  if (path == "name") path = "metadata.name";
  const json::object* at = &object;
  for (;;) {
    const std::size_t dot = path.find('.');
    const json::value* value = at->if_contains(path.substr(0, dot));
    if (dot == std::string_view::npos || value == nullptr) return value;
    at = value->if_object();
    if (at == nullptr) return nullptr;
    path.remove_prefix(dot + 1);
  }
}

// The value of a selectable field as text. Lists of addresses are joined; `source` of an Event stands for its component.
std::string fieldText(const json::value* value, std::string_view missing) {
  if (value == nullptr || value->is_null()) return std::string(missing);
  if (const json::string* text = value->if_string()) return std::string(*text);
  if (const json::object* part = value->if_object()) return std::string(textAt(*part, {"component"}));
  if (const json::array* list = value->if_array()) {
    std::string joined;
    for (const json::value& item : *list) {
      if (!item.is_object()) continue;
      if (!joined.empty()) joined += ',';
      joined += textAt(item.get_object(), {"ip"});
    }
    return joined;
  }
  return json::serialize(*value);
}

// A list of texts is what each of them is: `spec.audiences=vault` finds a token that is for others, too.
bool isOneOf(const json::value* value, const std::string& wanted) {
  const json::array* list = value != nullptr ? value->if_array() : nullptr;
  return list != nullptr && std::any_of(list->begin(), list->end(), [&](const json::value& each) { return each == json::string(wanted); });
}

bool isBoolean(const Kind& kind, std::string_view path) {
  const std::vector<Field>* fields = &kind.fields;
  for (;;) {
    const std::size_t dot = path.find('.');
    const Field* field = findField(*fields, path.substr(0, dot));
    if (field == nullptr) return false;
    if (dot == std::string_view::npos) return field->type == Type::Boolean;
    fields = &field->of;
    path.remove_prefix(dot + 1);
  }
}

bool isSelectable(const Kind& kind, std::string_view field) {
  if (field == "metadata.name" || field == "metadata.namespace") return true;
  return std::find(kind.selectableFields.begin(), kind.selectableFields.end(), field) != kind.selectableFields.end();
}

std::string unknownField(const Kind& kind, std::string_view field) {
  if (kind.unknownSelector.empty() && kind.selectableFields.empty())
    return podpass::quoted(field) + R"( is not a known field selector: only "metadata.name", "metadata.namespace")";
  std::string_view prefix = kind.unknownSelector.empty() ? "field label not supported: " : kind.unknownSelector;
  if (prefix.ends_with("%s")) prefix.remove_suffix(2);
  return std::string(prefix) + std::string(field);
}

// Terms end at a comma that no backslash hides.
std::vector<std::string_view> splitTerms(std::string_view text) {
  std::vector<std::string_view> terms;
  std::size_t start = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '\\') {
      ++at;
    } else if (text[at] == ',') {
      terms.push_back(text.substr(start, at - start));
      start = at + 1;
    }
  }
  terms.push_back(text.substr(start));
  return terms;
}

Result<std::string> unescaped(std::string_view text) {
  std::string plain;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '\\') {
      const std::string_view sequence = text.substr(at, 2);
      if (sequence != "\\\\" && sequence != "\\," && sequence != "\\=")
        return badRequest("invalid field selector: invalid escape sequence: " + std::string(sequence));
      plain += sequence[1];
      ++at;
      continue;
    }
    if (text[at] == '=') return badRequest("invalid field selector: unescaped character in value: =");
    plain += text[at];
  }
  return plain;
}

}  // namespace

Result<LabelSelector> LabelSelector::parse(std::string_view text) {
  std::vector<Parsed> parsed;
  if (std::string problem = Parser(text).parse(parsed); !problem.empty()) return badRequest(std::move(problem));
  LabelSelector selector;
  for (Parsed& part : parsed) {
    if (std::string problem = valuesProblem(part); !problem.empty()) return badRequest("unable to parse requirement: " + problem);
    Requirement requirement{std::move(part.key), Operator::In, {part.values.begin(), part.values.end()}};
    switch (part.op) {
      case Token::End:
        requirement.op = Operator::Exists;
        break;
      case Token::Not:
        requirement.op = Operator::Absent;
        break;
      case Token::NotEquals:
      case Token::NotIn:
        requirement.op = Operator::NotIn;
        break;
      case Token::Greater:
        requirement.op = Operator::Greater;
        break;
      case Token::Less:
        requirement.op = Operator::Less;
        break;
      default:
        break;
    }
    selector.requirements_.push_back(std::move(requirement));
  }
  return selector;
}

Result<LabelSelector> LabelSelector::fromObject(const json::object* object) {
  LabelSelector selector;
  if (object == nullptr) {
    selector.nothing_ = true;
    return selector;
  }
  if (const json::object* labels = objectAt(*object, {"matchLabels"})) {
    for (const auto& [key, value] : *labels) {
      if (!value.is_string()) return badRequest("matchLabels[" + std::string(key) + "]: Invalid value: must be a string");
      Parsed check{std::string(key), Token::Equals, {std::string(value.get_string())}};
      std::string problem = keyProblem(check.key);
      if (problem.empty()) problem = valuesProblem(check);
      if (!problem.empty()) return badRequest(std::move(problem));
      selector.requirements_.push_back({check.key, Operator::In, {*check.values.begin()}});
    }
  }
  const json::array* expressions = arrayAt(*object, {"matchExpressions"});
  if (expressions == nullptr) return selector;
  for (const json::value& expression : *expressions) {
    if (!expression.is_object()) return badRequest("matchExpressions: Invalid value: must be objects");
    const json::object& part = expression.get_object();
    const std::string_view op = textAt(part, {"operator"});
    Parsed check{std::string(textAt(part, {"key"})), Token::In, {}};
    if (const json::array* values = arrayAt(part, {"values"}))
      for (const json::value& value : *values)
        if (value.is_string()) check.values.insert(std::string(value.get_string()));
    if (std::string problem = keyProblem(check.key); !problem.empty()) return badRequest(std::move(problem));
    if (std::string problem = valuesProblem(check); !problem.empty()) return badRequest(std::move(problem));
    Requirement requirement{check.key, Operator::In, {check.values.begin(), check.values.end()}};
    if (op == "In" || op == "NotIn") {
      if (op == "NotIn") requirement.op = Operator::NotIn;
      if (requirement.values.empty())
        return badRequest("values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty");
    } else if (op == "Exists" || op == "DoesNotExist") {
      requirement.op = op == "Exists" ? Operator::Exists : Operator::Absent;
      if (!requirement.values.empty()) return badRequest("values: Invalid value: values set must be empty for exists and does not exist");
    } else {
      return badRequest(podpass::quoted(op) + " is not a valid label selector operator");
    }
    selector.requirements_.push_back(std::move(requirement));
  }
  return selector;
}

bool LabelSelector::matches(const json::object& object) const { return matchesLabels(objectAt(object, {"metadata", "labels"})); }

bool LabelSelector::matchesLabels(const json::object* labels) const {
  if (nothing_) return false;
  for (const Requirement& requirement : requirements_) {
    const json::value* label = labels == nullptr ? nullptr : labels->if_contains(requirement.key);
    const bool present = label != nullptr && label->is_string();
    const std::string_view text = present ? std::string_view(label->get_string()) : std::string_view();
    const bool listed = present && std::find(requirement.values.begin(), requirement.values.end(), text) != requirement.values.end();
    bool good = false;
    switch (requirement.op) {
      case Operator::Exists:
        good = present;
        break;
      case Operator::Absent:
        good = !present;
        break;
      case Operator::In:
        good = listed;
        break;
      case Operator::NotIn:
        good = !listed;
        break;
      case Operator::Greater:
      case Operator::Less: {
        const std::optional<std::int64_t> have = present ? integer(text) : std::nullopt;
        const std::optional<std::int64_t> bound = integer(requirement.values.front());
        good = have && bound && (requirement.op == Operator::Greater ? *have > *bound : *have < *bound);
        break;
      }
    }
    if (!good) return false;
  }
  return true;
}

Result<FieldSelector> FieldSelector::parse(const Kind& kind, std::string_view text) {
  FieldSelector selector;
  for (const std::string_view term : splitTerms(text)) {
    if (term.empty()) continue;
    const std::size_t sign = term.find('=');
    if (sign == std::string_view::npos)
      return badRequest("invalid selector: '" + std::string(text) + "'; can't understand '" + std::string(term) + "'");
    Term parsed;
    parsed.equal = sign == 0 || term[sign - 1] != '!';
    parsed.field = term.substr(0, parsed.equal ? sign : sign - 1);
    std::string_view value = term.substr(sign + 1);
    if (parsed.equal && value.starts_with('=')) value.remove_prefix(1);
    Result<std::string> plain = unescaped(value);
    if (!plain) return plain.error();
    if (!isSelectable(kind, parsed.field)) return badRequest(unknownField(kind, parsed.field));
    parsed.value = *std::move(plain);
    if (isBoolean(kind, parsed.field)) parsed.missing = "false";
    selector.terms_.push_back(std::move(parsed));
  }
  return selector;
}

std::string escapedFieldValue(std::string_view value) {
  std::string text;
  for (const char c : value) {
    if (c == '\\' || c == ',' || c == '=') text += '\\';
    text += c;
  }
  return text;
}

bool FieldSelector::matches(const json::object& object) const {
  return std::all_of(terms_.begin(), terms_.end(), [&](const Term& term) {
    const json::value* value = fieldValue(object, term.field);
    return (fieldText(value, term.missing) == term.value || isOneOf(value, term.value)) == term.equal;
  });
}

std::string FieldSelector::name() const {
  std::string name;
  for (const Term& term : terms_) {
    if (term.field != "metadata.name" && term.field != "name") continue;
    if (!term.equal || !name.empty()) return {};  // two demands name no one object
    name = term.value;
  }
  return name;
}

std::string FieldSelector::valueOf(std::string_view field) const {
  for (const Term& term : terms_)
    if (term.equal && term.field == field) return term.value;
  return {};
}

}  // namespace podpass::api
