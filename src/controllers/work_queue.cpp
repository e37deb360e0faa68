#include "controllers/work_queue.h"

#include <algorithm>
#include <random>

namespace podpass::controllers {
namespace {

using namespace std::chrono_literals;
constexpr std::chrono::nanoseconds kFirstBackOff = 5ms;
constexpr std::chrono::nanoseconds kLongestBackOff = 60s;
constexpr unsigned kDoublings = 14;  // 5 ms · 2^14 is past the longest

// Between the half and the whole: what failed together must not come back together.
std::chrono::nanoseconds jittered(std::chrono::nanoseconds delay) {
  thread_local std::minstd_rand random{std::random_device{}()};
  return delay / 2 + std::chrono::nanoseconds(std::uniform_int_distribution<std::int64_t>(0, delay.count() / 2)(random));
}

}  // namespace

void WorkQueue::add(const std::string& name) {
  const std::lock_guard lock(mutex_);
  addLocked(name);
}

void WorkQueue::addLocked(const std::string& name) {
  if (over_ || !waiting_.insert(name).second) return;
  ready_.emplace(++arrivals_, name);
  wake_.notify_one();
}

void WorkQueue::addAfter(std::chrono::nanoseconds delay, const std::string& name) {
  const std::lock_guard lock(mutex_);
  addAfterLocked(delay, name);
}

void WorkQueue::addAfterLocked(std::chrono::nanoseconds delay, const std::string& name) {
  if (over_) return;
  const SteadyTime due = clock_.steady() + delay;
  const auto known = due_.find(name);
  if (known != due_.end()) {
    if (known->second <= due) return;
    const auto [first, last] = later_.equal_range(known->second);
    later_.erase(std::find_if(first, last, [&](const auto& entry) { return entry.second == name; }));
  }
  due_[name] = due;
  later_.emplace(due, name);
  wake_.notify_one();
}

void WorkQueue::retry(const std::string& name) {
  const std::lock_guard lock(mutex_);
  unsigned& retries = retries_[name];
  const std::chrono::nanoseconds delay =
      std::min<std::chrono::nanoseconds>(kLongestBackOff, kFirstBackOff * (1LL << std::min(retries, kDoublings)));
  ++retries;
  addAfterLocked(jittered(delay), name);
}

void WorkQueue::forget(const std::string& name) {
  const std::lock_guard lock(mutex_);
  retries_.erase(name);
}

// Moves what is due to the ready ones.
void WorkQueue::ripen() {
  const SteadyTime now = clock_.steady();
  while (!later_.empty() && later_.begin()->first <= now) {
    const std::string name = std::move(later_.begin()->second);
    later_.erase(later_.begin());
    due_.erase(name);
    addLocked(name);
  }
}

std::optional<std::string> WorkQueue::take() {
  std::unique_lock lock(mutex_);
  for (;;) {
    ripen();
    if (over_) return std::nullopt;
    if (!ready_.empty()) {
      std::string name = std::move(ready_.begin()->second);
      ready_.erase(ready_.begin());
      waiting_.erase(name);
      return name;
    }
    if (later_.empty())
      wake_.wait(lock);
    else
      wake_.wait_for(lock, later_.begin()->first - clock_.steady());
  }
}

void WorkQueue::shutDown() {
  const std::lock_guard lock(mutex_);
  over_ = true;
  wake_.notify_all();
}

}  // namespace podpass::controllers
