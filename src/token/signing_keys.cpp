#include "token/signing_keys.h"

#include <algorithm>
#include <future>

#include "api/kinds.h"
#include "base/log.h"
#include "base/text.h"
#include "token/moved_token.h"

namespace podpass::token {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view kPrefix = "/registry/signingkeys.identity.podpass.dev/";
constexpr std::string_view kSecrets = "/registry/secrets/";
constexpr auto kLook = 2s;  // how often the clock and the KEK file are looked at when nothing happens
constexpr int kTries = 8;   // of a conditional write that others win
constexpr int kStepsAtStart = 32;
constexpr auto kAdoption = 10min;  // between the sealing of a key from a file and its object there are milliseconds

std::string objectKey(const std::string& name) { return std::string(kPrefix) + name; }
constexpr std::string_view kSealed = "/podpass/signingkeys/";  // not below /registry/: no API serves it
std::string placeOf(const std::string& uid) { return std::string(kSealed) + uid; }

Result<Entry> commit(Store& store, Mutation mutation) {
  std::promise<Result<Entry>> promise;
  store.commit(std::move(mutation), [&promise](Result<Entry> result) { promise.set_value(std::move(result)); });
  return promise.get_future().get();
}

bool isRace(const Error& error) {
  return error.reason == Reason::Conflict || error.reason == Reason::AlreadyExists || error.reason == Reason::NotFound;
}

WallTime timeAt(const json::object& object, std::string_view member) {
  const Result<WallTime> time = parseRfc3339(textAt(object, {"status", member}));
  return time ? *time : WallTime{};
}
// Up to the whole second: a time that is written down must not lie before the one that was meant.
WallTime wholeSecond(WallTime time) { return WallTime(std::chrono::ceil<std::chrono::seconds>(time.time_since_epoch())); }
void setTime(json::object& status, std::string_view member, WallTime time) {
  if (time != WallTime{}) status[member] = rfc3339(time);
}

json::object newObject(const std::string& name, const std::string& algorithm, WallTime now) {
  return {{"kind", "SigningKey"},
          {"apiVersion", "identity.podpass.dev/v1"},
          {"metadata", json::object{{"name", name}, {"uid", randomUuid()}, {"creationTimestamp", rfc3339(now)}, {"generation", 1}}},
          {"spec", json::object{{"algorithm", algorithm}}}};
}

// What a key that is made in a token is called there.
std::string tokenLabel(const std::string& name) { return "podpass " + name; }

constexpr std::string_view kMade = " made";  // behind the URI of a key that is ours to destroy

// By the second of the request: one that was asked for in another way has another name.
std::string rotatedName(std::string algorithm, WallTime now) {
  for (char& c : algorithm) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return algorithm + "-at-" + std::to_string(std::chrono::floor<std::chrono::seconds>(now.time_since_epoch()).count());
}

// The token of a token Secret, "" when it is none.
std::string legacyToken(const json::object& secret) {
  if (textAt(secret, {"type"}) != "kubernetes.io/service-account-token") return {};
  Result<std::string> token = base64Decode(textAt(secret, {"data", "token"}));
  return token ? *std::move(token) : std::string();
}

}  // namespace

struct SigningKeys::Kept {
  KeyLife life;
  DocumentPtr document;
  std::string uid, kid, sealedBy;
  std::string object;  // spec.object: the label of an operator's key
  bool imported = false, verifyOnly = false;
};

// What wakes the thread.
struct SigningKeys::Shared {
  std::mutex mutex;
  std::condition_variable wake;
  bool changed = false, stopping = false, retry = false;
  struct Resealed {
    std::size_t round;
    bool good;
  };
  std::optional<Resealed> resealed;
  std::vector<std::string> deleted;  // uids of keys whose objects are gone
};

SigningKeys::SigningKeys(Store& store, KeyEncryption& encryption, const Clock& clock, Settings settings)
    : store_(store), encryption_(encryption), clock_(clock), settings_(std::move(settings)), shared_(std::make_shared<Shared>()) {}

SigningKeys::~SigningKeys() { stop(); }

RotationPolicy SigningKeys::policy() const {
  RotationPolicy policy{.algorithms = {}, .every = settings_.every, .cacheLife = settings_.cacheLife};
  if (!settings_.signs) return policy;
  policy.algorithms.emplace(nameOf(settings_.algorithms.standard));
  for (const auto& [audience, type] : settings_.algorithms.forAudience) policy.algorithms.emplace(nameOf(type));
  return policy;
}

