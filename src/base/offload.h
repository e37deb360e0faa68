#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <type_traits>
#include <utility>

namespace podpass {

// Runs `work` on the pool and comes back on the caller's own executor. `work` owns what it touches, or that outlives the pool.
template <class Work>
boost::asio::awaitable<std::invoke_result_t<Work&>> offload(boost::asio::thread_pool& pool, Work work) {
  auto job = [work = std::move(work)]() mutable -> boost::asio::awaitable<std::invoke_result_t<Work&>> { co_return work(); };
  co_return co_await boost::asio::co_spawn(pool, std::move(job), boost::asio::use_awaitable);
}

}  // namespace podpass
