#pragma once

#include <atomic>

namespace podpass::irsa {

// A place among those that may be at work at once. It is given back however the work ends: by an answer, an exception, or a coroutine that
// is destroyed while it waits.
class Place {
 public:
  Place(std::atomic<int>& taken, int most) : taken_(taken), good_(taken.fetch_add(1) < most) {}
  ~Place() { taken_.fetch_sub(1); }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  explicit operator bool() const { return good_; }  // false: all are taken

 private:
  std::atomic<int>& taken_;
  bool good_;
};

}  // namespace podpass::irsa
