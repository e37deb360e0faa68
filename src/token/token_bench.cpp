#include <benchmark/benchmark.h>
#include <openssl/evp.h>

#include <map>

#include "token/issuer.h"
#include "token/verifier.h"

namespace podpass::token {
namespace {

struct Issuing {
  FakeClock clock;
  Snapshot<KeyRing> ring;
  Issuer issuer{"https://issuer.example", ring};
  DocumentPtr object = std::make_shared<const Document>(Document{json::object{{"metadata", {{"uid", "u"}}}}, "", 1});
  Verifier verifier{{"https://issuer.example"},
                    {"https://kubernetes.default.svc"},
                    ring,
                    [this](std::string_view, const std::string&, const std::string&) -> Result<DocumentPtr> { return object; },
                    clock};

  explicit Issuing(crypto::KeyType type)
      : ring(std::make_shared<const KeyRing>(
            std::vector{std::make_shared<const jose::Key>(*jose::makeKey(*crypto::KeyPair::generate(type)))})) {}
  Result<Secret> token(int number) const {
    const std::int64_t now = std::chrono::floor<std::chrono::seconds>(clock.now().time_since_epoch()).count();
    return issuer.issue({.ns = "default",
                         .serviceAccount = {"reader", "u"},
                         .pod = {"web-0", "u"},
                         .audiences = {"https://kubernetes.default.svc"},
                         .issuedAt = now,
                         .expires = now + 3607,
                         .jti = "jti-" + std::to_string(number)});
  }
};

template <crypto::KeyType Type>
Issuing& issuing() {
  static Issuing all(Type);
  return all;
}

// OpenSSL alone, in the same process and on the same key: what the signatures cost, and no more.
struct RawSignature {
  EVP_PKEY* key;
  const EVP_MD* hash;
  std::string input, signature;

  explicit RawSignature(crypto::KeyType type)
      : key(keyFor(type)), hash(hashOf(type)), input(400, 'x') {  // a token's header and payload have about that many bytes
    std::size_t length = static_cast<std::size_t>(EVP_PKEY_get_size(key));
    signature.resize(length);
    sign(signature, length);
    signature.resize(length);
  }
  void sign(std::string& out, std::size_t& length) const {
    EVP_MD_CTX* context = EVP_MD_CTX_new();
    EVP_DigestSignInit(context, nullptr, hash, nullptr, key);
    EVP_DigestSign(context, reinterpret_cast<unsigned char*>(out.data()), &length, reinterpret_cast<const unsigned char*>(input.data()),
                   input.size());
    EVP_MD_CTX_free(context);
  }
  [[nodiscard]] bool verify() const {
    EVP_MD_CTX* context = EVP_MD_CTX_new();
    EVP_DigestVerifyInit(context, nullptr, hash, nullptr, key);
    const int good = EVP_DigestVerify(context, reinterpret_cast<const unsigned char*>(signature.data()), signature.size(),
                                      reinterpret_cast<const unsigned char*>(input.data()), input.size());
    EVP_MD_CTX_free(context);
    return good == 1;
  }

 private:
  static EVP_PKEY* keyFor(crypto::KeyType type) {
    static std::map<crypto::KeyType, crypto::KeyPair> keys;
    const auto found = keys.find(type);
    return found != keys.end() ? found->second.native() : keys.emplace(type, *crypto::KeyPair::generate(type)).first->second.native();
  }
  static const EVP_MD* hashOf(crypto::KeyType type) {
    if (type == crypto::KeyType::Ed25519) return nullptr;
    return type == crypto::KeyType::P384 ? EVP_sha384() : type == crypto::KeyType::P521 ? EVP_sha512() : EVP_sha256();
  }
};

template <crypto::KeyType Type>
void BM_RawSign(benchmark::State& state) {
  const RawSignature raw(Type);
  std::string out(static_cast<std::size_t>(EVP_PKEY_get_size(raw.key)), '\0');
  for (auto _ : state) {
    std::size_t length = out.size();
    raw.sign(out, length);
  }
  state.SetItemsProcessed(state.iterations());
}

template <crypto::KeyType Type>
void BM_RawVerify(benchmark::State& state) {
  const RawSignature raw(Type);
  for (auto _ : state) benchmark::DoNotOptimize(raw.verify());
  state.SetItemsProcessed(state.iterations());
}

template <crypto::KeyType Type>
void BM_Issue(benchmark::State& state) {
  const Issuing& all = issuing<Type>();  // makes the key, which takes longer than many tokens
  int number = 0;
  for (auto _ : state) benchmark::DoNotOptimize(all.token(++number));
  state.SetItemsProcessed(state.iterations());
}

// Tokens that the verifier sees for the first time: there are more of them than its cache remembers.
template <crypto::KeyType Type>
void BM_VerifyUnseen(benchmark::State& state) {
  Issuing& all = issuing<Type>();
  std::vector<Secret> tokens;
  for (int i = 0; i < 256; ++i) tokens.push_back(*all.token(i));
  std::size_t next = 0;
  auto ring = all.ring.load();
  for (auto _ : state) {
    if (next == tokens.size()) {  // another ring of the same keys: what was cached counts no more
      next = 0;
      all.ring.store(std::make_shared<const KeyRing>(ring->keys()));
    }
    benchmark::DoNotOptimize(all.verifier.verify(tokens[next++].reveal(), {}));
  }
  state.SetItemsProcessed(state.iterations());
}

template <crypto::KeyType Type>
void BM_VerifyRepeated(benchmark::State& state) {
  Issuing& all = issuing<Type>();
  const Secret token = *all.token(0);
  for (auto _ : state) benchmark::DoNotOptimize(all.verifier.verify(token.reveal(), {}));
  state.SetItemsProcessed(state.iterations());
}

template <crypto::KeyType Type>
int all(const std::string& name) {
  benchmark::RegisterBenchmark(("OpenSSL sign " + name).c_str(), BM_RawSign<Type>);
  benchmark::RegisterBenchmark(("issue " + name).c_str(), BM_Issue<Type>);
  benchmark::RegisterBenchmark(("OpenSSL verify " + name).c_str(), BM_RawVerify<Type>);
  benchmark::RegisterBenchmark(("verify unseen " + name).c_str(), BM_VerifyUnseen<Type>);
  benchmark::RegisterBenchmark(("verify repeated " + name).c_str(), BM_VerifyRepeated<Type>);
  return 0;
}

const int kRegistered = all<crypto::KeyType::Rsa2048>("RS256") + all<crypto::KeyType::Rsa3072>("RS256-3072") +
                        all<crypto::KeyType::Rsa4096>("RS256-4096") + all<crypto::KeyType::P256>("ES256") +
                        all<crypto::KeyType::P384>("ES384") + all<crypto::KeyType::P521>("ES512") + all<crypto::KeyType::Ed25519>("EdDSA");

}  // namespace
}  // namespace podpass::token
