#pragma once

#include <atomic>
#include <functional>

#include "store/store.h"

namespace podpass::token {

// A store that fails where the test says so. Thread-safe, if what the test gives is.
class TroubledStore final : public Store {
 public:
  enum class Trouble { None, BeforeWriting, AfterWriting };
  explicit TroubledStore(Store& store) : store_(store) {}

  std::function<Trouble(const Mutation&)> commits = [](const Mutation&) { return Trouble::None; };
  std::function<bool(const std::string& prefix)> ranges = [](const std::string&) { return false; };  // true: it fails
  std::function<bool()> reseals = [] { return false; };

  void commit(Mutation mutation, Committed done) override {
    const Trouble trouble = commits(mutation);
    if (trouble == Trouble::BeforeWriting) return done(failure());
    if (trouble == Trouble::None) return store_.commit(std::move(mutation), std::move(done));
    store_.commit(std::move(mutation), [done = std::move(done)](const Result<Entry>&) { done(failure()); });
  }
  [[nodiscard]] DocumentPtr get(const std::string& key) const override { return store_.get(key); }
  [[nodiscard]] Result<Page> range(const std::string& prefix, const std::string& after, std::size_t limit,
                                   std::uint64_t at) const override {
    return ranges(prefix) ? Result<Page>(failure()) : store_.range(prefix, after, limit, at);
  }
  [[nodiscard]] Result<std::unique_ptr<Subscription>> watch(std::string prefix, std::uint64_t since, Listener listener) override {
    return store_.watch(std::move(prefix), since, std::move(listener));
  }
  [[nodiscard]] std::uint64_t revision() const override { return store_.revision(); }
  void reseal(std::function<void(Result<std::size_t>)> done) override {
    return reseals() ? done(failure()) : store_.reseal(std::move(done));
  }
  [[nodiscard]] Result<void> healthy() const override { return store_.healthy(); }

 private:
  static Error failure() { return Error{Reason::Unavailable, "the disk is full"}; }
  Store& store_;
};

}  // namespace podpass::token
