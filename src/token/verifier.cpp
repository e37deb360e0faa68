#include "token/verifier.h"

#include <openssl/crypto.h>

#include <mutex>
#include <unordered_map>

#include "base/text.h"
#include "token/moved_token.h"

namespace podpass::token {
namespace {

constexpr std::string_view kLegacyIssuer = "kubernetes/serviceaccount";
constexpr std::string_view kClaimPrefix = "kubernetes.io/serviceaccount/";
constexpr std::size_t kMaxToken = 16u << 10;
constexpr std::int64_t kLeewaySeconds = 60;
constexpr std::int64_t kLatestDate = std::int64_t{1} << 53;  // beyond it a JSON number is not exact
constexpr std::chrono::seconds kProvenLife{10};
constexpr std::size_t kShare = 256;  // tokens in a shard, of some 2 KB each
constexpr std::size_t kShards = 16;

Error refused(std::string sentence) { return Error{Reason::Unauthorized, std::move(sentence)}; }

std::string listed(std::span<const std::string> texts) {
  std::string out = "[";
  for (const std::string& each : texts) out += (out.size() > 1 ? " " : "") + podpass::quoted(each);
  return out + "]";
}

// RFC 7519 §2 NumericDate; absent: nullopt.
Result<std::optional<std::int64_t>> numericDate(const json::object& payload, std::string_view name) {
  const json::value* value = payload.if_contains(name);
  if (value == nullptr) return std::optional<std::int64_t>();
  const auto within = [](auto seconds) {
    return seconds > -static_cast<decltype(seconds)>(kLatestDate) && seconds < static_cast<decltype(seconds)>(kLatestDate);
  };
  if (value->is_int64() && within(value->get_int64())) return std::optional(value->get_int64());
  if (value->is_double() && within(value->get_double())) return std::optional(static_cast<std::int64_t>(value->get_double()));
  return refused("the claim " + std::string(name) + " is not a NumericDate");
}

std::int64_t secondsOf(WallTime time) { return std::chrono::floor<std::chrono::seconds>(time.time_since_epoch()).count(); }

bool isDeleted(const json::object& object, WallTime now) {
  const Result<WallTime> at = parseRfc3339(textAt(object, {"metadata", "deletionTimestamp"}));
  return at && *at < now - std::chrono::seconds(kLeewaySeconds);
}

// What a token of ours says: its form, issuer and signature were checked, its times and bound objects were not.
struct Proven {
  Proven(bool isLegacy, json::object says) : legacy(isLegacy), payload(std::move(says)) {}
  const bool legacy;
  const json::object payload;
  mutable std::atomic<bool> noted = false;  // that it was accepted
};

// Tokens that were proven a moment ago. Only what cannot change: times and bound objects are judged at each call.
class ProvenTokens {
 public:
  using Ring = std::shared_ptr<const KeyRing>;
  std::shared_ptr<const Proven> find(const std::string& digest, const Ring& ring, SteadyTime now) {
    Shard& shard = shardOf(digest);
    std::lock_guard lock(shard.mutex);
    const auto found = shard.good.find(digest);
    return found != shard.good.end() && found->second.isOf(ring) && found->second.until > now ? found->second.token : nullptr;
  }
  void add(const std::string& digest, const Ring& ring, SteadyTime now, std::shared_ptr<const Proven> token) {
    Shard& shard = shardOf(digest);
    std::lock_guard lock(shard.mutex);
    if (shard.good.size() >= kShare) shard.good.clear();
    shard.good[digest] = {ring, now + kProvenLife, std::move(token)};
  }

