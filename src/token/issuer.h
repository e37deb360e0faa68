#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/secret.h"
#include "base/snapshot.h"
#include "token/key_ring.h"

namespace podpass::token {

struct ObjectRef {
  std::string name;
  std::string uid;
  [[nodiscard]] bool empty() const { return name.empty() && uid.empty(); }
};

// What a bound token says (spec tokens.md §1.3); empty refs are left out.
struct BoundClaims {
  std::string ns;
  ObjectRef serviceAccount;
  ObjectRef pod = {}, secret = {}, node = {};
  std::vector<std::string> audiences = {};
  std::int64_t issuedAt = 0;  // seconds since the epoch; also nbf
  std::int64_t expires = 0;
  std::int64_t warnAfter = 0;  // 0: absent
  std::string jti = {};
};

// The flat claims of a token Secret (§1.2).
struct LegacyClaims {
  std::string ns;
  std::string secretName;
  ObjectRef serviceAccount;
};

class Inventory;

// Keeps a key in the ring until a token of it expires (seconds since the epoch); Conflict: the key has left, another signs now.
using KeepKey = std::function<Result<void>(const jose::Key& key, std::int64_t expires)>;

// Makes a token of a payload (JSON) in another way than by the ring: by an external signer. It may take seconds.
using SignPayload = std::function<Result<Secret>(const std::string& payload)>;

// Signs service account tokens with the ring's key for their audience. Thread-safe. CPU-bound (0.3 ms for RSA): call it on the signing
// pool.
class Issuer {
 public:
  // `keep` is asked before each bound token is signed; null: the ring's keys stay. `inventory` is told of each afterwards; null: nobody is.
  Issuer(std::string issuerUrl, const Snapshot<KeyRing>& ring, KeepKey keep = nullptr, Inventory* inventory = nullptr)
      : url_(std::move(issuerUrl)), ring_(&ring), keep_(std::move(keep)), inventory_(inventory) {}
  Issuer(std::string issuerUrl, SignPayload sign, Inventory* inventory = nullptr)
      : url_(std::move(issuerUrl)), sign_(std::move(sign)), inventory_(inventory) {}
  // `requester`: the user who asked for it, for the inventory.
  [[nodiscard]] Result<Secret> issue(const BoundClaims& claims, std::string_view requester = {}) const;
  // iss is kubernetes/serviceaccount. Unavailable: an external signer signs no tokens that never expire.
  [[nodiscard]] Result<Secret> issueLegacy(const LegacyClaims& claims) const;
  [[nodiscard]] const std::string& url() const { return url_; }

 private:
  std::string url_;
  const Snapshot<KeyRing>* ring_ = nullptr;
  KeepKey keep_ = nullptr;
  SignPayload sign_ = nullptr;
  Inventory* inventory_ = nullptr;
};

}  // namespace podpass::token
