#include "irsa/webhook.h"

#include <algorithm>
#include <cstdio>
#include <random>

#include "base/log.h"
#include "irsa/container_json.h"

namespace podpass::irsa {
namespace {

http::Response textResponse(int status, std::string text, const char* type = "text/plain; charset=utf-8") {
  http::Response response;
  response.status = status;
  response.headers.add("Content-Type", type);
  response.body = std::make_shared<const std::string>(std::move(text));
  return response;
}

http::Response jsonResponse(std::string text, int status = 200) { return textResponse(status, std::move(text), "application/json"); }

// As Go's url.ParseQuery judges it.
bool malformedQuery(std::string_view query) {
  const auto hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); };
  for (std::size_t i = 0; i < query.size(); ++i) {
    if (query[i] == ';') return true;
    if (query[i] == '%' && (i + 2 >= query.size() || !hex(query[i + 1]) || !hex(query[i + 2]))) return true;
  }
  return false;
}

std::string_view pathLabel(std::string_view path) {
  for (const std::string_view known : {"/mutate", "/healthz", "/readyz", "/metrics", "/debug/alpha/deny", "/debug/alpha/500",
                                       "/debug/alpha/cache", "/debug/alpha/cache/clear"})
    if (path == known) return known;
  return "other";
}

std::int64_t randomJitter() {
  thread_local std::mt19937_64 generator(std::random_device{}());
  return std::uniform_int_distribution<std::int64_t>(0, kJitter)(generator);
}

std::string nameOf(const PodView& pod) { return std::string(pod.name.empty() ? pod.generateName : pod.name); }

constexpr std::size_t kWarningLimit = 256;  // API servers cut longer ones

std::string warning(std::string text) {
  if (text.size() > kWarningLimit) text = text.substr(0, kWarningLimit - 3) + "...";
  return "pod identity: " + text;
}

// A volume that is given already is not given twice, but its injection may say more in the environment: which endpoint, which CA.
void addEnvironment(Injection& given, const Injection& more) {
  for (const VariableGroup& group : more.environment) {
    const auto says = [&group](const Variable& variable) {
      return std::find(group.names.begin(), group.names.end(), variable.name) != group.names.end();
    };
    const auto overlaps = [&says](const VariableGroup& other) { return std::any_of(other.variables.begin(), other.variables.end(), says); };
    if (std::none_of(given.environment.begin(), given.environment.end(), overlaps)) given.environment.push_back(group);
  }
}

}  // namespace

struct Webhook::Decision {
  enum class Method { None, WebIdentity, ContainerCredentials } method = Method::None;
  std::vector<Injection> injections = {};
  std::vector<std::string> warnings = {};
  std::string denial = {};  // not empty: the pod asks for what it cannot have
};

struct Webhook::Answer {
  enum class Outcome { Denied, Untouched, Mutated };
  std::string text;  // the AdmissionReview
  Outcome outcome;
  std::string said;  // for the log
};

namespace {

// The line that an operator finds a pod by; as the Amazon EKS webhook, only with -v 3, but for a refusal. Nothing of the object but its
// name.
void logAdmission(const AdmissionReview& review, const std::string& said, bool denied, bool mutated, std::chrono::microseconds took) {
  char milliseconds[32];
  std::snprintf(milliseconds, sizeof milliseconds, "%.3f", static_cast<double>(took.count()) / 1000);
  (denied ? log::warn : log::debug)(said, {{"uid", std::string(review.uid())},
                                           {"ns", std::string(review.ns())},
                                           {"name", nameOf(review.pod())},
                                           {"serviceaccount", std::string(review.pod().serviceAccount)},
                                           {"verb", std::string(review.operation())},
                                           {"allowed", denied ? "false" : "true"},
                                           {"mutated", mutated ? "true" : "false"},
                                           {"took_ms", milliseconds}});
}

}  // namespace

Webhook::Webhook(WebhookOptions options, WebhookSources& sources, LiveReads::Read read)
    : options_(std::move(options)), sources_(sources), reads_(std::move(read)) {}

