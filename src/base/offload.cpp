#include "base/offload.h"

#include <boost/asio/async_result.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <exception>

#include "base/waiting_caller.h"

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

// By hand and not by co_spawn, whose coroutine on the pool holds on to the caller's loop for a moment after he went on.
asio::awaitable<void> runOn(asio::thread_pool& pool, std::function<void()> work) {
  auto begin = [&pool, &work](auto answer) {
    asio::post(pool, [caller = WaitingCaller(std::move(answer)), work = std::move(work)]() mutable {
      const std::exception_ptr failed = failureOf(work);
      work = nullptr;
      caller.goOn(failed);
    });
  };
  co_await asio::async_initiate<const asio::use_awaitable_t<>, void(std::exception_ptr)>(std::move(begin), asio::use_awaitable);
}

}  // namespace podpass
