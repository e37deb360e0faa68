#pragma once

#include <boost/unordered/unordered_flat_set.hpp>
#include <cstdint>
#include <deque>
#include <memory>
#include <string_view>
#include <vector>

namespace podpass::token {

// Each different text once, counted by its uses. Guarded by its owner.
class InternedTexts {
 public:
  using Id = std::uint32_t;
  InternedTexts() : byText_(0, Hash{this}, Equal{this}) {}
  InternedTexts(const InternedTexts&) = delete;
  InternedTexts& operator=(const InternedTexts&) = delete;

  Id take(std::string_view text);  // one use more
  void release(Id id);             // one use less; the text may be gone afterwards
  [[nodiscard]] std::string_view at(Id id) const { return {slots_[id].bytes.get(), slots_[id].length}; }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }  // of all texts together

 private:
  struct Slot {
    std::unique_ptr<char[]> bytes;
    std::uint32_t length = 0, uses = 0;
  };
  struct Hash {
    using is_transparent = void;
    const InternedTexts* texts;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
    std::size_t operator()(Id id) const { return (*this)(texts->at(id)); }
  };
  struct Equal {
    using is_transparent = void;
    const InternedTexts* texts;
    bool operator()(Id a, Id b) const { return a == b; }
    bool operator()(std::string_view a, Id b) const { return a == texts->at(b); }
    bool operator()(Id a, std::string_view b) const { return texts->at(a) == b; }
  };
  std::deque<Slot> slots_;
  std::vector<Id> free_;
  boost::unordered_flat_set<Id, Hash, Equal> byText_;
  std::size_t bytes_ = 0;
};

}  // namespace podpass::token
