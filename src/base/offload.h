#pragma once

#include <boost/asio/awaitable.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace boost::asio {
class thread_pool;
}

namespace podpass {

// Runs `work` on the pool and comes back on the caller's own executor, with what it threw. No template: each kind of coroutine that is
// spawned costs whoever spawns it two seconds of compiling.
boost::asio::awaitable<void> runOn(boost::asio::thread_pool& pool, std::function<void()> work);

// The same for what gives something. `work` owns what it touches, or that outlives the pool.
template <class Work>
boost::asio::awaitable<std::invoke_result_t<Work&>> offload(boost::asio::thread_pool& pool, Work work) {
  struct Job {
    explicit Job(Work given) : work(std::move(given)) {}
    Work work;
    std::optional<std::invoke_result_t<Work&>> result;
  };
  const auto job = std::make_shared<Job>(std::move(work));  // not in this frame, which may end while the pool still works
  std::function<void()> run = [job] { job->result.emplace(job->work()); };
  co_await runOn(pool, std::move(run));
  co_return *std::move(job->result);
}

}  // namespace podpass
