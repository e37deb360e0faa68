#include "token/external_signer.h"

#include <external_jwt_signer.grpc.pb.h>
#include <external_jwt_signer_alpha.grpc.pb.h>
#include <grpcpp/grpcpp.h>

#include "base/log.h"
#include "base/text.h"
#include "token/external_signer_answers.h"

namespace podpass::token {
namespace {

namespace wire = ::v1;
namespace alpha = ::v1alpha1;
using namespace std::chrono_literals;

constexpr auto kMetadataLimit = 10s, kFirstFetchLimit = 60s, kSignLimit = 10s, kFetchLimit = 10s, kFetchForLimit = 2s;
constexpr auto kRetry = 10s;      // after a failed fetch
constexpr auto kFetchPause = 1s;  // between two for unknown keys
constexpr int kLargestMessage = 1 << 20;
constexpr std::array<const char*, 17> kCodes{"OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
                                             "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
                                             "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
                                             "DataLoss", "Unauthenticated"};

const char* codeName(grpc::StatusCode code) {
  const auto at = static_cast<std::size_t>(code);
  return at < kCodes.size() ? kCodes[at] : "Unknown";
}

enum class Method { Sign, FetchKeys, Metadata };
constexpr std::array<const char*, 3> kMethods{"Sign", "FetchKeys", "Metadata"};

// Calls by method and code, and their times in the buckets that kube-apiserver uses.
class Calls {
 public:
  void count(Method method, grpc::StatusCode code, std::chrono::nanoseconds took) {
    Series& series = all_[static_cast<std::size_t>(method)][std::min<std::size_t>(static_cast<std::size_t>(code), kCodes.size() - 1)];
    const double seconds = std::chrono::duration<double>(took).count();
    for (std::size_t i = 0; i < kBuckets.size(); ++i)
      if (seconds <= kBuckets[i]) series.buckets[i].fetch_add(1, std::memory_order_relaxed);
    series.nanoseconds.fetch_add(static_cast<std::uint64_t>(took.count()), std::memory_order_relaxed);
    series.calls.fetch_add(1, std::memory_order_relaxed);
  }

  [[nodiscard]] std::string text() const {
    std::string out;
    counter(out, "apiserver_externaljwt_sign_request_total", "Attempts to sign a token.", Method::Sign);
    counter(out, "apiserver_externaljwt_fetch_keys_request_total", "Attempts to fetch the keys.", Method::FetchKeys);
    const std::string name = "apiserver_externaljwt_request_duration_seconds";
    out += "# HELP " + name + " How long the signer took.\n# TYPE " + name + " histogram\n";
    each([&](std::size_t method, std::size_t code, const Series& series) {
      const std::string labels = std::string("method=\"") + kMethods[method] + "\",code=\"" + kCodes[code] + "\"";
      for (std::size_t i = 0; i < kBuckets.size(); ++i) {
        char bound[32];
        std::snprintf(bound, sizeof bound, "%g", kBuckets[i]);
        out += name + "_bucket{" + labels + ",le=\"" + bound + "\"} " + std::to_string(series.buckets[i].load()) + "\n";
      }
      out += name + "_bucket{" + labels + ",le=\"+Inf\"} " + std::to_string(series.calls.load()) + "\n";
      out += name + "_sum{" + labels + "} " + std::to_string(static_cast<double>(series.nanoseconds.load()) / 1e9) + "\n";
      out += name + "_count{" + labels + "} " + std::to_string(series.calls.load()) + "\n";
    });
    return out;
  }

