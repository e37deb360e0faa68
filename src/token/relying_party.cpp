#include "token/relying_party.h"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <condition_variable>
#include <map>
#include <mutex>

#include "base/log.h"
#include "base/offload.h"
#include "base/text.h"
#include "base/waiting_caller.h"
#include "token/issuer_documents.h"

namespace podpass::token {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using std::chrono::steady_clock;

constexpr std::chrono::milliseconds kFetchTime = 5s;  // for both documents
constexpr std::chrono::seconds kFloor = 10s;          // between two fetches of one issuer
constexpr std::chrono::hours kLastResort{24};         // for which old keys serve while the issuer cannot be reached

// Opened once; whoever waits, on whatever executor, goes on then.
class Gate {
 public:
  asio::awaitable<void> wait() {
    auto enter = [this](auto answer) { add(std::move(answer)); };
    co_await asio::async_initiate<const asio::use_awaitable_t<>, void()>(std::move(enter), asio::use_awaitable);
  }
  void open() {
    std::vector<std::function<void()>> waiting;
    {
      const std::lock_guard lock(mutex_);
      open_ = true;
      waiting.swap(waiting_);
    }
    for (const auto& goOn : waiting) goOn();
  }

 private:
  template <class Answer>
  void add(Answer answer) {
    std::function<void()> goOn = [caller = std::make_shared<WaitingCaller<Answer>>(std::move(answer))] { caller->goOn(); };
    const std::lock_guard lock(mutex_);
    if (open_)
      goOn();
    else
      waiting_.push_back(std::move(goOn));
  }

  std::mutex mutex_;
  bool open_ = false;
  std::vector<std::function<void()>> waiting_;
};

using Keys = std::vector<jose::Key>;

// A registered issuer and what is known of its keys.
struct Known {
  explicit Known(TrustedIssuer trusted) : issuer(std::move(trusted)) {}
  const TrustedIssuer issuer;

  std::mutex mutex;  // for all below
  std::shared_ptr<const Keys> keys;
  SteadyTime fetched{}, freshUntil{};
  std::optional<SteadyTime> asked;  // when the last fetch began
  Error trouble;                    // of the last fetch, if it failed
  std::shared_ptr<Gate> fetching;   // null: no fetch is under way
};
using KnownPtr = std::shared_ptr<Known>;

// Why a document could not be fetched.
Obstacle obstacleOf(const Error& error) {
  const auto certificate = [](const Cause& cause) { return cause.reason == http::kCertificateRefused; };
  if (std::any_of(error.causes.begin(), error.causes.end(), certificate)) return Obstacle::Certificate;
  return error.reason == Reason::Unavailable || error.reason == Reason::Timeout ? Obstacle::Unreachable : Obstacle::None;
}

bool holds(const Keys& keys, const std::string& kid) {
  return std::any_of(keys.begin(), keys.end(), [&](const jose::Key& key) { return key.kid == kid; });
}

}  // namespace

class RelyingParty::Issuers : public std::enable_shared_from_this<Issuers> {
 public:
  Issuers(asio::thread_pool& pool, const Clock& clock, http::AddressRules rules)
      : pool_(pool), clock_(clock), rules_(std::move(rules)), client_(clientOptions()) {}

  Result<void> trust(std::vector<TrustedIssuer> issuers) {
    std::map<std::string, KnownPtr> next;
    for (TrustedIssuer& issuer : issuers) {
      if (Result<void> usable = checkIssuerUrl(issuer.url, issuer.plainLoopback); !usable) return usable;
      const std::string url = issuer.url;
      auto known = std::make_shared<Known>(std::move(issuer));
      if (!known->issuer.jwks.empty()) {
        Result<Keys> keys = jose::parseJwks(known->issuer.jwks);
        if (!keys) return Error{Reason::BadRequest, "the JWKS given for " + url + " cannot be used: " + keys.error().sentence};
        known->keys = std::make_shared<const Keys>(*std::move(keys));
      }
      if (!next.emplace(url, std::move(known)).second) return Error{Reason::BadRequest, "the issuer " + url + " is given twice"};
    }
    const std::lock_guard lock(mutex_);
    for (auto& [url, known] : next)
      if (const auto before = known_.find(url); before != known_.end() && before->second->issuer == known->issuer) known = before->second;
    known_ = std::move(next);
    return {};
  }

  asio::awaitable<Result<VerifiedToken>> verify(std::string compact) {
    Result<PresentedToken> token = parseToken(compact);
    if (!token) co_return token.error();
    const KnownPtr known = find(token->issuer);
    if (!known)
      co_return refusal({"issuer", "a registered issuer", token->issuer}, "the issuer " + quoted(token->issuer) + " is not registered here",
                        {}, Reason::NotFound);
    if (Result<void> good = checkClaims(*token, known->issuer, clock_.nowFor(std::chrono::seconds(token->issuedAt))); !good)
      co_return good.error();
    Result<std::shared_ptr<const Keys>> keys = co_await keysFor(known, token->jws.kid);
    if (!keys) co_return keys.error();
    auto check = [token = *std::move(token), keys = *std::move(keys)]() mutable { return checkSignature(std::move(token), *keys); };
    co_return co_await offload(pool_, std::move(check));
  }

  void forget() {
    const std::lock_guard lock(mutex_);
    for (const auto& [url, known] : known_) {
      const std::lock_guard one(known->mutex);
      known->asked.reset();
      if (known->issuer.jwks.empty()) known->keys = nullptr;
    }
  }

  // Ends the fetches that are under way.
  void stop() {
    client_.stop();
    std::unique_lock lock(mutex_);
    noneFetching_.wait(lock, [this] { return fetches_ == 0; });
  }

