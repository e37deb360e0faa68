#include <benchmark/benchmark.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include <ctime>

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

  const crypto::KeyPair pair;
  std::vector<Secret> others;  // tokens to be verified; not a few, so that their keys and times are in nobody's cache

  explicit Issuing(crypto::KeyType type)
      : ring(std::make_shared<const KeyRing>(
            std::vector{std::make_shared<const jose::Key>(*jose::makeKey(*crypto::KeyPair::generate(type)))})),
        pair(ring.load()->signer().key) {
    for (int i = 0; i < 256; ++i) others.push_back(*token(-i));
  }
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

// What `openssl speed` does in its loops (apps/speed.c): one context for all, and a short input that stands for a digest. No hash, no
// encoding, no allocation. With a copy of the key: who shares one also pays for the other's blinding, which is renewed every 32 signatures.
class OpensslSpeed {
 public:
  explicit OpensslSpeed(const crypto::KeyPair& pair) : key_(EVP_PKEY_dup(pair.native())), isEd_(EVP_PKEY_is_a(key_, "ED25519") == 1) {
    input_.resize(EVP_PKEY_is_a(key_, "RSA") == 1 ? 36 : 20, 'x');
    signature_.resize(static_cast<std::size_t>(EVP_PKEY_get_size(key_)));
    digest_ = EVP_MD_CTX_new();
    signing_ = EVP_PKEY_CTX_new(key_, nullptr);
    verifying_ = EVP_PKEY_CTX_new(key_, nullptr);
    if (isEd_) {
      EVP_DigestSignInit(digest_, nullptr, nullptr, nullptr, key_);
    } else {
      EVP_PKEY_sign_init(signing_);
      EVP_PKEY_verify_init(verifying_);
    }
    sign();
    if (!verify()) std::abort();
  }
  OpensslSpeed(const OpensslSpeed&) = delete;
  OpensslSpeed& operator=(const OpensslSpeed&) = delete;
  ~OpensslSpeed() {
    EVP_PKEY_CTX_free(verifying_);
    EVP_PKEY_CTX_free(signing_);
    EVP_MD_CTX_free(digest_);
    EVP_PKEY_free(key_);
  }

  void sign() {
    length_ = signature_.size();
    if (isEd_) {
      EVP_DigestSignInit(digest_, nullptr, nullptr, nullptr, nullptr);
      EVP_DigestSign(digest_, signature_.data(), &length_, input_.data(), input_.size());
    } else {
      EVP_PKEY_sign(signing_, signature_.data(), &length_, input_.data(), input_.size());
    }
  }
  [[nodiscard]] bool verify() {
    if (!isEd_) return EVP_PKEY_verify(verifying_, signature_.data(), length_, input_.data(), input_.size()) == 1;
    EVP_DigestVerifyInit(digest_, nullptr, nullptr, nullptr, nullptr);
    return EVP_DigestVerify(digest_, signature_.data(), length_, input_.data(), input_.size()) == 1;
  }

 private:
  EVP_PKEY* key_;
  const bool isEd_;
  EVP_MD_CTX* digest_;
  EVP_PKEY_CTX *signing_, *verifying_;
  std::vector<unsigned char> input_, signature_;
  std::size_t length_ = 0;
};

double processorSeconds() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

constexpr int kTurn = 16;  // calls; to read the clock costs something

template <class Work>
double turn(Work& work) {
  const double began = processorSeconds();
  for (int i = 0; i < kTurn; ++i) work();
  return processorSeconds() - began;
}

// In turns, so that a machine that is busy elsewhere is so for both; and by the processor's time, as `openssl speed` does it.
template <class Theirs, class Ours>
void compare(benchmark::State& state, Theirs theirs, Ours ours) {
  double openssl = 0, podpass = 0;
  for (auto _ : state) {
    openssl += turn(theirs);
    const double took = turn(ours);
    state.SetIterationTime(took);
    podpass += took;
  }
  const double calls = static_cast<double>(state.iterations()) * kTurn;
  state.counters["podpass/s"] = calls / podpass;
  state.counters["openssl/s"] = calls / openssl;
  state.counters["ratio,%"] = 100 * openssl / podpass;
}

template <crypto::KeyType Type>
void BM_Issue(benchmark::State& state) {
  const Issuing& all = issuing<Type>();
  OpensslSpeed speed(all.pair);
  int number = 0;
  compare(
      state, [&] { speed.sign(); }, [&] { benchmark::DoNotOptimize(all.token(++number)); });
}

// Tokens that the verifier sees for the first time.
template <crypto::KeyType Type>
void BM_VerifyUnseen(benchmark::State& state) {
  Issuing& all = issuing<Type>();
  OpensslSpeed speed(all.pair);
  std::size_t next = 0;
  const auto verify = [&] {
    if (next == all.others.size()) {  // another ring of the same keys: what was cached counts no more
      next = 0;
      all.ring.store(std::make_shared<const KeyRing>(all.ring.load()->keys()));
    }
    if (!all.verifier.verify(all.others[next++].reveal(), {})) std::abort();
  };
  const std::uint64_t known = all.verifier.uses().known;
  all.ring.store(std::make_shared<const KeyRing>(all.ring.load()->keys()));
  compare(
      state, [&] { benchmark::DoNotOptimize(speed.verify()); }, verify);
  if (all.verifier.uses().known != known) std::abort();
}

template <crypto::KeyType Type>
void BM_VerifyRepeated(benchmark::State& state) {
  const Issuing& all = issuing<Type>();
  for (auto _ : state) benchmark::DoNotOptimize(all.verifier.verify(all.others.front().reveal(), {}));
  state.SetItemsProcessed(state.iterations());
}

template <crypto::KeyType Type>
int all(const std::string& name) {
  benchmark::RegisterBenchmark(("issue " + name).c_str(), BM_Issue<Type>)->UseManualTime();
  benchmark::RegisterBenchmark(("verify unseen " + name).c_str(), BM_VerifyUnseen<Type>)->UseManualTime();
  benchmark::RegisterBenchmark(("verify repeated " + name).c_str(), BM_VerifyRepeated<Type>);
  return 0;
}

const int kRegistered = all<crypto::KeyType::Rsa2048>("RS256") + all<crypto::KeyType::Rsa3072>("RS256-3072") +
                        all<crypto::KeyType::Rsa4096>("RS256-4096") + all<crypto::KeyType::P256>("ES256") +
                        all<crypto::KeyType::P384>("ES384") + all<crypto::KeyType::P521>("ES512") + all<crypto::KeyType::Ed25519>("EdDSA");

}  // namespace
}  // namespace podpass::token