Webhook::Decision Webhook::decideForAws(std::string_view ns, const PodView& pod, const std::optional<Account>& account) const {
  Decision decision;
  const std::shared_ptr<const IdentityMap> map = sources_.identityMap.load();
  const std::string key = accountKey(ns, pod.serviceAccount);
  if (sources_.credentials.load()->contains(key) || sources_.associations.load()->contains(key)) {
    std::optional<RoleSettings> role;
    if (account) role = account->role;
    if (const auto entry = map->find(key); !role && entry != map->end()) role = entry->second;
    decision.method = Decision::Method::ContainerCredentials;
    decision.injections.push_back(containerCredentials(role, pod, options_.aws, randomJitter()));
    if (options_.warn)
      decision.warnings.push_back(warning(key + " gets container credentials from " + options_.aws.containerCredentialsFullUri));
    if (options_.credentialsNeedPodNetwork && pod.hostNetwork)
      decision.warnings.push_back(warning("a pod with hostNetwork does not reach " + options_.aws.containerCredentialsFullUri +
                                          ": serve it with --container-credentials"));
    return decision;
  }
  const RoleSettings* role = account && !account->role.roleArn.empty() ? &account->role : findIdentity(*map, ns, pod.serviceAccount);
  if (role == nullptr || role->roleArn.empty()) return decision;
  decision.method = Decision::Method::WebIdentity;
  decision.injections.push_back(webIdentity(*role, pod, options_.aws));
  if (!isRoleArn(role->roleArn)) {
    log::warn("arn is invalid: " + role->roleArn, {{"ns", std::string(ns)}, {"name", std::string(pod.serviceAccount)}});
    if (options_.warn) decision.warnings.push_back(warning("the role of " + key + " is not an IAM role ARN: " + role->roleArn));
  } else if (options_.warn) {
    decision.warnings.push_back(warning(key + " may assume " + role->roleArn + " with the token for " + role->audience));
  }
  return decision;
}

Webhook::Decision Webhook::decide(std::string_view ns, const PodView& pod, const std::optional<Account>& account) const {
  Decision decision = decideForAws(ns, pod, account);
  inject(decision, ns, pod, account);
  return decision;
}

// What TokenInjections add to AWS's methods.
void Webhook::inject(Decision& decision, std::string_view ns, const PodView& pod, const std::optional<Account>& account) const {
  const std::shared_ptr<const std::vector<TokenInjection>> injections = sources_.injections.load();
  if (injections->empty()) return;
  boost::system::error_code none;
  const json::value annotations = account && !account->annotations.empty() ? json::parse(account->annotations, none) : json::value();
  for (const TokenInjection& each : *injections) {
    Result<std::optional<Injection>> made = each.injectionFor(ns, pod, annotations.if_object(), randomJitter());
    if (!made) decision.denial = made.error().sentence;
    if (!made || !*made) continue;
    std::optional<Injection>& injection = *made;
    const auto same = [&injection](const Injection& other) { return other.volume == injection->volume; };
    if (const auto given = std::find_if(decision.injections.begin(), decision.injections.end(), same); given != decision.injections.end()) {
      addEnvironment(*given, *injection);
      continue;
    }
    if (options_.warn) decision.warnings.push_back(warning("TokenInjection " + each.name() + " gave a token for " + injection->audience));
    decision.injections.push_back(*std::move(injection));
  }
}

std::vector<Injection> Webhook::injectionsFor(std::string_view ns, const PodView& pod) const {
  return decide(ns, pod, sources_.accounts.find(ns, pod.serviceAccount)).injections;
}

Webhook::Answer Webhook::answer(const AdmissionReview& review, const Decision& decision) {
  if (!decision.denial.empty()) return {review.denied(decision.denial), Answer::Outcome::Denied, decision.denial};
  if (decision.injections.empty())
    return {review.allowed(), Answer::Outcome::Untouched,
            "Pod was not mutated. Reason: Service account did not have the right annotations or was not found in the cache."};
  if (decision.method == Decision::Method::WebIdentity) ++metrics_.webIdentityPods;
  if (decision.method == Decision::Method::ContainerCredentials) ++metrics_.containerCredentialsPods;
  if (decision.injections.size() > (decision.method == Decision::Method::None ? 0u : 1u)) ++metrics_.injectedPods;
  const PodPatch patch = podPatch(review.pod(), decision.injections);
  if (patch.adds) return {review.allowed(patch.json, decision.warnings), Answer::Outcome::Mutated, "Pod was mutated."};
  return {review.allowed(patch.json), Answer::Outcome::Untouched,
          "Pod was not mutated. Reason: Required volume mounts and env variables were already present."};
}

// The API server could not be asked about the account.
Webhook::Answer Webhook::unknown(const AdmissionReview& review, const Error& why) {
  ++metrics_.deniedUnknown;
  const std::string denial = "the service account " + accountKey(review.ns(), review.pod().serviceAccount) + " could not be read (" +
                             why.sentence +
                             "), so the pod might start without its credentials: try again, or run the webhook with --on-unknown=admit";
  return {review.denied(denial), Answer::Outcome::Denied, denial};
}

bool Webhook::needsAccount(std::string_view ns, const PodView& pod) const {
  return !sources_.injections.load()->empty() || decideForAws(ns, pod, std::nullopt).method == Decision::Method::None;
}