 private:
  http::ClientOptions clientOptions() const {
    http::ClientOptions options;
    options.connectionsPerHost = 2;
    options.allowed = [this](const asio::ip::address& address) { return rules_.allows(address); };
    return options;
  }

  KnownPtr find(const std::string& url) {
    const std::lock_guard lock(mutex_);
    const auto found = known_.find(url);
    return found == known_.end() ? nullptr : found->second;
  }

  asio::awaitable<Result<std::shared_ptr<const Keys>>> keysFor(KnownPtr known, std::string kid) {
    for (bool waited = false;; waited = true) {
      std::shared_ptr<Gate> gate;
      bool first = false;
      {
        const std::lock_guard lock(known->mutex);
        if (known->keys && !known->issuer.jwks.empty()) co_return known->keys;
        const SteadyTime now = clock_.steady();
        if (known->keys && now < known->freshUntil && holds(*known->keys, kid)) co_return known->keys;
        const bool tooSoon = !known->fetching && known->asked && now < *known->asked + kFloor;
        if (waited || tooSoon) {
          if (known->keys && now < known->fetched + kLastResort) co_return known->keys;
          co_return known->trouble;
        }
        first = !known->fetching;
        if (first) {
          known->fetching = std::make_shared<Gate>();
          known->asked = now;
        }
        gate = known->fetching;
      }
      if (first) startFetch(known);
      co_await gate->wait();
    }
  }

  // Nobody's coroutine but its own: who asked first may be cancelled, the others still wait.
  void startFetch(const KnownPtr& known) {
    {
      const std::lock_guard lock(mutex_);
      ++fetches_;
    }
    auto over = [self = shared_from_this(), known](std::exception_ptr failed) {
      if (failed) self->finish(*known, Error{Reason::Unavailable, "the fetch broke off"}, {}, Obstacle::Unreachable);  // memory ran out
      const std::lock_guard lock(self->mutex_);
      if (--self->fetches_ == 0) self->noneFetching_.notify_all();
    };
    asio::co_spawn(pool_, fetch(known), std::move(over));
  }

  asio::awaitable<void> fetch(KnownPtr known) {
    std::chrono::seconds life{};
    Obstacle obstacle = Obstacle::None;
    Result<Keys> keys = co_await download(known, life, obstacle);
    finish(*known, std::move(keys), life, obstacle);
  }

  // Writes down what came of a fetch, and lets those go on who wait for it.
  void finish(Known& known, Result<Keys> keys, std::chrono::seconds life, Obstacle obstacle) {
    std::shared_ptr<Gate> gate;
    {
      const std::lock_guard lock(known.mutex);
      gate = std::exchange(known.fetching, nullptr);
      if (keys) {
        known.keys = std::make_shared<const Keys>(*std::move(keys));
        known.fetched = clock_.steady();
        known.freshUntil = known.fetched + life;
      } else {
        known.trouble = refusal({"discovery", "the issuer's keys", keys.error().sentence, obstacle},
                                "the keys of the issuer " + quoted(known.issuer.url) + " could not be fetched: " + keys.error().sentence,
                                keys.error().fix, Reason::Unavailable);
        log::warn("issuer's keys not fetched", {{"issuer", known.issuer.url}, {"err", log::chain(keys.error())}});
      }
    }
    if (gate) gate->open();
  }

  asio::awaitable<Result<Keys>> download(KnownPtr known, std::chrono::seconds& life, Obstacle& obstacle) {
    const SteadyTime deadline = steady_clock::now() + kFetchTime;
    http::FetchOptions options;
    options.headers.add("Accept", "application/json, application/jwk-set+json");
    options.maxBody = kMaxIssuerDocument;
    options.caPem = known->issuer.caPem;
    options.thumbprints = known->issuer.thumbprints;
    options.timeout = kFetchTime;
    Result<http::Fetched> document = co_await client_.send(discoveryUrl(known->issuer.url), options);
    if (!document) {
      obstacle = obstacleOf(document.error());
      co_return document.error();
    }
    Result<std::string> uri = jwksUriOf(*document, known->issuer);
    if (!uri) co_return uri.error();
    options.timeout = std::chrono::ceil<std::chrono::milliseconds>(deadline - steady_clock::now());
    options.allowed = [this, from = http::reachOf(document->from)](const asio::ip::address& address) {
      return rules_.mayLeadTo(address, from);
    };
    Result<http::Fetched> jwks = co_await client_.send(*uri, options);
    if (!jwks) {
      obstacle = obstacleOf(jwks.error());
      co_return jwks.error();
    }
    life = cacheLife(jwks->headers);
    co_return keysOf(*jwks);
  }

  asio::thread_pool& pool_;
  const Clock& clock_;
  const http::AddressRules rules_;
  http::Client client_;
  std::mutex mutex_;  // for all below
  std::map<std::string, KnownPtr> known_;
  int fetches_ = 0;
  std::condition_variable noneFetching_;
};

RelyingParty::RelyingParty(asio::thread_pool& pool, const Clock& clock, http::AddressRules rules)
    : issuers_(std::make_shared<Issuers>(pool, clock, std::move(rules))) {}

RelyingParty::~RelyingParty() { stop(); }

void RelyingParty::stop() { issuers_->stop(); }

Result<void> RelyingParty::trust(std::vector<TrustedIssuer> issuers) { return issuers_->trust(std::move(issuers)); }

void RelyingParty::forget() { issuers_->forget(); }

asio::awaitable<Result<VerifiedToken>> RelyingParty::verify(std::string token) { return issuers_->verify(std::move(token)); }

}  // namespace podpass::token