Result<std::vector<SigningKeys::Kept>> SigningKeys::read() const {
  std::vector<Kept> all;
  const Result<Page> page = store_.range(std::string(kPrefix), "", 0, 0);
  if (!page) return page.error();
  for (const Entry& entry : page->entries) {
    const json::object& object = entry.document->value;
    Kept kept;
    kept.document = entry.document;
    kept.uid = textAt(object, {"metadata", "uid"});
    kept.kid = textAt(object, {"status", "kid"});
    kept.sealedBy = textAt(object, {"status", "sealedBy"});
    kept.object = textAt(object, {"spec", "object"});
    kept.imported = booleanAt(object, {"status", "imported"});
    kept.verifyOnly = booleanAt(object, {"status", "verifyOnly"});
    kept.life = {.name = std::string(textAt(object, {"metadata", "name"})),
                 .algorithm = std::string(textAt(object, {"spec", "algorithm"})),
                 .state = keyStateNamed(textAt(object, {"status", "state"})),
                 .revoked = booleanAt(object, {"spec", "revoked"}),
                 .unbounded = kept.verifyOnly || kept.imported,
                 .published = timeAt(object, "publishedTime"),
                 .activated = timeAt(object, "activatedTime"),
                 .retiring = timeAt(object, "retiringTime"),
                 .retired = timeAt(object, "retiredTime"),
                 .tokensUntil = timeAt(object, "tokensUntil"),
                 .legacyTokensMoved = timeAt(object, "legacyTokensMovedTime")};
    all.push_back(std::move(kept));
  }
  return all;
}

// Writes what `kept` says into its object, unless somebody changed that meanwhile.
Result<void> SigningKeys::write(Kept kept) {
  json::object object = kept.document->value;
  json::object& status = makeObjectAt(object, {"status"});
  status["state"] = nameOf(kept.life.state);
  if (!kept.sealedBy.empty()) status["sealedBy"] = kept.sealedBy;
  setTime(status, "publishedTime", kept.life.published);
  setTime(status, "activatedTime", kept.life.activated);
  setTime(status, "retiringTime", kept.life.retiring);
  setTime(status, "retiredTime", kept.life.retired);
  setTime(status, "tokensUntil", kept.life.tokensUntil);
  setTime(status, "legacyTokensMovedTime", kept.life.legacyTokensMoved);
  const Result<Entry> written = commit(store_, {objectKey(kept.life.name), std::move(object), kept.document->revision});
  return written ? Result<void>() : Result<void>(written.error());
}

// What only verifies is sealed, too, and where a token holds the private half: not to hide it, but because nobody else can seal.
Result<std::string> SigningKeys::seal(const std::string& uid, const crypto::KeyPair& pair, std::optional<std::uint64_t> expected,
                                      bool made) {
  const std::shared_ptr<const crypto::Envelope> envelope = encryption_.envelope();
  const std::string place = placeOf(uid);
  const std::string held = pair.heldBy() + std::string(made ? kMade : "") + "\n";
  const Secret pem = !pair.heldBy().empty() ? Secret(held + pair.publicPem())
                     : pair.hasPrivate()    ? pair.privatePem()
                                            : Secret(pair.publicPem());
  json::object value{{"metadata", json::object{{"name", uid}, {"creationTimestamp", rfc3339(clock_.now())}}},
                     {"sealed", envelope->seal(pem.reveal(), place)}};
  const Result<Entry> stored = commit(store_, {place, std::move(value), expected});
  if (!stored) return stored.error();
  return envelope->current();
}

Result<Secret> SigningKeys::sealedText(const std::string& uid) const {
  const std::string place = placeOf(uid);
  const DocumentPtr document = store_.get(place);
  if (!document)
    return Error{Reason::NotFound, "the key is not sealed under " + place, "a key from a file is taken when its flag is given"};
  return encryption_.envelope()->open(textAt(document->value, {"sealed"}), place);
}

Result<crypto::KeyPair> SigningKeys::sealedKey(const std::string& uid, bool signs) const {
  const Result<Secret> pem = sealedText(uid);
  if (!pem) return pem.error();
  if (crypto::isPkcs11Uri(pem->reveal())) return keyInToken(pem->reveal(), signs);
  return pem->reveal().find("PRIVATE KEY") == std::string_view::npos ? crypto::KeyPair::fromPublicPem(pem->reveal())
                                                                     : crypto::KeyPair::fromPrivatePem(pem->reveal());
}

