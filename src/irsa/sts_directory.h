#pragma once

#include <memory>
#include <shared_mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "api/client.h"
#include "irsa/iam_objects.h"
#include "token/relying_party.h"

// The Roles and OIDCProviders that STS knows, kept current by a watch.
namespace podpass::irsa {

// Thread-safe. The client and the relying party outlive it.
class StsDirectory {
 public:
  // `skew`: how far the issuers' clocks may be off.
  StsDirectory(api::Client& client, token::RelyingParty& relyingParty, std::string account, std::chrono::seconds skew = {})
      : client_(client), relyingParty_(relyingParty), account_(std::move(account)), skew_(skew) {}
  // Lists, and watches from then on. The relying party trusts the providers' issuers.
  Result<void> start();
  void stop();

  [[nodiscard]] std::shared_ptr<const Role> role(const std::string& arn) const;  // null: none
  [[nodiscard]] std::shared_ptr<const Provider> provider(const std::string& url) const;
  [[nodiscard]] const std::string& account() const { return account_; }

 private:
  Result<void> follow(std::string_view plural, std::unique_ptr<api::Watching>& watching);
  void changed(const api::Kind& kind, const DocumentPtr& object, bool gone);
  void setRole(const DocumentPtr& object, bool gone);
  void setProvider(const DocumentPtr& object, bool gone);
  void trustProviders();

  api::Client& client_;
  token::RelyingParty& relyingParty_;
  std::string account_;
  std::chrono::seconds skew_;
  mutable std::shared_mutex mutex_;
  std::unordered_map<std::string, std::shared_ptr<const Role>> roles_;  // by ARN
  std::unordered_map<std::string, std::string> arnOf_;                  // of roles, by name: the path may change
  std::unordered_map<std::string, DocumentPtr> providers_;              // by object name
  std::unordered_map<std::string, std::shared_ptr<const Provider>> byUrl_;
  std::unique_ptr<api::Watching> watchingRoles_, watchingProviders_;
};

}  // namespace podpass::irsa