 private:
  static constexpr std::array<double, 9> kBuckets{0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.128, 1, 10};
  struct Series {
    std::atomic<std::uint64_t> calls = 0, nanoseconds = 0;
    std::array<std::atomic<std::uint64_t>, kBuckets.size()> buckets{};
  };
  template <class Visit>
  void each(Visit visit) const {
    for (std::size_t method = 0; method < all_.size(); ++method)
      for (std::size_t code = 0; code < kCodes.size(); ++code)
        if (all_[method][code].calls.load() > 0) visit(method, code, all_[method][code]);
  }
  void counter(std::string& out, const std::string& name, const char* help, Method wanted) const {
    out += "# HELP " + name + " " + help + "\n# TYPE " + name + " counter\n";
    each([&](std::size_t method, std::size_t code, const Series& series) {
      if (method == static_cast<std::size_t>(wanted))
        out += name + "{code=\"" + kCodes[code] + "\"} " + std::to_string(series.calls.load()) + "\n";
    });
  }
  std::array<std::array<Series, kCodes.size()>, 3> all_{};
};

std::vector<OfferedKey> offeredIn(const wire::FetchKeysResponse& response) {
  std::vector<OfferedKey> offered;
  for (const wire::Key& key : response.keys()) offered.push_back({key.key_id(), key.key(), key.exclude_from_oidc_discovery()});
  return offered;
}

bool isSame(const KeyRing& a, const KeyRing& b) {
  const auto same = [&](const KeyPtr& x, const KeyPtr& y) {
    return x->kid == y->kid && a.isPublished(x->kid) == b.isPublished(y->kid) && x->key.publicDer() == y->key.publicDer();
  };
  return std::equal(a.keys().begin(), a.keys().end(), b.keys().begin(), b.keys().end(), same);
}

}  // namespace

struct ExternalSigner::Parts {
  explicit Parts(const std::string& path) : socket(path) {
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(kLargestMessage);
    arguments.SetString(GRPC_ARG_DEFAULT_AUTHORITY, "localhost");
    arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
    arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 5000);  // the time that one attempt has
    arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    channel = grpc::CreateCustomChannel("unix:" + socket, grpc::InsecureChannelCredentials(), arguments);
    current = wire::ExternalJWTSigner::NewStub(channel);
    older = alpha::ExternalJWTSigner::NewStub(channel);
  }

  const std::string socket;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<wire::ExternalJWTSigner::Stub> current;
  std::unique_ptr<alpha::ExternalJWTSigner::Stub> older;
  std::atomic<bool> speaksAlpha = false;
  Calls calls;
  Snapshot<KeyRing> ring;
  std::chrono::seconds maxLife{0};
  std::atomic<std::int64_t> fetchedAt = 0, dataAt = 0;             // wall, seconds
  std::atomic<std::chrono::steady_clock::time_point> refreshAt{};  // when the signer wants to be asked again

  std::timed_mutex fetching;  // one fetch at a time
  std::atomic<std::uint64_t> fetches = 0;
  std::atomic<std::chrono::steady_clock::time_point> nextForUnknown{};

  std::mutex mutex;  // guards those below
  std::condition_variable wake;
  std::set<grpc::ClientContext*> running;
  bool stopping = false;
  std::thread thread;

  template <class Response, class Call>
  grpc::Status once(Method method, std::chrono::milliseconds within, Response& response, Call call) {
    grpc::ClientContext context;
    context.set_wait_for_ready(true);
    context.set_deadline(std::chrono::system_clock::now() + within);
    {
      const std::lock_guard lock(mutex);
      if (stopping) return {grpc::StatusCode::CANCELLED, "podpass is stopping"};
      running.insert(&context);
    }
    const auto began = std::chrono::steady_clock::now();
    const grpc::Status status = call(context, response);
    calls.count(method, status.error_code(), std::chrono::steady_clock::now() - began);
    const std::lock_guard lock(mutex);
    running.erase(&context);
    return status;
  }