// Who only verifies needs no token. What a token refuses is Unavailable, as nothing is wrong with the key.
Result<crypto::KeyPair> SigningKeys::keyInToken(std::string_view text, bool signs) const {
  const std::string_view heldBy = text.substr(0, text.find_first_of(" \n"));
  const Result<crypto::KeyPair> half = crypto::KeyPair::fromPublicPem(text.substr(std::min(text.find('\n'), text.size())));
  if (!half || !signs) return half;
  if (!settings_.token)
    return Error{Reason::Unavailable, "a signing key is held by " + std::string(heldBy) + ", and no PKCS#11 token is given",
                 "give --signing-key-pkcs11 URI"};
  const Result<crypto::Pkcs11Uri> uri = crypto::parsePkcs11Uri(heldBy);
  if (!uri) return uri.error();
  // by its id where it has one, as labels can be changed
  const crypto::Pkcs11Object name = uri->id.empty() ? crypto::Pkcs11Object{.label = uri->object} : crypto::Pkcs11Object{.id = uri->id};
  Result<crypto::KeyPair> pair = settings_.token->keyPair(name, half->publicDer());
  return pair ? pair : Error{Reason::Unavailable, pair.error().sentence, pair.error().fix, pair.error().cause};
}

Result<KeyPtr> SigningKeys::keyOf(const Kept& kept) {
  const bool signs = kept.life.state == KeyState::Active;
  KeyPtr& loaded = loaded_[kept.uid + (signs ? "/private" : "/public")];
  if (!loaded) {
    Result<crypto::KeyPair> pair = sealedKey(kept.uid, signs);
    if (pair && signs && !pair->hasPrivate()) return Error{Reason::Internal, "the private half is not here"};
    if (pair && !signs) pair = crypto::KeyPair::fromPublicDer(pair->publicDer());  // no more in memory than is needed
    Result<jose::Key> key = pair ? jose::makeKey(*std::move(pair)) : Result<jose::Key>(pair.error());
    if (!key) return key.error();
    loaded = std::make_shared<const jose::Key>(*std::move(key));
  }
  if (loaded->kid != kept.kid)
    return Error{Reason::Internal, "its object says the kid " + quoted(kept.kid) + ", the key has " + loaded->kid};
  return loaded;
}

// The ring is what the store says: active keys sign, published and retiring ones verify and are shown.
Result<void> SigningKeys::reload() {
  if (!settings_.signs) return {};
  const Result<std::vector<Kept>> all = read();
  if (!all) return all.error();
  std::vector<KeyLife> lives;
  for (const Kept& kept : *all) lives.push_back(kept.life);
  std::map<std::string, KeyPtr> signers;  // by algorithm
  std::vector<KeyPtr> keys;
  std::shared_ptr<const Error> trouble;
  for (const Kept& kept : *all) {
    if (kept.life.revoked || kept.life.state == KeyState::Pending || kept.life.state == KeyState::Retired) continue;
    Result<KeyPtr> key = keyOf(kept);
    if (!key && key.error().reason == Reason::Unavailable) return key.error();  // its key-encryption key is away
    if (!key) {
      log::error("signing key not trusted", {{"name", kept.life.name}, {"err", log::chain(key.error())}});
      trouble = std::make_shared<Error>(key.error());
      continue;
    }
    keys.push_back(*key);
    if (const KeyLife* signer = signerOf(lives, kept.life.algorithm); signer != nullptr && signer->name == kept.life.name)
      signers[kept.life.algorithm] = *key;
    const std::lock_guard lock(promises_);
    std::int64_t& promised = promised_[kept.kid];
    promised = std::max(promised, std::chrono::floor<std::chrono::seconds>(kept.life.tokensUntil.time_since_epoch()).count());
  }
  std::erase_if(loaded_, [&](const auto& entry) { return std::find(keys.begin(), keys.end(), entry.second) == keys.end(); });
  if (signers.empty()) return Error{Reason::Unavailable, "there is no active signing key", "", trouble};
  const auto standard = signers.find(std::string(nameOf(settings_.algorithms.standard)));
  const KeyPtr first = standard != signers.end() ? standard->second : signers.begin()->second;
  std::stable_partition(keys.begin(), keys.end(), [&](const KeyPtr& key) { return key == first; });
  std::map<std::string, KeyPtr> forAudience;
  for (const auto& [audience, type] : settings_.algorithms.forAudience)
    if (const auto found = signers.find(std::string(nameOf(type))); found != signers.end()) forAudience[audience] = found->second;
  ring_.store(std::make_shared<const KeyRing>(std::move(keys), std::move(forAudience)));
  return {};
}