 private:
  struct Good {
    // A rotation makes every answer stale at once. Not a plain pointer: the next ring may lie where the last one lay.
    std::weak_ptr<const KeyRing> ring;
    SteadyTime until;
    std::shared_ptr<const Proven> token;
    [[nodiscard]] bool isOf(const Ring& other) const { return !ring.owner_before(other) && !other.owner_before(ring); }
  };
  struct Shard {
    std::mutex mutex;
    std::unordered_map<std::string, Good> good;
  };
  Shard& shardOf(const std::string& digest) { return shards_[static_cast<unsigned char>(digest[0]) % kShards]; }
  std::array<Shard, kShards> shards_;
};

}  // namespace

struct Verifier::Parts {
  std::vector<std::string> issuers, apiAudiences;
  const Snapshot<KeyRing>& ring;
  BoundObjects objects;
  const Clock& clock;
  const Revocations* revocations;
  ProvenTokens proven;
  Snapshot<LegacyUse> legacyUse;
  Snapshot<TokenUse> tokenUse;
  FindKey findKey = nullptr;
  mutable TokenUses uses;

  // Counts a refusal; that something could not be found out is none.
  Error failed(TokenCheck check, Error error) const {
    if (error.reason == Reason::Unauthorized) ++uses.refused[static_cast<std::size_t>(check)];
    return error;
  }

  Result<void> signature(const KeyRing& keys, const jose::UnverifiedJws& jws) const {
    bool tried = false;
    for (const auto& key : keys.keys()) {
      if (!jws.kid.empty() && key->kid != jws.kid) continue;
      tried = true;
      if (jose::verifies(*key, jws)) return {};
    }
    if (!tried) return failed(TokenCheck::KeyId, refused("invalid signature, no keys found"));
    return failed(TokenCheck::Signature, refused(jws.kid.empty() ? "invalid signature: no key of this issuer made it"
                                                                 : "invalid signature: it was not made by the key that the token names"));
  }

  // Whether the issuer of this ring made the token, and what it says.
  Result<std::shared_ptr<const Proven>> prove(std::string_view compact, const KeyRing& keys) const {
    const auto bad = [this](TokenCheck check, Error cause) {
      return failed(check, Error{Reason::Unauthorized, "invalid bearer token", "", std::make_shared<Error>(std::move(cause))});
    };
    Result<jose::UnverifiedJws> jws = jose::parseCompactJws(compact);
    if (!jws) return bad(TokenCheck::Form, jws.error());
    // RFC 8725 §3.11: what another protocol signed under this key is no service account token. Kubernetes writes no typ, external signers
    // JWT.
    if (!jws->typ.empty() && jws->typ != "JWT")
      return bad(TokenCheck::Form, refused("the token's typ is " + quoted(jws->typ.substr(0, 64)) + ", expected JWT or none"));
    const std::string_view issuer = textAt(jws->payload, {"iss"});
    const bool legacy = issuer == kLegacyIssuer;
    if (!legacy && std::find(issuers.begin(), issuers.end(), issuer) == issuers.end())
      return bad(TokenCheck::Issuer, refused("token issuer " + quoted(issuer.substr(0, 256)) + " is invalid"));
    const bool unknown = !jws->kid.empty() && keys.find(jws->kid) == nullptr;
    const std::shared_ptr<const KeyRing> anew = unknown && findKey && findKey(jws->kid) ? ring.load() : nullptr;
    if (Result<void> good = signature(anew ? *anew : keys, *jws); !good) return good.error();
    return std::make_shared<const Proven>(legacy, std::move(jws->payload));
  }

  Result<Identity> judge(const Proven& token, std::string_view compact, std::span<const std::string> audiences) {
    if (token.legacy) return legacyToken(token.payload, compact, audiences);
    Result<Identity> identity = boundToken(token.payload, audiences);
    if (identity && !token.noted.load(std::memory_order_relaxed) && !token.noted.exchange(true)) {
      const std::string_view jti = textAt(token.payload, {"jti"});
      if (const std::shared_ptr<const TokenUse> accepted = tokenUse.load(); accepted && !jti.empty()) (*accepted)(jti);
    }
    return identity;
  }

