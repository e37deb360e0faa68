#pragma once

#include <gtest/gtest.h>

#include <future>

#include "base/text.h"
#include "token/issuer.h"
#include "token/signing_keys.h"
#include "token/verifier.h"

namespace podpass::token {

using namespace std::chrono_literals;
using What = RotationStep::What;

constexpr const char* kIssuer = "https://issuer.example";
constexpr const char* kAudience = "https://kubernetes.default.svc";
constexpr std::string_view kObjects = "/registry/signingkeys.identity.podpass.dev/";

inline std::unique_ptr<KeyEncryption> encryption() { return KeyEncryption::of(*crypto::Envelope::of({Secret(std::string(32, 'k'))})); }

inline Result<Entry> commit(Store& store, Mutation mutation) {
  std::promise<Result<Entry>> promise;
  store.commit(std::move(mutation), [&promise](Result<Entry> result) { promise.set_value(std::move(result)); });
  return promise.get_future().get();
}

// Quick keys, as most of these tests make several.
inline SigningKeys::Settings settings() { return {.algorithms = {.standard = crypto::KeyType::P256}, .every = 0s, .cacheLife = 3600s}; }

// Takes the steps that are due.
inline std::vector<What> settle(SigningKeys& keys) {
  std::vector<What> done;
  for (int i = 0; i < 30; ++i) {
    const Result<RotationStep> step = keys.advance();
    if (!step || step->what == What::Wait) break;
    done.push_back(step->what);
  }
  return done;
}

// One server: a ring over a store that others may share.
struct Server {
  SigningKeys keys;
  Issuer issuer;
  Verifier verifier;

  Server(Store& store, KeyEncryption& kek, const Clock& clock, SigningKeys::Settings how = settings())
      : keys(store, kek, clock, std::move(how)),
        issuer(kIssuer, keys.ring(), [this](const jose::Key& key, std::int64_t expires) { return keys.keepUntil(key, expires); }),
        verifier(
            {kIssuer}, {kAudience}, keys.ring(),
            [&store](std::string_view plural, const std::string& ns, const std::string& name) -> Result<DocumentPtr> {
              DocumentPtr found = store.get("/registry/" + std::string(plural) + "/" + ns + "/" + name);
              return found ? Result<DocumentPtr>(found) : Result<DocumentPtr>(Error{Reason::NotFound, "not found"});
            },
            clock) {}
  Result<Secret> token(const Clock& clock, std::chrono::seconds life = 600s) const {
    const std::int64_t now = std::chrono::floor<std::chrono::seconds>(clock.now().time_since_epoch()).count();
    return issuer.issue(
        {.ns = "default", .serviceAccount = {"default", "u"}, .audiences = {kAudience}, .issuedAt = now, .expires = now + life.count()});
  }
  std::string refusal(const Secret& token) const {
    const Result<Identity> who = verifier.verify(token.reveal(), {});
    return who ? "" : who.error().sentence;
  }
  std::vector<What> settle() { return token::settle(keys); }
};

struct Cluster {
  FakeClock clock{WallTime(std::chrono::seconds(1'700'000'000))};
  std::unique_ptr<Store> store = makeMemoryStore();
  std::unique_ptr<KeyEncryption> kek = encryption();
  Cluster() { (void)commit(*store, {"/registry/serviceaccounts/default/default", json::object{{"metadata", {{"uid", "u"}}}}, 0}); }
  json::object signingKey(const std::string& name) const {
    const DocumentPtr found = store->get(std::string(kObjects) + name);
    return found ? found->value : json::object();
  }
  std::string state(const std::string& name) const { return std::string(textAt(signingKey(name), {"status", "state"})); }
  void change(const std::string& name, const std::function<void(json::object&)>& edit) {
    json::object object = signingKey(name);
    if (object.empty())
      object = {{"kind", "SigningKey"},
                {"apiVersion", "identity.podpass.dev/v1"},
                {"metadata", {{"name", name}, {"uid", randomUuid()}}},
                {"spec", {{"algorithm", "ES256"}}}};
    edit(object);
    ASSERT_TRUE(commit(*store, {std::string(kObjects) + name, std::move(object), std::nullopt}));
  }
};

}  // namespace podpass::token