  // A unary call under the name that the signer knows the service by; it may be another after the signer was replaced.
  template <class Request, class Response>
  Result<Response> call(Method method, std::chrono::milliseconds within, const Request& request,
                        grpc::Status (wire::ExternalJWTSigner::Stub::*now)(grpc::ClientContext*, const Request&, Response*),
                        grpc::Status (alpha::ExternalJWTSigner::Stub::*before)(grpc::ClientContext*, const Request&, Response*)) {
    grpc::Status status;
    for (int attempt = 0; attempt < 2; ++attempt) {
      Response response;
      const bool old = speaksAlpha;
      status = once(method, within, response, [&](grpc::ClientContext& context, Response& answer) {
        return old ? ((*older).*before)(&context, request, &answer) : ((*current).*now)(&context, request, &answer);
      });
      if (status.ok()) return response;
      if (status.error_code() == grpc::StatusCode::UNIMPLEMENTED)
        speaksAlpha = !old;
      else if (status.error_code() != grpc::StatusCode::UNAVAILABLE)  // the connection broke under the call: wait for the next one
        break;
    }
    const bool away = status.error_code() == grpc::StatusCode::UNAVAILABLE || status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED;
    return Error{Reason::Unavailable,
                 std::string("rpc error: code = ") + codeName(status.error_code()) + " desc = " + status.error_message().substr(0, 512),
                 away ? "is the external signer running, and listening on " + socket + "?" : "look at the external signer"};
  }

  // The caller holds `fetching`.
  Result<void> fetch(std::chrono::milliseconds within) {
    const Result<wire::FetchKeysResponse> response = call<wire::FetchKeysRequest, wire::FetchKeysResponse>(
        Method::FetchKeys, within, {}, &wire::ExternalJWTSigner::Stub::FetchKeys, &alpha::ExternalJWTSigner::Stub::FetchKeys);
    const auto failed = [](const Error& error) { return Error{error.reason, "while fetching keys: " + error.sentence, error.fix}; };
    if (!response) return failed(response.error());
    const Result<std::chrono::seconds> hint = checkRefreshHint(response->refresh_hint_seconds());
    if (!hint) return failed(hint.error());
    const std::int64_t at = response->data_timestamp().seconds();
    if (!response->has_data_timestamp() || at < 0 || at > 253'402'300'799 || response->data_timestamp().nanos() < 0 ||
        response->data_timestamp().nanos() > 999'999'999)
      return failed(Error{Reason::Unavailable, "found invalid data timestamp", "look at the external signer"});
    Result<KeyRing> next = ringOf(offeredIn(*response));
    if (!next) return failed(next.error());
    dataAt = at;
    fetchedAt = std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
    refreshAt = std::chrono::steady_clock::now() + *hint;
    ++fetches;
    const std::shared_ptr<const KeyRing> present = ring.load();
    if (present && isSame(*present, *next)) return {};  // what was proven under it stays proven
    if (present) log::info("external signer's keys changed", {{"count", std::to_string(next->keys().size())}});
    ring.store(std::make_shared<const KeyRing>(*std::move(next)));
    return {};
  }

  // Fetches, or waits for the fetch that somebody else began meanwhile.
  Result<void> fetchJoined(std::chrono::milliseconds within) {
    const std::uint64_t before = fetches;
    const std::unique_lock lock(fetching, within);
    if (!lock) return Error{Reason::Unavailable, "the external signer is slow to tell its keys"};
    return fetches != before ? Result<void>() : fetch(within);
  }

  void run() {
    std::chrono::steady_clock::time_point next = refreshAt;
    for (;;) {
      {
        std::unique_lock lock(mutex);
        if (wake.wait_until(lock, next, [&] { return stopping; })) return;
      }
      next = refreshAt;
      if (next > std::chrono::steady_clock::now()) continue;  // somebody else has fetched
      const Result<void> done = fetchJoined(kFetchLimit);
      if (!done) log::error("when syncing supported public keys(Stale set of keys will be supported)", {{"err", log::chain(done.error())}});
      next = done ? refreshAt.load() : std::chrono::steady_clock::now() + kRetry;
    }
  }
};

