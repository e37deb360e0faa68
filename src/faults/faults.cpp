#include "faults/faults.h"

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/log.h"
#include "base/text.h"
#include "http/message.h"

namespace podpass::faults {
namespace {

namespace asio = http::asio;
using namespace std::chrono_literals;

constexpr std::string_view kPrefix = "/registry/faults.identity.podpass.dev/";
constexpr std::chrono::milliseconds kSlow = 30s, kTick = 100ms, kWriteEvery = 300ms, kRevocation = 10s;

const api::Kind& kind() { return *api::findKind("identity.podpass.dev", "v1", "faults"); }

json::object eventOf(const Fault& fault, std::string_view reason, const std::string& message, WallTime now) {
  json::object event{{"apiVersion", "v1"}, {"kind", "Event"}, {"type", "Warning"}, {"reason", reason}, {"message", message}, {"count", 1}};
  event["metadata"] = json::object{{"name", fault.name + "." + randomSuffix(16)}, {"namespace", "default"}};
  event["involvedObject"] =
      json::object{{"apiVersion", "identity.podpass.dev/v1"}, {"kind", "Fault"}, {"name", fault.name}, {"uid", fault.uid}};
  event["source"] = json::object{{"component", "podpass"}};
  event["firstTimestamp"] = event["lastTimestamp"] = rfc3339(now);
  return event;
}

// The key that signs: of those that are active the one that was activated last.
Result<std::string> signingKey(api::Client& client) {
  const Result<api::Listing> keys = client.list(*api::findKind("identity.podpass.dev", "v1", "signingkeys"), "", {});
  if (!keys) return keys.error();
  std::string name, activated;
  for (const DocumentPtr& key : keys->items) {
    const std::string_view time = textAt(key->value, {"status", "activatedTime"});
    if (textAt(key->value, {"status", "state"}) != "Active" || time < activated) continue;
    name = textAt(key->value, {"metadata", "name"});
    activated = time;
  }
  if (name.empty()) return Error{Reason::NotFound, "no signing key is active"};
  return name;
}

}  // namespace

http::Wrap Faults::around(Place place) {
  return [this, place](http::Handler handler) -> http::Handler {
    auto inner = std::make_shared<const http::Handler>(std::move(handler));
    return [this, place, inner](std::shared_ptr<const http::Request> request) { return serve(place, inner, std::move(request)); };
  };
}

asio::awaitable<http::Response> Faults::serve(Place place, std::shared_ptr<const http::Handler> inner,
                                              std::shared_ptr<const http::Request> request) {
  const FaultPtr fault = striking(place, *request);
  if (fault) log::info("fault struck", {{"name", fault->name}, {"kind", fault->type}, {"path", request->path}});
  if (fault && fault->slow()) co_await hold();
  http::Response response;
  if (fault && !fault->changesAnswer())
    response = fault->answer(place, *request);
  else
    response = co_await (*inner)(request);
  if (fault && fault->changesAnswer()) response = fault->changed(std::move(response));
  // Clients correct their clocks by the Date of whoever refuses them.
  const FaultyClock& clock = place == Place::APIServer ? apiServerClock_ : stsClock_;
  if (clock.skew() != 0s && place != Place::Webhook) response.headers.add("Date", http::httpDate(clock.now()));
  co_return response;
}

asio::awaitable<void> Faults::hold() const {
  asio::steady_timer timer(co_await asio::this_coro::executor);
  for (auto waited = 0ms; waited < kSlow && !over_; waited += kTick) {
    timer.expires_after(kTick);
    co_await timer.async_wait(asio::use_awaitable);
  }
}

Faults::FaultPtr Faults::striking(Place place, const http::Request& request) const {
  const std::shared_ptr<const std::vector<FaultPtr>> all = inForce_.load();
  for (const FaultPtr& fault : *all)
    if (fault->strikes(place, request)) return fault;
  return nullptr;
}

Result<void> Faults::start(Store& store, api::Client& client, std::function<void()> forgetKeys) {
  client_ = &client;
  forgetKeys_ = std::move(forgetKeys);
  const Result<Page> page = store.range(std::string(kPrefix), "", 0, 0);
  if (!page) return page.error();
  for (const Entry& entry : page->entries) begin(entry.document->value);
  Result<std::unique_ptr<Subscription>> subscription =
      store.watch(std::string(kPrefix), page->revision, [this](const Change& change) { apply(change); });
  if (!subscription) return subscription.error();
  subscription_ = *std::move(subscription);
  writer_ = std::thread([this] { run(); });
  log::warn("faults are served: whoever may create one lets things go wrong");
  return {};
}

void Faults::stop() {
  subscription_.reset();
  {
    const std::lock_guard lock(mutex_);
    over_ = true;
    all_.clear();
    putInForce();
  }
  wake_.notify_all();
  if (writer_.joinable()) writer_.join();
}

void Faults::apply(const Change& change) {
  const json::object& object = change.entry.document->value;
  if (change.type == Change::Type::Added) begin(object);
  if (change.type != Change::Type::Deleted) return;
  FaultPtr fault;
  {
    const std::lock_guard lock(mutex_);
    const auto found = all_.find(std::string(textAt(object, {"metadata", "name"})));
    if (found == all_.end()) return;
    fault = found->second;
    all_.erase(found);
    putInForce();
  }
  end(fault);
}

void Faults::begin(const json::object& object) {
  auto fault = std::make_shared<Fault>(object);
  {
    const std::lock_guard lock(mutex_);
    all_[fault->name] = fault;
    putInForce();
    events_.push_back(eventOf(*fault, "FaultBegan", fault->type + " is in force until this Fault is deleted", apiServerClock_.now()));
  }
  log::warn("fault began", {{"name", fault->name}, {"kind", fault->type}});
  if (fault->isAboutKeys()) forgetKeys_();
}

void Faults::end(const FaultPtr& fault) {
  {
    const std::lock_guard lock(mutex_);
    events_.push_back(
        eventOf(*fault, "FaultEnded", fault->type + " struck " + std::to_string(fault->requests()) + " requests", apiServerClock_.now()));
  }
  log::warn("fault ended", {{"name", fault->name}, {"kind", fault->type}, {"requests", std::to_string(fault->requests())}});
  if (fault->isAboutKeys()) forgetKeys_();
}

// Under mutex_.
void Faults::putInForce() {
  auto faults = std::make_shared<std::vector<FaultPtr>>();
  std::chrono::seconds expired{-1}, apiServer{0}, sts{0};
  for (const auto& [name, fault] : all_) {
    faults->push_back(fault);
    if (fault->type == "TokensExpired") expired = std::max(expired, fault->since);
    if (fault->type == "ClockSkew") (fault->clock == Place::APIServer ? apiServer : sts) += fault->skew;
  }
  for (FaultyClock* clock : {&apiServerClock_, &stsClock_}) clock->expireUntil(expired);
  apiServerClock_.setSkew(apiServer);
  stsClock_.setSkew(sts);
  inForce_.store(std::move(faults));
}

bool Faults::pause(std::chrono::milliseconds time) {
  std::unique_lock lock(mutex_);
  return !wake_.wait_for(lock, time, [this] { return over_.load(); });
}

// What is told of faults, from a thread of its own: the store's thread, where they begin and end, cannot wait for the store.
void Faults::run() {
  for (bool last = false;; last = !pause(kWriteEvery)) {
    std::deque<json::object> events;
    std::vector<FaultPtr> faults;
    {
      const std::lock_guard lock(mutex_);
      events.swap(events_);
      for (const auto& [name, fault] : all_) faults.push_back(fault);
    }
    for (json::object& event : events)
      if (const auto made = client_->create(*api::findKind("", "v1", "events"), "default", std::move(event)); !made)
        log::warn("event not written", {{"err", log::chain(made.error())}});
    for (const FaultPtr& fault : faults) write(fault);
    if (last) return;
  }
}

void Faults::write(const FaultPtr& fault) {
  std::pair<std::string, std::string>& written = written_[fault->uid];
  if (fault->type == "KeyRevoked" && fault->done.empty() && written.first.empty()) return revokeKey(fault);
  std::string message = fault->over() ? "it has struck as often as it should" : "in force";
  if (fault->type == "KeyRevoked") message = fault->done.empty() ? written.first : fault->done;
  const std::string requests = std::to_string(fault->requests());
  if (written == std::pair(message, requests)) return;
  json::object condition{{"type", "Active"},
                         {"status", fault->over() ? "False" : "True"},
                         {"reason", fault->over() ? "Over" : "InForce"},
                         {"message", message},
                         {"lastTransitionTime", rfc3339(apiServerClock_.now())}};
  json::object patch{{"status", json::object{{"conditions", json::array{std::move(condition)}}, {"requests", fault->requests()}}}};
  const Result<DocumentPtr> done = client_->mergePatch(kind(), {"", fault->name}, std::move(patch), "status");
  if (done || done.error().reason == Reason::NotFound) written = {std::move(message), requests};
  if (!done && done.error().reason != Reason::NotFound) log::warn("fault's status not written", {{"err", log::chain(done.error())}});
}

// For real, because everything that follows is real then: the next key signs, and what the revoked one signed is refused for good.
void Faults::revokeKey(const FaultPtr& fault) {
  const api::Kind& keys = *api::findKind("identity.podpass.dev", "v1", "signingkeys");
  const Result<std::string> name = signingKey(*client_);
  const Result<DocumentPtr> done =
      name ? client_->mergePatch(keys, {"", *name}, {{"spec", json::object{{"revoked", true}}}}) : Result<DocumentPtr>(name.error());
  if (!done) return log::warn("signing key not revoked; it is tried again", {{"err", log::chain(done.error())}});
  // The old ring serves until there is a key to take the place, and a moment longer.
  const SteadyTime limit = stsClock_.steady() + kRevocation;
  for (Result<std::string> next = name; (!next || *next == *name) && stsClock_.steady() < limit && pause(kTick);)
    next = signingKey(*client_);
  static_cast<void>(pause(kWriteEvery));
  forgetKeys_();
  written_[fault->uid].first = "the signing key " + *name + " was revoked, and stays so";
  write(fault);
}

Result<void> putFaults(api::Client& client, std::vector<json::object> faults) {
  for (json::object& fault : faults) {
    const std::string name(textAt(fault, {"metadata", "name"}));
    if (Result<void> gone = client.remove(kind(), {"", name}); !gone && gone.error().reason != Reason::NotFound) return gone;
    if (const Result<DocumentPtr> made = client.create(kind(), "", std::move(fault)); !made) return made.error();
  }
  return {};
}

}  // namespace podpass::faults
