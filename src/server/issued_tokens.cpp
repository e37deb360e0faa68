#include "server/issued_tokens.h"

#include "api/kinds.h"
#include "base/text.h"

namespace podpass::server {
namespace {

constexpr std::size_t kMostInPage = 2000;

std::string timeOf(std::int64_t seconds) { return rfc3339(WallTime(std::chrono::seconds(seconds))); }

json::object specOf(const token::IssuedToken& token) {
  json::object spec{{"subject", "system:serviceaccount:" + std::string(token.ns) + ":" + std::string(token.account.name)},
                    {"serviceAccountName", token.account.name},
                    {"serviceAccountUID", token.account.uid()},
                    {"audiences", json::array(token.audiences.begin(), token.audiences.end())}};
  if (!token.boundKind.empty())
    spec["boundObjectRef"] =
        json::object{{"kind", token.boundKind}, {"apiVersion", "v1"}, {"name", token.bound.name}, {"uid", token.bound.uid()}};
  if (!token.node.name.empty()) spec["nodeName"] = token.node.name;
  spec["requestedBy"] = token.requester;
  spec["issuer"] = token.issuer;
  spec["keyID"] = token.kid;
  spec["expirationTimestamp"] = timeOf(token.expires);
  return spec;
}

DocumentPtr documentOf(const token::IssuedToken& token) {
  auto document = std::make_shared<Document>();
  const std::string jti = token::textOf(token.jti);
  json::object metadata{{"name", jti}, {"namespace", token.ns}, {"uid", jti}, {"creationTimestamp", timeOf(token.issuedAt)}};
  json::object status;
  if (token.lastUsed != 0) status["lastUsedTime"] = timeOf(token.lastUsed);
  document->value = {{"kind", "IssuedToken"}, {"apiVersion", "identity.podpass.dev/v1"}};
  document->value["metadata"] = std::move(metadata);
  document->value["spec"] = specOf(token);
  document->value["status"] = std::move(status);
  document->text = json::serialize(document->value);
  return document;
}

// What selectors ask for most often, answered before an object is made.
bool mayMatch(const token::IssuedToken& token, const api::FieldSelector& fields) {
  const std::pair<std::string_view, std::string_view> asked[] = {{"spec.serviceAccountName", token.account.name},
                                                                 {"spec.issuer", token.issuer},
                                                                 {"spec.keyID", token.kid},
                                                                 {"spec.nodeName", token.node.name},
                                                                 {"spec.boundObjectRef.name", token.bound.name}};
  return std::all_of(std::begin(asked), std::end(asked), [&](const auto& each) {
    const std::string wanted = fields.valueOf(each.first);
    return wanted.empty() || wanted == each.second;
  });
}

Error badContinue(std::string why) { return Error{Reason::BadRequest, "invalid continue token: " + std::move(why)}; }

class IssuedTokens {
 public:
  IssuedTokens(Registry& registry, LiveTokens& tokens) : registry_(registry), tokens_(tokens) {}

  Result<ListPage> list(const ListOptions& options) {
    const Result<std::uint64_t> after = position(options.continueToken);
    if (!after) return after.error();
    ListPage page;
    page.revision = registry_.store().revision();
    if (*after == 0) page.warnings = warnings();
    const std::size_t limit = options.limit == 0 ? kMostInPage : std::min(options.limit, kMostInPage);
    const bool selects = !options.labels.everything() || !options.fields.everything();
    std::uint64_t last = *after;
    tokens_.visit(*after, [&](std::uint64_t number, const token::IssuedToken& token) {
      if (!options.ns.empty() && token.ns != options.ns) return true;
      if (selects && !mayMatch(token, options.fields)) return true;
      DocumentPtr document = documentOf(token);
      if (selects && !(options.labels.matches(document->value) && options.fields.matches(document->value))) return true;
      if (page.items.size() == limit) {
        page.continueToken = base64UrlEncode(json::serialize(json::object{{"run", tokens_.run()}, {"after", last}}));
        return false;
      }
      page.items.push_back(std::move(document));
      last = number;
      return true;
    });
    return page;
  }

  DocumentPtr get(const std::string& ns, const std::string& name) {
    DocumentPtr document;
    tokens_.find(name, [&](const token::IssuedToken& token) {
      if (token.ns == ns) document = documentOf(token);
    });
    return document;
  }

  asio::awaitable<Result<void>> revoke(Context& context, std::string jti) {
    json::object object{{"apiVersion", "identity.podpass.dev/v1"}, {"kind", "TokenRevocation"}};
    object["metadata"] = json::object{{"name", "issuedtoken-" + jti}};
    object["spec"] = json::object{{"jti", jti}, {"reason", "the IssuedToken was deleted by " + context.user.name}};
    const Result<DocumentPtr> made = co_await registry_.create(context, api::tokenRevocationKind(), "", std::move(object));
    if (!made && made.error().reason != Reason::AlreadyExists) co_return made.error();
    co_return Result<void>();
  }

 private:
  // The number after which a continue token goes on. Those of an earlier run mean nothing: the client lists again.
  [[nodiscard]] Result<std::uint64_t> position(const std::string& continueToken) const {
    if (continueToken.empty()) return std::uint64_t{0};
    const Result<std::string> text = base64UrlDecode(continueToken);
    if (!text) return badContinue(text.error().sentence);
    boost::system::error_code failed;
    const json::value parsed = json::parse(*text, failed);
    if (failed || !parsed.is_object() || integerAt(parsed.get_object(), {"after"}) <= 0)
      return badContinue("it was not made by this server");
    if (static_cast<std::uint64_t>(integerAt(parsed.get_object(), {"run"})) != tokens_.run())
      return Error{Reason::Expired,
                   "The provided continue parameter is of a server that has been restarted. You must start a new list without the continue "
                   "parameter."};
    return static_cast<std::uint64_t>(integerAt(parsed.get_object(), {"after"}));
  }

  [[nodiscard]] std::vector<std::string> warnings() const {
    const token::Inventory::Gaps gaps = tokens_.gaps();
    std::vector<std::string> all;
    if (gaps.until > tokens_.clock().now())
      all.push_back("not every live token is listed: this server has issued others, which live " +
                    (gaps.until == WallTime::max() ? "nobody knows how long" : "until " + rfc3339(gaps.until) + " at most"));
    if (gaps.killedAfter)
      all.push_back("the server was killed soon after " + rfc3339(*gaps.killedAfter) + ": tokens of its last second may not be listed");
    return all;
  }

  Registry& registry_;
  LiveTokens& tokens_;
};

}  // namespace

Computed issuedTokens(Registry& registry, LiveTokens& live) {
  const auto tokens = std::make_shared<IssuedTokens>(registry, live);
  return {.list = [tokens](const ListOptions& options) { return tokens->list(options); },
          .get = [tokens](const std::string& ns, const std::string& name) { return tokens->get(ns, name); },
          .remove = [tokens](Context& context, std::string name) { return tokens->revoke(context, std::move(name)); }};
}

}  // namespace podpass::server