ExternalSigner::ExternalSigner(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
ExternalSigner::~ExternalSigner() { stop(); }

Result<std::unique_ptr<ExternalSigner>> ExternalSigner::connect(const std::string& socket) {
  std::unique_ptr<ExternalSigner> signer(new ExternalSigner(std::make_unique<Parts>(socket)));
  const Result<wire::MetadataResponse> metadata = signer->parts_->call<wire::MetadataRequest, wire::MetadataResponse>(
      Method::Metadata, kMetadataLimit, {}, &wire::ExternalJWTSigner::Stub::Metadata, &alpha::ExternalJWTSigner::Stub::Metadata);
  if (!metadata) return Error{metadata.error().reason, "while fetching metadata: " + metadata.error().sentence, metadata.error().fix};
  const Result<std::chrono::seconds> life = checkMaxTokenLife(metadata->max_token_expiration_seconds());
  if (!life) return life.error();
  signer->parts_->maxLife = *life;
  if (Result<void> fetched = signer->parts_->fetchJoined(kFirstFetchLimit); !fetched) return fetched.error();
  return signer;
}

void ExternalSigner::start() {
  parts_->thread = std::thread([parts = parts_.get()] { parts->run(); });
}

void ExternalSigner::stop() {
  {
    const std::lock_guard lock(parts_->mutex);
    parts_->stopping = true;
    for (grpc::ClientContext* context : parts_->running) context->TryCancel();
    parts_->wake.notify_all();
  }
  if (parts_->thread.joinable()) parts_->thread.join();
}

Result<Secret> ExternalSigner::sign(std::string_view payload) {
  wire::SignJWTRequest request;
  request.set_claims(base64UrlEncode(payload));
  const Result<wire::SignJWTResponse> response = parts_->call<wire::SignJWTRequest, wire::SignJWTResponse>(
      Method::Sign, kSignLimit, request, &wire::ExternalJWTSigner::Stub::Sign, &alpha::ExternalJWTSigner::Stub::Sign);
  if (!response) return Error{response.error().reason, "while signing jwt: " + response.error().sentence, response.error().fix};
  const Result<std::string> kid = keyIdOfHeader(response->header());
  if (!kid) return kid.error();
  if (parts_->ring.load()->find(*kid) == nullptr)  // it signs with a key that we have not heard of
    if (Result<void> fetched = parts_->fetchJoined(kFetchLimit); !fetched) return fetched.error();
  return assembleToken(*parts_->ring.load(), response->header(), request.claims(), response->signature());
}

const Snapshot<KeyRing>& ExternalSigner::ring() const { return parts_->ring; }
std::chrono::seconds ExternalSigner::maxTokenLife() const { return parts_->maxLife; }

std::chrono::seconds ExternalSigner::untilRefresh() const {
  const auto left = std::chrono::duration_cast<std::chrono::seconds>(parts_->refreshAt.load() - std::chrono::steady_clock::now());
  return std::max(left, 0s);
}

bool ExternalSigner::fetchFor(const std::string& kid) {
  const auto now = std::chrono::steady_clock::now();
  const std::unique_lock lock(parts_->fetching, std::try_to_lock);
  if (!lock || now < parts_->nextForUnknown.load()) return false;
  parts_->nextForUnknown = now + kFetchPause;
  if (const Result<void> fetched = parts_->fetch(kFetchForLimit); !fetched)
    log::warn("keys not fetched for a token of an unknown key", {{"err", log::chain(fetched.error())}});
  return parts_->ring.load()->find(kid) != nullptr;
}

std::string ExternalSigner::metrics() const {
  std::string out = parts_->calls.text();
  const auto gauge = [&](const char* name, const char* help, std::int64_t value) {
    out += std::string("# HELP ") + name + " " + help + "\n# TYPE " + name + " gauge\n" + name + " " + std::to_string(value) + "\n";
  };
  gauge("apiserver_externaljwt_fetch_keys_success_timestamp", "When the keys were fetched last.", parts_->fetchedAt);
  gauge("apiserver_externaljwt_fetch_keys_data_timestamp", "How old the keys are that were fetched last.", parts_->dataAt);
  return out;
}

}  // namespace podpass::token
