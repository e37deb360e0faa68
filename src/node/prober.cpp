#include "node/prober.h"

#include <random>
#include <set>

namespace podpass::node {

using namespace std::chrono_literals;
using std::chrono::seconds;

namespace {

struct Named {
  const char *field, *name, *title;
  ProbeState::Kind kind;
};
constexpr Named kKinds[] = {{"startupProbe", "startup", "Startup", ProbeState::Kind::Startup},
                            {"livenessProbe", "liveness", "Liveness", ProbeState::Kind::Liveness},
                            {"readinessProbe", "readiness", "Readiness", ProbeState::Kind::Readiness}};

}  // namespace

ProbeState::ProbeState(Kind kind, const json::object& spec)
    : kind_(kind),
      successThreshold_(std::max<std::int64_t>(1, integerAt(spec, {"successThreshold"}, 1))),
      failureThreshold_(std::max<std::int64_t>(1, integerAt(spec, {"failureThreshold"}, 3))),
      good_(kind == Kind::Liveness) {}

bool ProbeState::take(Answer::Kind answer) {
  if (answer == Answer::Kind::Error) return false;
  const bool success = answer == Answer::Kind::Good;
  successes_ = success ? successes_ + 1 : 0;
  failures_ = success ? 0 : failures_ + 1;
  if (success ? successes_ < successThreshold_ : failures_ < failureThreshold_) return false;
  const bool before = good_, failedBefore = failed_;
  good_ = success;
  failed_ = !success && kind_ != Kind::Readiness;
  return good_ != before || failed_ != failedBefore;
}

struct Prober::Probe {
  const Named* what;
  std::string container, id;
  json::object probe, spec;
  seconds period, timeout;
  ProbeState state;
  SteadyTime due;
};

Prober::Prober(Runtime& runtime, const Clock& clock, std::function<void()> changed,
               std::function<void(const std::string&, const std::string&)> unhealthy)
    : runtime_(runtime), clock_(clock), changed_(std::move(changed)), unhealthy_(std::move(unhealthy)) {}

Prober::~Prober() { stop(); }

void Prober::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Prober::follow(const json::object& pod, const std::vector<Container>& containers, const std::string& podIp) {
  std::lock_guard lock(mutex_);
  podIp_ = podIp;
  std::set<std::string> running;
  for (const char* list : {"initContainers", "containers"}) {
    const json::array* specs = arrayAt(pod, {"spec", list});
    for (const json::value& value : specs == nullptr ? json::array() : *specs) {
      const json::object& spec = value.as_object();
      const auto found = std::find_if(containers.begin(), containers.end(), [&](const Container& each) {
        return each.name == textAt(spec, {"name"}) && each.state == Container::State::Running;
      });
      if (found == containers.end()) continue;
      running.insert(found->id);
      if (probes_.contains(found->id)) continue;
      for (const Named& kind : kKinds) {
        const json::object* probe = objectAt(spec, {kind.field});
        if (probe == nullptr) continue;
        // counted from the start of the container, which for us is now or was before we were
        const seconds delay(integerAt(*probe, {"initialDelaySeconds"}));
        const std::chrono::nanoseconds age = clock_.now().time_since_epoch() - std::chrono::nanoseconds(found->startedAt);
        probes_[found->id].push_back(std::make_shared<Probe>(
            Probe{&kind, found->name, found->id, *probe, spec, seconds(std::max<std::int64_t>(1, integerAt(*probe, {"periodSeconds"}, 10))),
                  seconds(std::max<std::int64_t>(1, integerAt(*probe, {"timeoutSeconds"}, 1))), ProbeState(kind.kind, *probe),
                  clock_.steady() + std::max<std::chrono::nanoseconds>(0ns, delay - age)}));
      }
    }
  }
  std::erase_if(probes_, [&](const auto& entry) { return !running.contains(entry.first); });
  if (!probes_.empty() && !thread_.joinable() && !stopping_) thread_ = std::thread([this] { run(); });
  wake_.notify_all();
}

Probed Prober::verdict(const std::string& containerId) const {
  std::lock_guard lock(mutex_);
  Probed verdict;
  const auto found = probes_.find(containerId);
  if (found == probes_.end()) return verdict;
  for (const auto& probe : found->second) {
    if (probe->what->kind == ProbeState::Kind::Startup) verdict.started = probe->state.good();
    if (probe->what->kind == ProbeState::Kind::Readiness) verdict.ready = probe->state.good();
    if (probe->state.failed()) verdict.failed = probe->what->name;
  }
  verdict.ready = verdict.ready && verdict.started;
  return verdict;
}

// The others wait for the startup probe, which ends with its success; after a failure the instance is only waited for to go.
std::shared_ptr<Prober::Probe> Prober::nextDue() {
  std::shared_ptr<Probe> next;
  for (const auto& [id, probes] : probes_) {
    const bool failed = std::any_of(probes.begin(), probes.end(), [](const auto& probe) { return probe->state.failed(); });
    const bool starting = probes.front()->what->kind == ProbeState::Kind::Startup && !probes.front()->state.good();
    for (const auto& probe : probes) {
      if (failed || (probe->what->kind == ProbeState::Kind::Startup) != starting) continue;
      if (!next || probe->due < next->due) next = probe;
    }
  }
  return next;
}

void Prober::run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const std::shared_ptr<Probe> next = nextDue();
    if (!next) {
      wake_.wait(lock);
    } else if (const auto wait = next->due - clock_.steady(); wait > 0ns) {
      wake_.wait_for(lock, wait);
    } else {
      lock.unlock();
      ask(next);
      lock.lock();
    }
  }
}

void Prober::ask(const std::shared_ptr<Probe>& probe) {
  std::string podIp;
  {
    std::lock_guard lock(mutex_);
    podIp = podIp_;
  }
  const Answer answer = perform(runtime_, probe->probe, probe->spec, probe->id, podIp, probe->timeout);
  bool news = false;
  {
    std::lock_guard lock(mutex_);
    probe->due = std::max(probe->due + probe->period, clock_.steady());
    if (stopping_) return;
    news = probe->state.take(answer.kind);
  }
  if (answer.kind == Answer::Kind::Bad) unhealthy_(probe->container, std::string(probe->what->title) + " probe failed: " + answer.text);
  if (news) changed_();
}

}  // namespace podpass::node
