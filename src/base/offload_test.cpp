#include "base/offload.h"

#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>
#include <stdexcept>
#include <string>
#include <thread>

namespace podpass {
namespace {

namespace asio = boost::asio;

template <class Work>
asio::awaitable<void> ask(asio::thread_pool& pool, Work work, std::invoke_result_t<Work>& result, std::thread::id& there) {
  result = co_await offload(pool, std::move(work));
  there = std::this_thread::get_id();
}

TEST(Offload, WorksOnThePoolAndComesBackWithTheResult) {
  asio::thread_pool pool(1);
  asio::io_context loop;
  std::thread::id worked, result, after;
  auto work = [&worked] { return worked = std::this_thread::get_id(); };
  asio::co_spawn(loop, ask(pool, work, result, after), asio::detached);
  loop.run();
  EXPECT_EQ(result, worked);
  EXPECT_NE(worked, std::this_thread::get_id());
  EXPECT_EQ(after, std::this_thread::get_id());
}

TEST(Offload, GivesWhatTheWorkThrew) {
  asio::thread_pool pool(1);
  asio::io_context loop;
  std::string said;
  int result = 0;
  std::thread::id after;
  auto work = []() -> int { throw std::runtime_error("no memory"); };
  asio::co_spawn(loop, ask(pool, work, result, after), [&said](std::exception_ptr failed) {
    try {
      std::rethrow_exception(failed);
    } catch (const std::runtime_error& error) {
      said = error.what();
    }
  });
  loop.run();
  EXPECT_EQ(said, "no memory");
}

// A loop may be gone as soon as what it waited for came. (The pool touched it once more; one run in a few hundred ended in a crash.)
TEST(Offload, TouchesNothingOfALoopThatWentOn) {
  asio::thread_pool pool(2);
  for (int i = 0; i < 3000; ++i) {
    auto loop = std::make_unique<asio::io_context>(1);
    int result = 0;
    std::thread::id after;
    auto work = [i] { return i; };
    asio::co_spawn(*loop, ask(pool, work, result, after), asio::detached);
    loop->run();
    ASSERT_EQ(result, i);
  }
}

}  // namespace
}  // namespace podpass
