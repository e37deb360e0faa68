#include "base/offload.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace podpass {
namespace {

boost::asio::awaitable<void> call(std::function<void()> work) {
  work();
  co_return;
}

}  // namespace

boost::asio::awaitable<void> runOn(boost::asio::thread_pool& pool, std::function<void()> work) {
  co_await boost::asio::co_spawn(pool, call(std::move(work)), boost::asio::use_awaitable);
}

}  // namespace podpass