Result<void> SigningKeys::adopt(const crypto::KeyPair& pair) {
  const std::lock_guard lock(steps_);
  Result<jose::Key> key = jose::makeKey(pair);
  if (!key) return key.error();
  const Result<std::vector<Kept>> all = read();
  if (!all) return all.error();
  for (const Kept& kept : *all)
    if (kept.kid == key->kid) return adoptAgain(kept, pair);
  if (!signedBefore_)
    signedBefore_ =
        std::any_of(all->begin(), all->end(), [](const Kept& kept) { return kept.life.state == KeyState::Active && !kept.life.revoked; });
  const KeyState state = !pair.hasPrivate() ? KeyState::Retiring : *signedBefore_ ? KeyState::Published : KeyState::Active;
  const WallTime now = wholeSecond(clock_.now());
  const std::optional<crypto::KeyType> type = pair.type();
  json::object object = newObject("imported-" + hexLower(sha256(key->kid)).substr(0, 10), std::string(type ? nameOf(*type) : "RS256"), now);
  json::object& status = makeObjectAt(object, {"status"});
  status = {{"kid", key->kid}, {"state", nameOf(state)}, {"imported", true}, {"publicKey", jose::toJwk(*key)}};
  setTime(status, "publishedTime", now);
  if (state == KeyState::Active) setTime(status, "activatedTime", now);
  if (state == KeyState::Retiring) setTime(status, "retiringTime", now);
  if (!pair.hasPrivate()) status["verifyOnly"] = true;
  if (!pair.heldBy().empty()) status["heldBy"] = pair.heldBy();
  const Result<std::string> sealedBy = seal(std::string(textAt(object, {"metadata", "uid"})), pair);
  if (!sealedBy) return sealedBy.error();
  status["sealedBy"] = *sealedBy;
  const std::string name(textAt(object, {"metadata", "name"}));
  const Result<Entry> made = commit(store_, {objectKey(name), std::move(object), 0});
  if (!made && made.error().reason != Reason::AlreadyExists) return made.error();
  log::info("signing key imported", {{"name", name}, {"kid", key->kid}});
  return {};
}

// A key that the ring knows, from its file once more. Verify-only keys of before were not sealed.
Result<void> SigningKeys::adoptAgain(const Kept& kept, const crypto::KeyPair& pair) {
  if (kept.life.revoked || kept.life.state == KeyState::Retired) return {};
  const DocumentPtr sealed = store_.get(placeOf(kept.uid));
  const bool shallSign = kept.verifyOnly && pair.hasPrivate();
  if (sealed && !shallSign) return {};
  const Result<std::string> sealedBy = seal(kept.uid, pair, sealed ? sealed->revision : 0);
  if (!sealedBy) return isRace(sealedBy.error()) ? Result<void>() : Result<void>(sealedBy.error());
  if (!shallSign) return {};
  json::object object = kept.document->value;
  json::object& status = makeObjectAt(object, {"status"});
  status.erase("verifyOnly");
  status.erase("retiringTime");
  status["state"] = nameOf(KeyState::Published);  // as it was all the time
  if (!pair.heldBy().empty()) status["heldBy"] = pair.heldBy();
  status["sealedBy"] = *sealedBy;
  const Result<Entry> written = commit(store_, {objectKey(kept.life.name), std::move(object), kept.document->revision});
  if (!written) return isRace(written.error()) ? Result<void>() : Result<void>(written.error());
  log::info("signing key got its private half", {{"name", kept.life.name}, {"kid", kept.kid}});
  return {};
}

Result<void> SigningKeys::open() {
  Result<void> failed;
  for (int step = 0; step < kStepsAtStart; ++step) {
    const Result<RotationStep> done = advance();
    if (!done && !isRace(done.error())) failed = done.error();
    if (!failed || (done && done->what == RotationStep::What::Wait)) break;
  }
  const std::lock_guard lock(steps_);
  if (Result<void> clean = unsealLeftovers(); !clean) return clean;
  const Result<void> loaded = reload();
  if (loaded && !failed) log::error("signing key rotation failed", {{"err", log::chain(failed.error())}});  // the keys that are there sign
  return loaded || failed ? loaded : failed;
}

// What a crash between the end of a key, or of its object, and the removal of what was sealed has left. A young one without an object may
// be about to get it.
Result<void> SigningKeys::unsealLeftovers() {
  const Result<Page> sealed = store_.range(std::string(kSealed), "", 0, 0);
  if (!sealed) return sealed.error();
  const Result<std::vector<Kept>> all = read();
  if (!all) return all.error();
  for (const Entry& entry : sealed->entries) {
    const std::string uid = entry.key.substr(kSealed.size());
    const auto kept = std::find_if(all->begin(), all->end(), [&](const Kept& each) { return each.uid == uid; });
    const Result<WallTime> made = parseRfc3339(textAt(entry.document->value, {"metadata", "creationTimestamp"}));
    const bool needed = kept != all->end() ? kept->life.state != KeyState::Retired : made && *made > clock_.now() - kAdoption;
    if (needed) continue;
    if (Result<void> gone = unseal(uid); !gone && gone.error().reason != Reason::Unavailable) return gone;
    log::info("leftover of a signing key removed", {{"uid", uid}});
  }
  return {};
}