asio::awaitable<std::string> Webhook::review(std::shared_ptr<const http::Request> request) {
  const auto begin = std::chrono::steady_clock::now();
  const auto review = std::make_unique<AdmissionReview>(request->body);
  if (!review->problem().empty()) {
    log::warn("could not read an AdmissionReview", {{"err", review->problem()}});  // never the object: its environment may hold secrets
    co_return review->denied(review->problem());
  }
  const PodView& pod = review->pod();
  std::optional<Account> account = sources_.accounts.find(review->ns(), pod.serviceAccount);
  std::optional<Answer> answered;
  if (!account && !pod.serviceAccount.empty() && needsAccount(review->ns(), pod)) {
    ++metrics_.missingAccounts;
    const std::string ns(review->ns()), name(pod.serviceAccount);
    log::warn("Service account " + ns + "/" + name + " not found in the cache. Waiting up to " + std::to_string(options_.patience.count()) +
              "ms to be notified");
    Result<std::optional<Account>> found = co_await reads_.read(ns, name, options_.patience);
    if (found)
      account = *std::move(found);
    else if (options_.denyUnknown)
      answered = unknown(*review, found.error());
    else
      log::warn("Service account " + ns + "/" + name + " not found in the cache. Not mutating.", {{"err", found.error().sentence}});
  }
  if (account) metrics_.used = true;
  if (!answered) answered = answer(*review, decide(review->ns(), pod, account));
  const auto took = std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - begin);
  using Outcome = Answer::Outcome;
  logAdmission(*review, answered->said, answered->outcome == Outcome::Denied, answered->outcome == Outcome::Mutated, took);
  co_return std::move(answered->text);
}

http::Response Webhook::readiness() const {
  if (draining_) return textResponse(503, "shutting down\n");
  if (synced_ && !synced_()) return textResponse(503, "service accounts, TokenInjections or others have not been listed yet\n");
  return textResponse(200, "ok");
}

asio::awaitable<http::Response> Webhook::serve(std::shared_ptr<const http::Request> request) {
  const auto begin = std::chrono::steady_clock::now();
  const std::string& path = request->path;
  http::Response response;
  if (malformedQuery(request->query)) {
    response = jsonResponse(R"({"error": "error parsing form"})", 400);
  } else if (path == "/healthz") {
    response = textResponse(200, "ok");
  } else if (path == "/readyz") {
    response = readiness();
  } else if (path == "/mutate" && request->bodyTooLarge) {
    response = textResponse(413, "the AdmissionReview is too large\n");
  } else if (path == "/mutate" && request->headers.find("Content-Type") != "application/json") {
    log::warn("Content-Type=" + std::string(request->headers.find("Content-Type")) + ", expected application/json");
    response = textResponse(415, "Invalid Content-Type, expected `application/json`\n");
  } else if (path == "/mutate") {
    std::string text = co_await review(request);
    response = jsonResponse(std::move(text));
  } else if (options_.debugHandlers && path == "/debug/alpha/deny") {
    const auto denied = std::make_unique<AdmissionReview>(request->body);
    response = jsonResponse(denied->denied("Test deny message"));
  } else if (options_.debugHandlers && path == "/debug/alpha/500") {
    response = textResponse(500, "test error\n");
  } else {
    response = textResponse(404, "404 page not found\n");
  }
  if (draining_ && request->versionMajor == 1) response.headers.add("Connection", "close");
  const auto took = std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - begin);
  metrics_.countRequest(request->method, pathLabel(path), response.status, took);
  co_return response;
}

std::string Webhook::cachePage() const {
  std::string out = "{";
  for (const auto& [key, role] : sources_.accounts.entries()) {
    out += out == "{" ? "\n " : ",\n ";
    appendText(out, key);
    out += ": {\n  \"RoleARN\": ";
    appendText(out, role.roleArn);
    out += ",\n  \"Audience\": ";
    appendText(out, role.audience);
    out += std::string(",\n  \"UseRegionalSTS\": ") + (role.regionalSts ? "true" : "false");
    out += ",\n  \"TokenExpiration\": " + std::to_string(role.expirationSeconds) + "\n }";
  }
  return out + (out == "{" ? "}" : "\n}");
}

asio::awaitable<http::Response> Webhook::serveMetrics(std::shared_ptr<const http::Request> request) {
  if (request->path == "/metrics") co_return textResponse(200, metrics_.text(), "text/plain; version=0.0.4; charset=utf-8");
  if (options_.debugHandlers && request->path == "/debug/alpha/cache") co_return jsonResponse(cachePage());
  if (options_.debugHandlers && request->path == "/debug/alpha/cache/clear") {
    sources_.accounts.clear();
    sources_.identityMap.store(std::make_shared<const IdentityMap>());
    co_return textResponse(200, "cache cleared\n");
  }
  co_return textResponse(404, "404 page not found\n");
}

}  // namespace podpass::irsa