  Result<std::vector<std::string>> audiences(const json::object& payload, std::span<const std::string> asked) const {
    std::vector<std::string> own;
    const json::value* aud = payload.if_contains("aud");
    if (aud != nullptr && aud->is_string()) own.emplace_back(aud->get_string());
    if (const json::array* list = aud != nullptr ? aud->if_array() : nullptr)
      for (const json::value& each : *list) {
        if (!each.is_string()) return refused("the claim aud holds something that is not a string");
        own.emplace_back(each.get_string());
      }
    if (aud != nullptr && !aud->is_string() && !aud->is_array()) return refused("the claim aud is neither a string nor a list");
    if (own.empty()) {
      own = apiAudiences;
      ++uses.withoutAudience;
    }
    if (asked.empty()) asked = apiAudiences;
    std::vector<std::string> shared;
    for (const std::string& each : own)
      if (std::find(asked.begin(), asked.end(), each) != asked.end()) shared.push_back(each);
    if (shared.empty() && !apiAudiences.empty())
      return refused("token audiences " + listed(own) + " is invalid for the target audiences " + listed(asked));
    return shared;
  }

  // Legacy tokens have no times, and need none; but one that carries them means them.
  Result<void> times(const json::object& payload, bool needsExpiry) const {
    const auto nbf = numericDate(payload, "nbf"), exp = numericDate(payload, "exp"), iat = numericDate(payload, "iat");
    if (!nbf) return nbf.error();
    if (!exp) return exp.error();
    if (!iat) return iat.error();
    const std::int64_t now = secondsOf(*iat ? clock.nowFor(std::chrono::seconds(**iat)) : clock.now());
    if (!*exp && needsExpiry) return refused("service account token has no expiry");
    if (*nbf && now + kLeewaySeconds < **nbf) return refused("service account token is not valid yet");
    if (*exp && now - kLeewaySeconds > **exp) return refused("service account token has expired");
    if (*iat && now + kLeewaySeconds < **iat) return refused("service account token is issued in the future");
    return {};
  }

  [[nodiscard]] Result<void> revoked(const Revocable& token) const { return revocations ? revocations->check(token) : Result<void>(); }

  // The live object must be the one that the claim names, and not be gone.
  Result<void> bound(const json::object& claims, std::string_view member, std::string_view resource, const std::string& ns) const {
    const json::object* ref = objectAt(claims, {member});
    if (ref == nullptr && claims.contains(member)) return refused("the " + std::string(member) + " claim is not an object");
    if (ref == nullptr) return {};
    const std::string name(textAt(*ref, {"name"})), uid(textAt(*ref, {"uid"}));
    const Result<DocumentPtr> live = objects(resource, ns, name);
    if (!live && live.error().reason != Reason::NotFound) return live.error();
    if (!live) return refused("service account token has been invalidated");
    const std::string_view liveUid = textAt((*live)->value, {"metadata", "uid"});
    const std::string kind(member);
    if (liveUid != uid)
      return refused(kind + " UID (" + std::string(liveUid) + ") does not match service account " + kind + " ref claim (" + uid + ")");
    if (isDeleted((*live)->value, clock.now())) return refused("service account token has been invalidated");
    return {};
  }

  Result<Identity> identityOf(const std::string& ns, const std::string& name, const std::string& uid, std::vector<std::string> auds) const {
    Identity identity;
    identity.username = "system:serviceaccount:" + ns + ":" + name;
    identity.uid = uid;
    identity.groups = {"system:serviceaccounts", "system:serviceaccounts:" + ns};
    identity.audiences = std::move(auds);
    return identity;
  }