Result<void> SigningKeys::rotate() {
  const std::lock_guard lock(steps_);
  const Result<std::vector<Kept>> all = read();
  if (!all) return all.error();
  for (const Kept& kept : *all)
    if (!kept.life.revoked && (kept.life.state == KeyState::Pending || kept.life.state == KeyState::Published))
      return Error{Reason::Conflict, "a rotation is under way: " + kept.life.name, "wait for it"};
  const std::string algorithm(nameOf(settings_.algorithms.standard));
  return create(rotatedName(algorithm, clock_.now()), algorithm);
}

Result<void> SigningKeys::create(const std::string& name, const std::string& algorithm) {
  const Result<Entry> made = commit(store_, {objectKey(name), newObject(name, algorithm, clock_.now()), 0});
  return made || made.error().reason == Reason::AlreadyExists ? Result<void>() : Result<void>(made.error());
}

// First the private half, under the object's uid, where only one server can put it; then what the object says of it. Who comes second, or
// after a crash between the two, finds the first's.
Result<void> SigningKeys::generate(const Kept& kept) {
  Result<crypto::KeyPair> pair = sealedKey(kept.uid, true);
  if (!pair && pair.error().reason == Reason::NotFound) {
    const Result<std::vector<Kept>> all = read();
    if (!all) return all.error();
    pair = makePair(kept, *all);
    if (!pair) return pair.error();
    const bool made = !pair->heldBy().empty() && kept.object.empty();
    if (Result<std::string> stored = seal(kept.uid, *pair, 0, made); !stored) {
      const Result<crypto::Pkcs11Uri> uri = crypto::parsePkcs11Uri(pair->heldBy());
      if (made && uri) (void)settings_.token->destroy({.label = uri->object, .id = uri->id});  // another server was faster
      return stored.error();
    }
  }
  if (!pair) return pair.error();
  Result<jose::Key> key = jose::makeKey(*pair);
  if (!key) return key.error();
  json::object object = kept.document->value;
  json::object& status = makeObjectAt(object, {"status"});
  status = {{"kid", key->kid}, {"state", nameOf(KeyState::Published)}, {"publicKey", jose::toJwk(*key)}};
  const DocumentPtr sealed = store_.get(placeOf(kept.uid));
  if (!sealed) return Error{Reason::NotFound, "another server has removed signing key " + kept.life.name};
  status["sealedBy"] = crypto::Envelope::kekOf(textAt(sealed->value, {"sealed"}));
  if (!pair->heldBy().empty()) status["heldBy"] = pair->heldBy();
  setTime(status, "publishedTime", wholeSecond(clock_.now()));
  const Result<Entry> written = commit(store_, {objectKey(kept.life.name), std::move(object), kept.document->revision});
  return written ? Result<void>() : Result<void>(written.error());
}

Result<crypto::KeyPair> SigningKeys::makePair(const Kept& kept, const std::vector<Kept>& all) const {
  const Result<crypto::KeyType> type = crypto::keyTypeNamed(kept.life.algorithm);
  if (!type) return type.error();
  if (kept.object.empty())
    return settings_.token ? settings_.token->generate(*type, {.label = tokenLabel(kept.life.name), .id = randomBytes(16)})
                           : crypto::KeyPair::generate(*type);
  if (!settings_.token)
    return Error{Reason::BadRequest, "spec.object names a key in a PKCS#11 token, and none is given",
                 "start podpass with --signing-key-pkcs11 URI"};
  Result<crypto::KeyPair> pair = settings_.token->keyPair({.label = kept.object});
  if (!pair && pair.error().reason == Reason::NotFound)  // of the object we would think that somebody was faster
    return Error{Reason::BadRequest, pair.error().sentence, pair.error().fix};
  if (!pair) return pair;
  if (pair->type() != *type)
    return Error{Reason::BadRequest, pair->heldBy() + " is a key of another type than spec.algorithm " + kept.life.algorithm,
                 "delete this SigningKey, and ask for the key's own algorithm"};
  const Result<jose::Key> key = jose::makeKey(*pair);
  if (!key) return key.error();
  for (const Kept& other : all)
    if (other.kid == key->kid)
      return Error{Reason::BadRequest, "the key " + key->kid + " is in the ring already, as " + other.life.name, "name another, or none"};
  return pair;
}

// A Pending key says why it stays so.
void SigningKeys::explain(const Kept& kept, const Error& why) {
  json::object object = kept.document->value;
  const std::string message = log::chain(why) + (why.fix.empty() ? "" : "; fix: " + why.fix);
  if (textAt(object, {"status", "message"}) == message) return;
  makeObjectAt(object, {"status"})["message"] = message;
  (void)commit(store_, {objectKey(kept.life.name), std::move(object), kept.document->revision});
}

