#pragma once

#include <chrono>

// Time is a parameter. The wall clock decides what a token says (exp, nbf, creationTimestamp); the steady clock decides
// when to renew and how long to wait, because the wall may step.
namespace podpass {

using WallTime = std::chrono::system_clock::time_point;
using SteadyTime = std::chrono::steady_clock::time_point;

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  [[nodiscard]] virtual WallTime now() const = 0;
  [[nodiscard]] virtual SteadyTime steady() const = 0;
  // When a token or session is judged that was issued so long after the epoch: now, unless a rehearsal lets all before some moment expire.
  [[nodiscard]] virtual WallTime nowFor(std::chrono::seconds issued) const {
    static_cast<void>(issued);
    return now();
  }
};

class SystemClock final : public Clock {
 public:
  [[nodiscard]] WallTime now() const override { return std::chrono::system_clock::now(); }
  [[nodiscard]] SteadyTime steady() const override { return std::chrono::steady_clock::now(); }
};

// Stands still until it is told to move; both faces move together unless the wall is stepped.
class FakeClock final : public Clock {
 public:
  explicit FakeClock(WallTime start = WallTime(std::chrono::seconds(1'677'922'083))) : wall_(start) {}
  [[nodiscard]] WallTime now() const override { return wall_; }
  [[nodiscard]] SteadyTime steady() const override { return steady_; }
  void advance(std::chrono::nanoseconds by) {
    wall_ += std::chrono::duration_cast<WallTime::duration>(by);
    steady_ += by;
  }
  void stepWall(std::chrono::nanoseconds by) { wall_ += std::chrono::duration_cast<WallTime::duration>(by); }

 private:
  WallTime wall_;
  SteadyTime steady_{};
};

}  // namespace podpass
