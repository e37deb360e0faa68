#include "irsa/sts_refusal_log.h"

#include <algorithm>

#include "base/log.h"
#include "base/text.h"

namespace podpass::irsa {
namespace {

constexpr std::size_t kMostWaiting = 64;
constexpr double kBurst = 64, kPerSecond = 4;
constexpr std::size_t kMostMessage = 1024;  // of an Event, as Kubernetes
// Bytes of what a client may make long. A role's ARN, a subject and a session's ARN have fewer when they are good.
constexpr std::size_t kMostName = 640, kMostSentence = 1024;
constexpr std::string_view kComponent = "podpass-sts";
constexpr std::string_view kVerifiedLabel = "sts.podpass.dev/verified";

const api::Kind& events() { return *api::findKind("", "v1", "events"); }

std::string nameIn(std::string_view arn) { return std::string(arn.substr(arn.rfind('/') + 1)); }

json::object eventOf(const RefusedRequest& request, const Refusal& refusal, const json::object& verdict, WallTime now) {
  json::object about{{"apiVersion", "iam.podpass.dev/v1"}, {"kind", "Role"}, {"name", nameIn(textAt(verdict, {"role"}))}};
  if (request.role) about["uid"] = textAt(request.role->value, {"metadata", "uid"});
  std::string message = request.action + " " + request.id + ": " + refusal.code + ": " + std::string(textAt(verdict, {"reason"}));
  if (!refusal.fix.empty()) message += "; fix: " + refusal.fix;
  const std::string time = rfc3339(now);
  json::object annotations{{kVerdictAnnotation, json::serialize(verdict)}};
  json::object metadata{{"name", std::string(kRefusalEventPrefix) + request.id},
                        {"namespace", "default"},
                        {"labels", json::object{{kVerifiedLabel, request.verified ? "true" : "false"}}},
                        {"annotations", std::move(annotations)}};
  json::object event{{"apiVersion", "v1"}, {"kind", "Event"}, {"metadata", std::move(metadata)}, {"involvedObject", std::move(about)}};
  event["type"] = "Warning";
  event["reason"] = refusal.code;
  event["message"] = beginning(message, kMostMessage);
  event["source"] = json::object{{"component", kComponent}};
  event["firstTimestamp"] = time;
  event["lastTimestamp"] = time;
  event["count"] = 1;
  event["reportingComponent"] = kComponent;
  return event;
}

}  // namespace

json::object verdictOf(const RefusedRequest& request, const Refusal& refusal, WallTime now) {
  json::object verdict{{"request", request.id},
                       {"time", rfc3339(now)},
                       {"action", request.action},
                       {"code", refusal.code},
                       {"message", beginning(refusal.message, kMostSentence)},
                       {"check", refusal.check}};
  verdict["reason"] = beginning(refusal.reason.empty() ? refusal.message : refusal.reason, kMostSentence);
  if (!refusal.fix.empty()) verdict["fix"] = beginning(refusal.fix, kMostSentence);
  if (!request.roleArn.empty()) verdict["role"] = beginning(request.roleArn, kMostName);
  if (!request.caller.empty()) verdict["caller"] = beginning(request.caller, kMostName);
  if (!refusal.verdict.empty()) verdict["trustPolicy"] = refusal.verdict;
  return verdict;
}

void StsRefusalLog::start() {
  thread_ = std::thread([this] { run(); });
}

void StsRefusalLog::stop() {
  {
    const std::lock_guard lock(mutex_);
    over_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void StsRefusalLog::record(const RefusedRequest& request, const Refusal& refusal) {
  const WallTime now = clock_.now();
  const json::object verdict = verdictOf(request, refusal, now);
  const auto told = [&](std::string_view member) { return std::string(textAt(verdict, {member})); };
  log::info("sts request refused", {{"request", request.id},
                                    {"action", request.action},
                                    {"code", refusal.code},
                                    {"role", told("role")},
                                    {"user", told("caller")},
                                    {"remote", request.remote},
                                    {"check", refusal.check},
                                    {"err", told("reason")},
                                    {"fix", told("fix")},
                                    {"verdict", refusal.verdict.empty() ? "" : json::serialize(refusal.verdict)}});
  if (nameIn(request.roleArn).empty()) return;  // no Role to put an Event on
  const std::lock_guard lock(mutex_);
  Shelf& shelf = request.verified ? verified_ : others_;
  const SteadyTime steady = clock_.steady();
  shelf.tokens = std::min(kBurst, shelf.tokens + kPerSecond * std::chrono::duration<double>(steady - shelf.filled).count());
  shelf.filled = steady;
  if (shelf.tokens < 1 || shelf.waiting.size() >= kMostWaiting) return;
  shelf.tokens -= 1;
  shelf.waiting.push_back({std::string(kRefusalEventPrefix) + request.id, eventOf(request, refusal, verdict, now)});
  wake_.notify_one();
}

void StsRefusalLog::run() {
  findOld();
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return over_ || !verified_.waiting.empty() || !others_.waiting.empty(); });
    Shelf& shelf = verified_.waiting.empty() ? others_ : verified_;
    if (shelf.waiting.empty()) return;
    Event event = std::move(shelf.waiting.front());
    shelf.waiting.pop_front();
    lock.unlock();
    write(shelf, std::move(event));
    lock.lock();
  }
}

// Those of earlier runs count too.
void StsRefusalLog::findOld() {
  const Result<api::Listing> listing = client_.list(events(), "default", {.fields = "reportingComponent=" + std::string(kComponent)});
  if (!listing) return;
  std::vector<std::pair<std::string, DocumentPtr>> old;
  for (const DocumentPtr& event : listing->items)
    if (textAt(event->value, {"reportingComponent"}) == kComponent) old.emplace_back(textAt(event->value, {"lastTimestamp"}), event);
  std::stable_sort(old.begin(), old.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  for (const auto& [time, event] : old) {
    Shelf& shelf = textAt(event->value, {"metadata", "labels", kVerifiedLabel}) == "true" ? verified_ : others_;
    shelf.kept.emplace_back(textAt(event->value, {"metadata", "name"}));
  }
}

void StsRefusalLog::write(Shelf& shelf, Event event) {
  const Result<DocumentPtr> written = client_.create(events(), "default", std::move(event.object));
  if (!written) {
    log::debug("event was refused", {{"name", event.name}, {"err", log::chain(written.error())}});
    return;
  }
  shelf.kept.push_back(std::move(event.name));
  for (; shelf.kept.size() > shelf.most; shelf.kept.pop_front())
    if (const Result<void> removed = client_.remove(events(), {"default", shelf.kept.front()});
        !removed && removed.error().reason != Reason::NotFound)
      log::debug("old event not removed", {{"name", shelf.kept.front()}, {"err", log::chain(removed.error())}});
}

}  // namespace podpass::irsa
