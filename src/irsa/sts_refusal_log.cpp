#include "irsa/sts_refusal_log.h"

#include <algorithm>

#include "base/log.h"
#include "base/text.h"

namespace podpass::irsa {
namespace {

constexpr std::size_t kMostKept = 256, kMostWaiting = 64;
constexpr double kBurst = 64, kPerSecond = 4;
constexpr std::size_t kMostMessage = 1024;  // of an Event, as Kubernetes
constexpr std::string_view kComponent = "podpass-sts";

const api::Kind& events() { return *api::findKind("", "v1", "events"); }

std::string nameIn(std::string_view arn) { return std::string(arn.substr(arn.rfind('/') + 1)); }

json::object eventOf(const RefusedRequest& request, const Refusal& refusal, const json::object& verdict, WallTime now) {
  json::object about{{"apiVersion", "iam.podpass.dev/v1"}, {"kind", "Role"}, {"name", nameIn(request.roleArn)}};
  if (request.role) about["uid"] = textAt(request.role->value, {"metadata", "uid"});
  std::string message =
      request.action + " " + request.id + ": " + refusal.code + ": " + (refusal.reason.empty() ? refusal.message : refusal.reason);
  if (!refusal.fix.empty()) message += "; fix: " + refusal.fix;
  if (message.size() > kMostMessage) message.resize(kMostMessage);
  const std::string time = rfc3339(now);
  json::object annotations{{kVerdictAnnotation, json::serialize(verdict)}};
  json::object metadata{
      {"name", std::string(kRefusalEventPrefix) + request.id}, {"namespace", "default"}, {"annotations", std::move(annotations)}};
  json::object event{{"apiVersion", "v1"}, {"kind", "Event"}, {"metadata", std::move(metadata)}, {"involvedObject", std::move(about)}};
  event["type"] = "Warning";
  event["reason"] = refusal.code;
  event["message"] = message;
  event["source"] = json::object{{"component", kComponent}};
  event["firstTimestamp"] = time;
  event["lastTimestamp"] = time;
  event["count"] = 1;
  event["reportingComponent"] = kComponent;
  return event;
}

}  // namespace

json::object verdictOf(const RefusedRequest& request, const Refusal& refusal, WallTime now) {
  json::object verdict{{"request", request.id}, {"time", rfc3339(now)},       {"action", request.action},
                       {"code", refusal.code},  {"message", refusal.message}, {"check", refusal.check}};
  verdict["reason"] = refusal.reason.empty() ? refusal.message : refusal.reason;
  if (!refusal.fix.empty()) verdict["fix"] = refusal.fix;
  if (!request.roleArn.empty()) verdict["role"] = request.roleArn;
  if (!request.caller.empty()) verdict["caller"] = request.caller;
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
  log::info("sts request refused", {{"request", request.id},
                                    {"action", request.action},
                                    {"code", refusal.code},
                                    {"role", request.roleArn},
                                    {"user", request.caller},
                                    {"remote", request.remote},
                                    {"check", refusal.check},
                                    {"err", refusal.reason.empty() ? refusal.message : refusal.reason},
                                    {"fix", refusal.fix},
                                    {"verdict", refusal.verdict.empty() ? "" : json::serialize(refusal.verdict)}});
  if (nameIn(request.roleArn).empty()) return;  // no Role to put an Event on
  const std::lock_guard lock(mutex_);
  const SteadyTime steady = clock_.steady();
  tokens_ = std::min(kBurst, tokens_ + kPerSecond * std::chrono::duration<double>(steady - filled_).count());
  filled_ = steady;
  if (tokens_ < 1 || waiting_.size() >= kMostWaiting) return;
  tokens_ -= 1;
  waiting_.push_back({std::string(kRefusalEventPrefix) + request.id, eventOf(request, refusal, verdict, now)});
  wake_.notify_one();
}

void StsRefusalLog::run() {
  findOld();
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return over_ || !waiting_.empty(); });
    if (waiting_.empty()) return;
    Event event = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    write(std::move(event));
    lock.lock();
  }
}

// Those of earlier runs count too.
void StsRefusalLog::findOld() {
  const Result<api::Listing> listing = client_.list(events(), "default", {.fields = "reportingComponent=" + std::string(kComponent)});
  if (!listing) return;
  std::vector<std::pair<std::string, std::string>> old;
  for (const DocumentPtr& event : listing->items)
    if (textAt(event->value, {"reportingComponent"}) == kComponent)
      old.emplace_back(textAt(event->value, {"lastTimestamp"}), textAt(event->value, {"metadata", "name"}));
  std::sort(old.begin(), old.end());
  for (auto& [time, name] : old) kept_.push_back(std::move(name));
}

void StsRefusalLog::write(Event event) {
  const Result<DocumentPtr> written = client_.create(events(), "default", std::move(event.object));
  if (!written) {
    log::debug("event was refused", {{"name", event.name}, {"err", log::chain(written.error())}});
    return;
  }
  kept_.push_back(std::move(event.name));
  for (; kept_.size() > kMostKept; kept_.pop_front())
    if (const Result<void> removed = client_.remove(events(), {"default", kept_.front()});
        !removed && removed.error().reason != Reason::NotFound)
      log::debug("old event not removed", {{"name", kept_.front()}, {"err", log::chain(removed.error())}});
}

}  // namespace podpass::irsa
