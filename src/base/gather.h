#pragma once

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <memory>
#include <utility>
#include <vector>

namespace podpass {

// Runs all at once on the caller's executor; comes back when the last has ended, with the results in order. The executor runs one thing
// at a time: the event loop of a connection, or a strand.
template <class T>
boost::asio::awaitable<std::vector<T>> gather(std::vector<boost::asio::awaitable<T>> works) {
  namespace asio = boost::asio;
  struct Shared {
    explicit Shared(const asio::any_io_executor& executor) : ended(executor) { ended.expires_at(asio::steady_timer::time_point::max()); }
    asio::steady_timer ended;
    std::vector<T> results;
    std::size_t left = 0;
  };
  const asio::any_io_executor executor = co_await asio::this_coro::executor;
  auto shared = std::make_shared<Shared>(executor);
  shared->results.resize(works.size());
  shared->left = works.size();
  for (std::size_t i = 0; i < works.size(); ++i) {
    auto done = [shared, i](std::exception_ptr, T result) {
      shared->results[i] = std::move(result);
      if (--shared->left == 0) shared->ended.cancel();
    };
    asio::co_spawn(executor, std::move(works[i]), std::move(done));
  }
  if (shared->left > 0) co_await shared->ended.async_wait(asio::as_tuple(asio::use_awaitable));
  co_return std::move(shared->results);
}

}  // namespace podpass
