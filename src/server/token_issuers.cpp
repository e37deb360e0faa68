#include "server/token_issuers.h"

#include "api/kinds.h"
#include "base/text.h"

namespace podpass::server {
namespace {

constexpr std::string_view kLegacyIssuer = "kubernetes/serviceaccount";
constexpr std::string_view kLegacyLastUsed = "kubernetes.io/legacy-token-last-used";  // a date

std::string timeOf(std::int64_t seconds) { return rfc3339(WallTime(std::chrono::seconds(seconds))); }

class TokenIssuers {
 public:
  TokenIssuers(const Registry& registry, LiveTokens& tokens, std::vector<std::string> issuers)
      : registry_(registry), tokens_(tokens), issuers_(std::move(issuers)) {}

  Result<ListPage> list(const ListOptions& options) {
    ListPage page;
    page.revision = store().revision();
    for (DocumentPtr& document : all())
      if (options.labels.matches(document->value) && options.fields.matches(document->value)) page.items.push_back(std::move(document));
    return page;
  }
  DocumentPtr get(const std::string& name) {
    for (DocumentPtr& document : all())
      if (textAt(document->value, {"metadata", "name"}) == name) return document;
    return nullptr;
  }

 private:
  [[nodiscard]] const Store& store() const { return registry_.store(); }

  std::vector<DocumentPtr> all() {
    const std::vector<LiveTokens::Tally> tallies = tokens_.tally();
    std::vector<DocumentPtr> documents;
    for (const std::string& issuer : issuers_)
      documents.push_back(documentOf(issuer, statusOf(issuer, documents.empty() ? "Signing" : "Accepted", tallies)));
    documents.push_back(documentOf(kLegacyIssuer, legacyStatus()));
    return documents;
  }

  json::object statusOf(const std::string& issuer, std::string_view state, const std::vector<LiveTokens::Tally>& tallies) const {
    LiveTokens::Tally sum;
    for (const LiveTokens::Tally& each : tallies) {
      if (each.issuer != issuer) continue;
      sum.tokens += each.tokens;
      sum.lastExpires = std::max(sum.lastExpires, each.lastExpires);
      sum.lastUsed = std::max(sum.lastUsed, each.lastUsed);
    }
    const token::Inventory::Gaps gaps = tokens_.gaps();
    json::object status{{"state", state}, {"liveTokens", sum.tokens}};
    if (sum.lastExpires != 0) status["lastExpirationTime"] = timeOf(sum.lastExpires);
    if (sum.lastUsed != 0) status["lastUsedTime"] = timeOf(sum.lastUsed);
    status["complete"] = gaps.until <= tokens_.clock().now();
    if (gaps.until > tokens_.clock().now() && gaps.until != WallTime::max()) status["unlistedUntilTime"] = rfc3339(gaps.until);
    if (gaps.killedAfter) status["killedAfterTime"] = rfc3339(*gaps.killedAfter);
    return status;
  }

  // Their tokens say no issuer of ours, whatever it is, so a change of its URL does not touch them.
  json::object legacyStatus() const {
    std::size_t count = 0;
    std::string last;
    for (const DocumentPtr& secret : registry_.list(api::secretKind(), "")) {
      if (textAt(secret->value, {"type"}) != "kubernetes.io/service-account-token" || textAt(secret->value, {"data", "token"}).empty())
        continue;
      ++count;
      last = std::max(last, std::string(textAt(secret->value, {"metadata", "labels", kLegacyLastUsed})));
    }
    json::object status{{"state", "Legacy"}, {"liveTokens", count}};
    if (parseRfc3339(last + "T00:00:00Z")) status["lastUsedTime"] = last + "T00:00:00Z";
    status["complete"] = true;
    return status;
  }

  static DocumentPtr documentOf(std::string_view issuer, json::object status) {
    const std::string digest = hexLower(sha256(issuer));
    const std::string name = issuer == kLegacyIssuer ? "legacy" : "issuer-" + digest.substr(0, 10);
    auto document = std::make_shared<Document>();
    json::object& value = document->value;
    value = {{"kind", "TokenIssuer"}, {"apiVersion", "identity.podpass.dev/v1"}};
    value["metadata"] = json::object{{"name", name}, {"uid", digest.substr(0, 32)}};
    value["spec"] = json::object{{"url", issuer}};
    value["status"] = std::move(status);
    document->text = json::serialize(value);
    return document;
  }

  const Registry& registry_;
  LiveTokens& tokens_;
  const std::vector<std::string> issuers_;
};

}  // namespace

Computed tokenIssuers(const Registry& registry, LiveTokens& live, std::vector<std::string> issuers) {
  const auto all = std::make_shared<TokenIssuers>(registry, live, std::move(issuers));
  return {.list = [all](const ListOptions& options) { return all->list(options); },
          .get = [all](const std::string&, const std::string& name) { return all->get(name); }};
}

Registry::Supplement livesOfKeys(LiveTokens& live) {
  return [&live](std::vector<json::object*> keys) {
    const std::vector<LiveTokens::Tally> tallies = live.tally();
    for (json::object* key : keys) {
      std::size_t tokens = 0;
      for (const LiveTokens::Tally& each : tallies)
        if (each.kid == textAt(*key, {"status", "kid"})) tokens += each.tokens;
      makeObjectAt(*key, {"status"})["liveTokens"] = tokens;
    }
  };
}

}  // namespace podpass::server