  Result<Identity> boundToken(const json::object& payload, std::span<const std::string> asked) const {
    Result<std::vector<std::string>> auds = audiences(payload, asked);
    if (!auds) return failed(TokenCheck::Audience, auds.error());
    if (Result<void> inTime = times(payload, true); !inTime) return failed(TokenCheck::Time, inTime.error());
    const json::object* claims = objectAt(payload, {"kubernetes.io"});
    if (claims == nullptr) return failed(TokenCheck::Claims, refused("the token has no kubernetes.io claim"));
    const std::string ns(textAt(*claims, {"namespace"})), name(textAt(*claims, {"serviceaccount", "name"})),
        uid(textAt(*claims, {"serviceaccount", "uid"}));
    if (textAt(payload, {"sub"}) != "system:serviceaccount:" + ns + ":" + name)
      return failed(TokenCheck::Claims, refused("sub claim is invalid"));
    const Revocable subject{.jti = textAt(payload, {"jti"}),
                            .ns = ns,
                            .account = name,
                            .pod = textAt(*claims, {"pod", "name"}),
                            .podUid = textAt(*claims, {"pod", "uid"}),
                            .node = textAt(*claims, {"node", "name"}),
                            .issuedAt = integerAt(payload, {"iat"})};
    if (Result<void> good = revoked(subject); !good) return failed(TokenCheck::Revoked, good.error());
    const Result<DocumentPtr> account = objects("serviceaccounts", ns, name);
    if (!account)
      return failed(TokenCheck::BoundObjects, account.error().reason == Reason::NotFound
                                                  ? refused("serviceaccounts " + podpass::quoted(name) + " not found")
                                                  : account.error());
    const std::string_view liveUid = textAt((*account)->value, {"metadata", "uid"});
    if (liveUid != uid)
      return failed(TokenCheck::BoundObjects,
                    refused("service account UID (" + std::string(liveUid) + ") does not match claim (" + uid + ")"));
    if (isDeleted((*account)->value, clock.now()))
      return failed(TokenCheck::BoundObjects, refused("service account " + ns + "/" + name + " has been deleted"));
    if (Result<void> secret = bound(*claims, "secret", "secrets", ns); !secret) return failed(TokenCheck::BoundObjects, secret.error());
    if (Result<void> pod = bound(*claims, "pod", "pods", ns); !pod) return failed(TokenCheck::BoundObjects, pod.error());
    if (!claims->contains("pod"))
      if (Result<void> node = bound(*claims, "node", "nodes", ""); !node) return failed(TokenCheck::BoundObjects, node.error());

    Result<Identity> identity = identityOf(ns, name, uid, *std::move(auds));
    const auto extra = [&](const char* key, std::string_view value) {
      if (!value.empty()) identity->extra[key] = {std::string(value)};
    };
    extra("authentication.kubernetes.io/pod-name", textAt(*claims, {"pod", "name"}));
    extra("authentication.kubernetes.io/pod-uid", textAt(*claims, {"pod", "uid"}));
    extra("authentication.kubernetes.io/node-name", textAt(*claims, {"node", "name"}));
    extra("authentication.kubernetes.io/node-uid", textAt(*claims, {"node", "uid"}));
    if (const std::string_view jti = textAt(payload, {"jti"}); !jti.empty())
      extra("authentication.kubernetes.io/credential-id", "JTI=" + std::string(jti));
    const std::int64_t warnAfter = integerAt(*claims, {"warnafter"});
    const std::int64_t late = secondsOf(clock.now()) - warnAfter;
    identity->stale = warnAfter != 0 && late > 0;
    if (identity->stale) {
      identity->annotations["authentication.k8s.io/stale-token"] =
          "subject: " + identity->username + ", seconds after warning threshold: " + std::to_string(late);
      identity->warnings.push_back("this service account token should have been read again from its file " + std::to_string(late) +
                                   " seconds ago: the program keeps an old one");
    }
    ++(identity->stale ? uses.stale : uses.valid);
    noteAudience(payload, *identity);
    return identity;
  }

  static void noteAudience(const json::object& payload, Identity& identity) {
    const json::value* aud = payload.if_contains("aud");
    const json::array* list = aud != nullptr ? aud->if_array() : nullptr;
    if (aud == nullptr || (list != nullptr && list->empty()))
      identity.annotations["authentication.k8s.io/legacy-token"] = std::string(textAt(payload, {"sub"}));
  }

