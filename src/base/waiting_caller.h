#pragma once

#include <boost/asio/associated_executor.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <utility>

namespace podpass {

// Somebody who waits on an event loop of his own, for what another thread has for him: `Answer` is the completion handler of an
// asynchronous operation. Until he is answered his loop has work. All that belongs to the loop goes there with the answer and nothing of it
// stays with the thread that gave it, because the loop may end, and be gone, as soon as he has gone on.
template <class Answer>
class WaitingCaller {
 public:
  explicit WaitingCaller(Answer answer)
      : executor_(boost::asio::get_associated_executor(answer)),
        work_(boost::asio::make_work_guard(executor_)),
        answer_(std::move(answer)) {}

  // Once.
  template <class... Given>
  void goOn(Given... given) {
    boost::asio::post(executor_, [work = std::move(work_), answer = std::move(answer_), ... given = std::move(given)]() mutable {
      std::move(answer)(std::move(given)...);
    });
  }

 private:
  using Executor = boost::asio::associated_executor_t<Answer>;
  Executor executor_;
  boost::asio::executor_work_guard<Executor> work_;
  Answer answer_;
};

}  // namespace podpass
