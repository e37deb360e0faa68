#include "irsa/live_reads.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace podpass::irsa {
namespace {

constexpr std::size_t kThreads = 4;
constexpr std::size_t kMostAccounts = 1024;  // that are being read at the same time

}  // namespace

// Belongs to the event loop of the one who waits.
struct LiveReads::Waiter {
  asio::steady_timer timer;
  std::optional<Result<std::optional<Account>>> outcome = {};
};

LiveReads::LiveReads(Read read) : read_(std::move(read)), pool_(kThreads) {}

asio::awaitable<Result<std::optional<Account>>> LiveReads::read(std::string ns, std::string name, std::chrono::milliseconds patience) {
  const asio::any_io_executor executor = co_await asio::this_coro::executor;
  auto waiter = std::make_shared<Waiter>(Waiter{asio::steady_timer(executor, patience)});
  {
    const std::lock_guard lock(mutex_);
    if (stopped_) co_return Error{Reason::Unavailable, "the webhook is stopping"};
    const std::string key = accountKey(ns, name);
    const auto found = pending_.find(key);
    if (found == pending_.end() && pending_.size() >= kMostAccounts)
      co_return Error{Reason::TooManyRequests, "too many service accounts are being read at once"};
    if (found == pending_.end()) asio::post(pool_, [this, ns, name] { run(ns, name); });
    pending_[key].push_back(waiter);
  }
  co_await waiter->timer.async_wait(asio::as_tuple(asio::use_awaitable));
  if (waiter->outcome) co_return *std::move(waiter->outcome);
  co_return Error{Reason::Timeout, "the API server did not answer within " + std::to_string(patience.count()) + " ms"};
}

void LiveReads::run(const std::string& ns, const std::string& name) {
  const Result<std::optional<Account>> outcome = read_(ns, name);
  std::vector<std::shared_ptr<Waiter>> waiters;
  {
    const std::lock_guard lock(mutex_);
    waiters = std::move(pending_[accountKey(ns, name)]);
    pending_.erase(accountKey(ns, name));
  }
  for (const std::shared_ptr<Waiter>& waiter : waiters)
    asio::post(waiter->timer.get_executor(), [waiter, outcome] {
      waiter->outcome = outcome;
      waiter->timer.cancel();
    });
}

void LiveReads::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  pool_.join();
}

}  // namespace podpass::irsa