  // At most one update a day: servers whose clocks differ a little would undo each other's around midnight otherwise.
  void noteUse(const json::object& secret, const std::string& ns, const std::string& name) const {
    const std::string_view last = textAt(secret, {"metadata", "labels", "kubernetes.io/legacy-token-last-used"});
    const WallTime now = clock.now();
    if (last == rfc3339(now).substr(0, 10) || last == rfc3339(now + std::chrono::hours(24)).substr(0, 10)) return;
    if (const std::shared_ptr<const LegacyUse> due = legacyUse.load()) (*due)(ns, name);
  }

  Result<Identity> legacyToken(const json::object& payload, std::string_view compact, std::span<const std::string> asked) {
    Result<std::vector<std::string>> auds = audiences(payload, asked);
    if (!auds) return failed(TokenCheck::Audience, auds.error());
    if (Result<void> inTime = times(payload, false); !inTime) return failed(TokenCheck::Time, inTime.error());
    const auto claim = [&](std::string_view name) { return std::string(textAt(payload, {std::string(kClaimPrefix) + std::string(name)})); };
    const std::string sub(textAt(payload, {"sub"})), ns = claim("namespace"), secretName = claim("secret.name");
    const std::string name = claim("service-account.name"), uid = claim("service-account.uid");
    const std::pair<const char*, const std::string&> needed[] = {
        {"sub", sub}, {"namespace", ns}, {"secretName", secretName}, {"serviceAccountName", name}, {"serviceAccountUID", uid}};
    for (const auto& [label, value] : needed)
      if (value.empty()) return failed(TokenCheck::Claims, refused(std::string(label) + " claim is missing"));
    if (sub != "system:serviceaccount:" + ns + ":" + name) return failed(TokenCheck::Claims, refused("sub claim is invalid"));

    const Result<DocumentPtr> secret = objects("secrets", ns, secretName);
    if (!secret && secret.error().reason != Reason::NotFound) return secret.error();
    if (!secret || !textAt((*secret)->value, {"metadata", "deletionTimestamp"}).empty())
      return failed(TokenCheck::BoundObjects, refused("service account token has been invalidated"));
    // Such a token does not say when it was made; it is as old as its Secret.
    const Result<WallTime> made = parseRfc3339(textAt((*secret)->value, {"metadata", "creationTimestamp"}));
    const Revocable subject{.ns = ns, .account = name, .issuedAt = made ? secondsOf(*made) : 0};
    if (Result<void> good = revoked(subject); !good) return failed(TokenCheck::Revoked, good.error());
    const Result<std::string> stored = base64Decode(textAt((*secret)->value, {"data", "token"}));
    if (!stored || !(Secret(*stored) == Secret(compact) || hasReplaced((*secret)->value, *stored, compact)))
      return failed(TokenCheck::BoundObjects, refused("Token does not match server's copy"));
    const Result<DocumentPtr> account = objects("serviceaccounts", ns, name);
    if (!account)
      return failed(TokenCheck::BoundObjects, account.error().reason == Reason::NotFound
                                                  ? refused("serviceaccounts " + podpass::quoted(name) + " not found")
                                                  : account.error());
    const json::object& live = (*account)->value;
    if (!textAt(live, {"metadata", "deletionTimestamp"}).empty())
      return failed(TokenCheck::BoundObjects, refused("ServiceAccount " + ns + "/" + name + " has been deleted"));
    if (textAt(live, {"metadata", "uid"}) != uid)
      return failed(TokenCheck::BoundObjects, refused("ServiceAccount UID (" + std::string(textAt(live, {"metadata", "uid"})) +
                                                      ") does not match claim (" + uid + ")"));
    noteUse((*secret)->value, ns, secretName);
    if (!textAt((*secret)->value, {"metadata", "labels", "kubernetes.io/legacy-token-invalid-since"}).empty()) {
      ++uses.invalidated;
      Error marked =
          refused("the token in secret " + ns + "/" + secretName + " for service account " + ns + "/" + name +
                  " has been marked invalid. Use tokens from the TokenRequest API or manually created secret-based tokens, or remove the "
                  "'kubernetes.io/legacy-token-invalid-since' label from the secret to temporarily allow use of this token");
      marked.about = {"", "secrets", secretName + "/" + ns, ""};
      return failed(TokenCheck::BoundObjects, std::move(marked));
    }
    Result<Identity> identity = identityOf(ns, name, uid, *std::move(auds));
    const json::array* listed = arrayAt(live, {"secrets"});
    const bool autoGenerated = listed != nullptr && std::any_of(listed->begin(), listed->end(), [&](const json::value& each) {
                                 return each.is_object() && textAt(each.get_object(), {"name"}) == secretName;
                               });
    ++(autoGenerated ? uses.autoGenerated : uses.manual);
    identity->annotations[autoGenerated ? "authentication.k8s.io/legacy-token-autogenerated-secret"
                                        : "authentication.k8s.io/legacy-token-manual-secret"] = secretName;
    if (autoGenerated)
      identity->warnings.emplace_back(
          "Use tokens from the TokenRequest API or manually created secret-based tokens instead of auto-generated secret-based "
          "tokens.");
    noteAudience(payload, *identity);
    return identity;
  }
};

Verifier::Verifier(std::vector<std::string> issuers, std::vector<std::string> apiAudiences, const Snapshot<KeyRing>& ring,
                   BoundObjects objects, const Clock& clock, const Revocations* revocations)
    : parts_(new Parts{std::move(issuers), std::move(apiAudiences), ring, std::move(objects), clock, revocations, {}, {}, {}, {}, {}}) {}
Verifier::~Verifier() = default;

std::string_view nameOf(TokenCheck check) {
  constexpr std::array<std::string_view, kTokenChecks> kNames{"form", "issuer", "key id",  "signature",    "audience",
                                                              "time", "claims", "revoked", "bound objects"};
  return kNames.at(static_cast<std::size_t>(check));
}

const std::vector<std::string>& Verifier::apiAudiences() const { return parts_->apiAudiences; }
const Revocations* Verifier::revocations() const { return parts_->revocations; }
const TokenUses& Verifier::uses() const { return parts_->uses; }
void Verifier::onUse(TokenUse accepted) { parts_->tokenUse.store(std::make_shared<const TokenUse>(std::move(accepted))); }
void Verifier::onUnknownKey(FindKey find) { parts_->findKey = std::move(find); }
void Verifier::onLegacyUse(LegacyUse due) { parts_->legacyUse.store(std::make_shared<const LegacyUse>(std::move(due))); }

std::optional<Result<Identity>> Verifier::verifyKnown(std::string_view compactToken, std::span<const std::string> audiences) const {
  if (compactToken.size() > kMaxToken) return std::nullopt;
  const auto known = parts_->proven.find(sha256(compactToken), parts_->ring.load(), parts_->clock.steady());
  if (!known) return std::nullopt;
  ++parts_->uses.known;
  return parts_->judge(*known, compactToken, audiences);
}

Result<Identity> Verifier::verify(std::string_view compactToken, std::span<const std::string> audiences) const {
  if (compactToken.size() > kMaxToken)
    return parts_->failed(TokenCheck::Form, Error{Reason::Unauthorized, "invalid bearer token", "",
                                                  std::make_shared<Error>(refused("the token is larger than 16 KiB"))});
  const std::string digest = sha256(compactToken);
  const std::shared_ptr<const KeyRing> keys = parts_->ring.load();
  std::shared_ptr<const Proven> token = parts_->proven.find(digest, keys, parts_->clock.steady());
  if (token) {
    ++parts_->uses.known;
  } else {
    Result<std::shared_ptr<const Proven>> proven = parts_->prove(compactToken, *keys);
    if (!proven) return proven.error();
    ++parts_->uses.proven;
    token = *std::move(proven);
    parts_->proven.add(digest, keys, parts_->clock.steady(), token);
  }
  return parts_->judge(*token, compactToken, audiences);
}

}  // namespace podpass::token