// Legacy tokens do not expire, so the successor signs them anew: the same claims, byte for byte. The verifier takes the old copy, which
// pods still have mounted, for as long as its key is in the ring.
Result<void> SigningKeys::moveLegacyTokens(Kept kept) {
  if (!ring_.load())  // a server that was killed just before this step takes it when it starts, before it has a ring
    if (Result<void> loaded = reload(); !loaded) return loaded;
  const std::shared_ptr<const KeyRing> ring = ring_.load();
  if (!ring) return Error{Reason::Unavailable, "no key signs yet that could sign legacy tokens anew"};
  const Result<Page> secrets = store_.range(std::string(kSecrets), "", 0, 0);
  if (!secrets) return secrets.error();
  std::size_t moved = 0;
  bool before = false;  // by a server that died before it could say so, or in an earlier rotation
  for (const Entry& entry : secrets->entries) {
    const std::string token = legacyToken(entry.document->value);
    const Result<jose::UnverifiedJws> jws = token.empty() ? Result<jose::UnverifiedJws>(Error{}) : jose::parseCompactJws(token);
    before = before || !textAt(entry.document->value, {"metadata", "annotations", kMovedFrom}).empty();
    if (!jws || jws->kid != kept.kid) continue;
    const Result<std::string> payload = base64UrlDecode(std::string_view(jws->signingInput).substr(jws->signingInput.find('.') + 1));
    const Result<std::string> anew = jose::signCompact(ring->signer(), *payload);
    if (!anew) return anew.error();
    json::object secret = entry.document->value;
    makeObjectAt(secret, {"data"})["token"] = base64Encode(*anew);
    recordMove(secret, token, *anew);
    const Result<Entry> written = commit(store_, {entry.key, std::move(secret), entry.document->revision});
    if (!written && written.error().reason != Reason::NotFound) return written.error();
    ++moved;
  }
  kept.life.legacyTokensMoved = moved > 0 || before ? wholeSecond(clock_.now()) : std::max(kept.life.retiring, WallTime(1s));
  if (moved > 0) log::info("legacy tokens signed anew", {{"kid", kept.kid}, {"count", std::to_string(moved)}});
  return write(std::move(kept));
}

Result<void> SigningKeys::drop(Kept kept) {
  kept.life.state = KeyState::Retired;
  kept.life.retired = wholeSecond(clock_.now());
  const std::string uid = kept.uid;
  if (Result<void> written = write(std::move(kept)); !written) return written;
  const Result<void> gone = unseal(uid);
  return gone || gone.error().reason == Reason::Unavailable ? Result<void>() : gone;  // the next start tries again
}

// What an operator put into a token stays there. Unavailable: the token is away, and what is sealed says on what is to be destroyed.
Result<void> SigningKeys::destroyInToken(const std::string& uid) const {
  const Result<Secret> text = sealedText(uid);
  const std::string_view line = text ? text->reveal().substr(0, text->reveal().find('\n')) : std::string_view();
  if (!crypto::isPkcs11Uri(line) || !line.ends_with(kMade)) return {};
  const Result<crypto::Pkcs11Uri> uri = crypto::parsePkcs11Uri(line.substr(0, line.size() - kMade.size()));
  if (!uri) return uri.error();
  const Result<void> gone = settings_.token ? settings_.token->destroy({.label = uri->object, .id = uri->id})
                                            : Result<void>(Error{Reason::Unavailable, "no PKCS#11 token is given"});
  if (gone) return {};
  log::warn("ended key stayed in the token", {{"name", crypto::pkcs11Path(*uri)}, {"err", log::chain(gone.error())}});
  return Error{Reason::Unavailable, gone.error().sentence, gone.error().fix};
}

Result<void> SigningKeys::unseal(const std::string& uid) {
  if (Result<void> destroyed = destroyInToken(uid); !destroyed) return destroyed;
  const Result<Entry> gone = commit(store_, {placeOf(uid), std::nullopt, std::nullopt});
  return gone || gone.error().reason == Reason::NotFound ? Result<void>() : Result<void>(gone.error());
}

Result<void> SigningKeys::apply(const RotationStep& step, const std::vector<Kept>& keys) {
  using What = RotationStep::What;
  if (step.what == What::Wait) return {};
  if (step.what == What::Create) return create(step.subject, step.algorithm);
  const auto found = std::find_if(keys.begin(), keys.end(), [&](const Kept& kept) { return kept.life.name == step.subject; });
  if (found == keys.end()) return {};
  Kept kept = *found;
  if (step.what == What::Generate) return generate(kept);
  if (step.what == What::MoveLegacy) return moveLegacyTokens(std::move(kept));
  if (step.what == What::Drop) return drop(std::move(kept));
  if (step.what == What::Forget) {
    const Result<Entry> gone = commit(store_, {objectKey(kept.life.name), std::nullopt, kept.document->revision});
    return gone ? Result<void>() : Result<void>(gone.error());
  }
  if (step.what == What::Activate) {
    kept.life.state = KeyState::Active;
    kept.life.activated = wholeSecond(clock_.now());
  } else {
    kept.life.state = KeyState::Retiring;
    kept.life.retiring = wholeSecond(clock_.now());
  }
  return write(std::move(kept));
}

