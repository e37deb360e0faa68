#include "token/interned_texts.h"

#include <algorithm>

namespace podpass::token {

InternedTexts::Id InternedTexts::take(std::string_view text) {
  if (const auto found = byText_.find(text); found != byText_.end()) {
    ++slots_[*found].uses;
    return *found;
  }
  if (free_.empty()) {
    free_.push_back(static_cast<Id>(slots_.size()));
    slots_.emplace_back();
  }
  const Id id = free_.back();
  free_.pop_back();
  Slot& slot = slots_[id];
  slot.bytes = std::make_unique_for_overwrite<char[]>(text.size());
  std::copy(text.begin(), text.end(), slot.bytes.get());
  slot.length = static_cast<std::uint32_t>(text.size());
  slot.uses = 1;
  bytes_ += text.size();
  byText_.insert(id);
  return id;
}

void InternedTexts::release(Id id) {
  Slot& slot = slots_[id];
  if (--slot.uses > 0) return;
  byText_.erase(id);  // while its text is there
  bytes_ -= slot.length;
  slot.bytes = nullptr;
  slot.length = 0;
  free_.push_back(id);
}

}  // namespace podpass::token
