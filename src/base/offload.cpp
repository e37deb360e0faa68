#include "base/offload.h"

#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <exception>

namespace podpass {
namespace {

namespace asio = boost::asio;

std::exception_ptr failureOf(const std::function<void()>& work) {
  try {
    work();
  } catch (...) {
    return std::current_exception();
  }
  return nullptr;
}

}  // namespace

// By hand and not by co_spawn, whose coroutine on the pool holds on to the caller's loop for a moment after the caller went on: the loop
// may be gone by then.
asio::awaitable<void> runOn(asio::thread_pool& pool, std::function<void()> work) {
  auto begin = [&pool, &work](auto caller) {
    const auto executor = asio::get_associated_executor(caller);
    auto busy = asio::make_work_guard(executor);
    asio::post(pool, [executor, busy = std::move(busy), caller = std::move(caller), work = std::move(work)]() mutable {
      const std::exception_ptr failed = failureOf(work);
      work = nullptr;
      asio::post(executor, [busy = std::move(busy), caller = std::move(caller), failed]() mutable { std::move(caller)(failed); });
    });
  };
  co_await asio::async_initiate<const asio::use_awaitable_t<>, void(std::exception_ptr)>(std::move(begin), asio::use_awaitable);
}

}  // namespace podpass