Result<RotationStep> SigningKeys::advance() {
  const std::lock_guard lock(steps_);
  const Result<std::vector<Kept>> keys = read();
  if (!keys) return keys.error();
  if (!settings_.signs) {  // what is in the store stays as it is
    for (const Kept& kept : *keys)
      if (kept.life.state == KeyState::Pending)
        explain(kept, Error{Reason::BadRequest, "tokens are signed by --service-account-signing-endpoint, and no key is made here",
                            "rotate the keys of that signer"});
    return RotationStep{};
  }
  std::vector<KeyLife> lives;
  for (const Kept& kept : *keys) lives.push_back(kept.life);
  RotationStep step = nextStep(lives, policy(), clock_.now());
  Result<void> done = apply(step, *keys);
  // A key that cannot be made, by a token that is away, for instance, must not hold up the others.
  std::optional<Error> stuck;
  while (!done && step.what == RotationStep::What::Generate && !isRace(done.error())) {
    const auto of = [&](const KeyLife& life) { return life.name == step.subject; };
    const std::size_t at = static_cast<std::size_t>(std::find_if(lives.begin(), lives.end(), of) - lives.begin());
    stuck = done.error();
    explain(keys->at(at), *stuck);
    lives.at(at).stuck = true;
    step = nextStep(lives, policy(), clock_.now());
    done = apply(step, *keys);
  }
  if (!done) return done.error();
  if (step.what == RotationStep::What::Wait) return stuck ? Result<RotationStep>(*stuck) : step;
  static constexpr std::array<const char*, 7> kDone{"created", "published", "activated", "retiring", "legacy tokens moved",
                                                    "retired", "forgotten"};
  log::info("signing key rotation stepped", {{"name", step.subject}, {"step", kDone.at(static_cast<std::size_t>(step.what))}});
  const bool hasSigner = step.what != RotationStep::What::Create && step.what != RotationStep::What::Generate;
  if (hasSigner || ring_.load()) {
    if (Result<void> loaded = reload(); !loaded && loaded.error().reason != Reason::Unavailable) return loaded.error();
  }
  return step;
}

Result<void> SigningKeys::keepUntil(const jose::Key& key, std::int64_t expires) {
  const Result<void> kept = promise(key, expires);
  if (kept || kept.error().reason != Reason::Conflict) return kept;
  const std::lock_guard lock(steps_);  // the watch has not told us yet
  if (Result<void> loaded = reload(); !loaded) return loaded;
  return kept;
}

Result<void> SigningKeys::promise(const jose::Key& key, std::int64_t expires) {
  const std::lock_guard lock(promises_);
  const auto known = promised_.find(key.kid);
  if (known != promised_.end() && known->second >= expires) return {};
  const std::int64_t now = std::chrono::floor<std::chrono::seconds>(clock_.now().time_since_epoch()).count();
  const std::int64_t until = expires + std::max<std::int64_t>(1, (expires - now) / 8);
  for (int attempt = 0; attempt < kTries; ++attempt) {
    Result<std::vector<Kept>> all = read();
    if (!all) return all.error();
    const auto kept = std::find_if(all->begin(), all->end(), [&](const Kept& each) { return each.kid == key.kid; });
    if (kept == all->end() || kept->life.revoked || kept->life.state == KeyState::Retired) break;
    kept->life.tokensUntil = std::max(kept->life.tokensUntil, WallTime(std::chrono::seconds(until)));
    const Result<void> written = write(std::move(*kept));
    if (!written && isRace(written.error())) continue;
    if (written) promised_[key.kid] = until;
    return written;
  }
  return Error{Reason::Conflict, "the signing key " + key.kid + " has left the ring"};
}

std::optional<WallTime> SigningKeys::tokensUntil() const {
  if (!settings_.signs) return std::nullopt;
  WallTime last{};
  const Result<std::vector<Kept>> all = read();
  if (!all) return std::nullopt;
  for (const Kept& kept : *all) {
    if (kept.life.revoked || kept.life.state == KeyState::Retired) continue;
    if (kept.life.unbounded) return std::nullopt;
    last = std::max(last, kept.life.tokensUntil);
  }
  return last;
}

