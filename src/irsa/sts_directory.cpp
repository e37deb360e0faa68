#include "irsa/sts_directory.h"

#include <algorithm>
#include <mutex>

#include "api/iam_names.h"
#include "base/log.h"
#include "base/text.h"
#include "token/issuer_documents.h"

namespace podpass::irsa {

Result<void> StsDirectory::start() {
  if (Result<void> followed = follow("oidcproviders", watchingProviders_); !followed) return followed;
  trustProviders();
  return follow("roles", watchingRoles_);
}

void StsDirectory::stop() {
  watchingRoles_.reset();
  watchingProviders_.reset();
}

Result<void> StsDirectory::follow(std::string_view plural, std::unique_ptr<api::Watching>& watching) {
  const api::Kind& kind = *api::findKind("iam.podpass.dev", "v1", plural);
  Result<api::Listing> listing = client_.list(kind, "", {});
  if (!listing) return listing.error();
  for (const DocumentPtr& object : listing->items) changed(kind, object, false);
  auto onEvent = [this, &kind](const api::WatchEvent& event) {
    changed(kind, event.object, event.type == api::WatchEvent::Type::Deleted);
    if (kind.plural == "oidcproviders") trustProviders();
  };
  Result<std::unique_ptr<api::Watching>> watched = client_.watch(kind, "", {}, listing->revision, std::move(onEvent));
  if (!watched) return watched.error();
  watching = *std::move(watched);
  return {};
}

void StsDirectory::changed(const api::Kind& kind, const DocumentPtr& object, bool gone) {
  if (kind.plural == "roles")
    setRole(object, gone);
  else
    setProvider(object, gone);
}

void StsDirectory::setRole(const DocumentPtr& object, bool gone) {
  auto role = std::make_shared<Role>(roleOf(object, account_));
  const std::unique_lock lock(mutex_);
  if (const auto before = arnOf_.find(role->name); before != arnOf_.end()) {
    roles_.erase(before->second);
    arnOf_.erase(before);
  }
  if (gone) return;
  arnOf_[role->name] = role->arn;
  roles_[role->arn] = std::move(role);
}

void StsDirectory::setProvider(const DocumentPtr& object, bool gone) {
  const std::string name(textAt(object->value, {"metadata", "name"}));
  const std::unique_lock lock(mutex_);
  if (gone)
    providers_.erase(name);
  else
    providers_[name] = object;
}

// Of two providers with one URL the older counts; the other's status says so.
void StsDirectory::trustProviders() {
  const std::unique_lock lock(mutex_);
  std::vector<DocumentPtr> ordered;
  for (const auto& [name, object] : providers_) ordered.push_back(object);
  std::sort(ordered.begin(), ordered.end(),
            [](const DocumentPtr& a, const DocumentPtr& b) { return api::providerAge(a->value) < api::providerAge(b->value); });
  byUrl_.clear();
  std::vector<token::TrustedIssuer> issuers;
  for (const DocumentPtr& object : ordered) {
    const std::string name(textAt(object->value, {"metadata", "name"}));
    token::TrustedIssuer issuer = issuerOf(object->value);
    issuer.skew = skew_;
    if (byUrl_.contains(issuer.url)) {
      log::warn("provider ignored: another has its url", {{"name", name}, {"url", issuer.url}});
      continue;
    }
    if (const Result<void> usable = token::checkIssuerUrl(issuer.url, true); !usable) {
      log::warn("provider ignored", {{"name", name}, {"err", log::chain(usable.error())}});
      continue;
    }
    byUrl_[issuer.url] = std::make_shared<const Provider>(providerOf(object->value, account_));
    issuers.push_back(std::move(issuer));
  }
  if (const Result<void> trusted = relyingParty_.trust(std::move(issuers)); !trusted)
    log::error("providers not taken over", {{"err", log::chain(trusted.error())}});
}

std::shared_ptr<const Role> StsDirectory::role(const std::string& arn) const {
  const std::shared_lock lock(mutex_);
  const auto found = roles_.find(arn);
  return found == roles_.end() ? nullptr : found->second;
}

std::shared_ptr<const Provider> StsDirectory::provider(const std::string& url) const {
  const std::shared_lock lock(mutex_);
  const auto found = byUrl_.find(url);
  return found == byUrl_.end() ? nullptr : found->second;
}

}  // namespace podpass::irsa
