#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/secret.h"
#include "irsa/session_tags.h"

// Session credentials that nobody has to remember: the session token holds, encrypted, who the session is; the secret key follows from the
// access key. Several STS processes share only the key. Spec irsa.md §2.3 for the forms.
namespace podpass::irsa {

// Who a set of credentials is.
struct Session {
  std::string account;
  std::string arn;       // arn:aws:sts::ACCOUNT:assumed-role/NAME/SESSION; a user's: arn:aws:iam::ACCOUNT:user/NAME
  std::string userId;    // AROA…:SESSION
  std::string roleName;  // empty: a user's
  std::string roleArn;
  std::int64_t issuedAt = 0, expires = 0;  // seconds since the epoch; expires 0: long-term keys, which have no token
  std::string sourceIdentity = {};
  SessionTags tags = {};
  std::vector<std::string> transitiveTags = {};
  bool chained = false;  // assumed with another role's credentials
};

struct Credentials {
  std::string accessKeyId;  // ASIA + 16; long-term: AKIA + 16
  Secret secretAccessKey;   // 40 characters
  Secret sessionToken;      // base64
};

// Immutable, thread-safe.
class CredentialKeys {
 public:
  explicit CredentialKeys(std::vector<Secret> masters) : masters_(std::move(masters)) {}
  // Reads `file` (base64, one key a line, 0600; the first mints, all verify), or makes it with one key.
  static Result<std::shared_ptr<const CredentialKeys>> openOrMake(const std::filesystem::path& file);

  [[nodiscard]] Credentials mint(const Session& session) const;
  // The account's administrator: the one long-term key, the same as long as the first master is.
  [[nodiscard]] Credentials administrator(const std::string& account) const;

  struct Known {
    Session session;
    Secret secretAccessKey;
  };
  // Who the access key is. Unauthorized: it was not made with one of these keys, or the token is another's. Times are the caller's to
  // check.
  [[nodiscard]] Result<Known> find(const std::string& account, const std::string& accessKeyId, const Secret& sessionToken) const;

 private:
  std::vector<Secret> masters_;
};

}  // namespace podpass::irsa