Result<std::size_t> SigningKeys::rewrap() {
  const std::lock_guard lock(steps_);
  const std::shared_ptr<const crypto::Envelope> envelope = encryption_.envelope();
  std::size_t done = 0;
  Result<std::vector<Kept>> all = read();
  if (!all) return all.error();
  for (Kept& kept : *all) {
    const std::string place = placeOf(kept.uid);
    const DocumentPtr document = store_.get(place);
    if (!document) continue;
    const std::string_view sealed = textAt(document->value, {"sealed"});
    if (crypto::Envelope::kekOf(sealed) != envelope->current()) {
      Result<Secret> pem = envelope->open(sealed, place);
      if (!pem) return pem.error();
      json::object value = document->value;
      value["sealed"] = envelope->seal(pem->reveal(), place);
      if (const Result<Entry> written = commit(store_, {place, std::move(value), document->revision}); !written) return written.error();
      ++done;
    }
    if (kept.sealedBy == envelope->current()) continue;
    kept.sealedBy = envelope->current();
    if (Result<void> written = write(kept); !written) return written.error();
  }
  return done;
}

Result<void> SigningKeys::start() {
  const auto shared = shared_;
  Result<std::unique_ptr<Subscription>> subscription =
      store_.watch(std::string(kPrefix), store_.revision(), [shared](const Change& change) {
        const std::lock_guard lock(shared->mutex);
        shared->changed = true;
        if (change.type == Change::Type::Deleted) shared->deleted.emplace_back(textAt(change.entry.document->value, {"metadata", "uid"}));
        shared->wake.notify_all();
      });
  if (!subscription) return subscription.error();
  subscription_ = *std::move(subscription);
  shared_->changed = true;
  thread_ = std::thread([this] { run(); });
  return {};
}

void SigningKeys::stop() {
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->stopping = true;
    shared_->wake.notify_all();
  }
  if (thread_.joinable()) thread_.join();
  subscription_ = nullptr;
}

// Secrets are sealed anew first, on the store's thread; then, when they are done, the keys; only then the old key-encryption key is let go.
void SigningKeys::run() {
  const auto shared = shared_;
  enum class Sealing { Due, Running, Failed, Done } sealing = Sealing::Due;  // due at the start: a change may have been cut short
  std::size_t round = 0;                                                     // the outcome of an earlier one says nothing
  std::string failed;                                                        // what was logged last: the same again is nothing new
  for (;;) {
    if (sealing == Sealing::Due) {
      sealing = Sealing::Running;
      store_.reseal([shared, mine = ++round](const Result<std::size_t>& sealed) {
        if (!sealed) log::error("Secrets not sealed anew", {{"err", sealed.error().sentence}});
        const std::lock_guard lock(shared->mutex);
        shared->resealed = {mine, static_cast<bool>(sealed)};
        shared->wake.notify_all();
      });
    }
    bool changed = false;
    std::optional<Shared::Resealed> resealed;
    std::vector<std::string> deleted;
    {
      std::unique_lock lock(shared->mutex);
      shared->wake.wait_for(lock, kLook, [&] { return shared->changed || shared->stopping || shared->resealed; });
      if (shared->stopping) return;
      const bool retry = std::exchange(shared->retry, false);
      changed = std::exchange(shared->changed, false) || retry;
      resealed = std::exchange(shared->resealed, std::nullopt);
      deleted.swap(shared->deleted);
    }
    for (const std::string& uid : deleted) (void)unseal(uid);
    if (sealing == Sealing::Failed) sealing = Sealing::Due;  // every look, until it is done
    if (resealed && resealed->round == round) {
      sealing = Sealing::Failed;
      if (resealed->good) {
        const Result<std::size_t> done = rewrap();
        if (!done) log::error("signing keys not sealed anew", {{"err", log::chain(done.error())}});
        if (done) sealing = Sealing::Done;
        if (done) encryption_.settle();
      }
    }
    if (const Result<bool> anew = encryption_.reload(); !anew) {
      log::error("key-encryption keys not read", {{"err", log::chain(anew.error())}});
    } else if (*anew) {
      log::info("key-encryption keys replaced", {{"kek", encryption_.envelope()->current()}});
      sealing = Sealing::Due;
    }
    if (changed) {
      const std::lock_guard lock(steps_);
      if (Result<void> loaded = reload(); !loaded) {
        log::error("key ring not loaded", {{"err", log::chain(loaded.error())}});
        const std::lock_guard again(shared->mutex);
        shared->retry = true;
      }
    }
    for (bool more = true; more;) {
      const Result<RotationStep> step = advance();
      std::string failure = step || isRace(step.error()) ? std::string() : log::chain(step.error());
      if (!failure.empty() && failure != failed) log::error("signing key rotation failed", {{"err", failure}});
      failed = std::move(failure);
      more = step && step->what != RotationStep::What::Wait;
    }
  }
}

}  // namespace podpass::token
