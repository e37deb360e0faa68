#include "irsa/account_cache.h"

#include <cstring>
#include <mutex>

namespace podpass::irsa {
namespace {

enum Flag : std::uint8_t { kRegional = 1, kRolePrefix = 2, kAudience = 4, kExpiration = 8, kAnnotations = 16, kFresh = 32 };

// A record: head, key, then the role's text and what the flags announce. Texts but the key come after their size.
struct Head {
  std::uint32_t size = 0;  // of the whole record
  std::uint16_t keySize = 0;
  std::uint8_t flags = 0;
};

constexpr std::size_t kFlagsAt = sizeof(Head::size) + sizeof(Head::keySize);

class Writer {
 public:
  explicit Writer(std::vector<char>& out) : out_(out) {}
  void raw(const void* data, std::size_t size) {
    out_.insert(out_.end(), static_cast<const char*>(data), static_cast<const char*>(data) + size);
  }
  void text(std::string_view text) {
    const auto size = static_cast<std::uint32_t>(text.size());
    if (size < 255) {
      out_.push_back(static_cast<char>(size));
    } else {
      out_.push_back(static_cast<char>(255));
      raw(&size, sizeof size);
    }
    raw(text.data(), text.size());
  }

 private:
  std::vector<char>& out_;
};

class Reader {
 public:
  explicit Reader(const char* at) : at_(at) {}
  template <class T>
  T number() {
    T value{};
    std::memcpy(&value, at_, sizeof value);
    at_ += sizeof value;
    return value;
  }
  std::string_view text() {
    std::uint32_t size = number<std::uint8_t>();
    if (size == 255) size = number<std::uint32_t>();
    return raw(size);
  }
  std::string_view raw(std::size_t size) {
    const std::string_view found(at_, size);
    at_ += size;
    return found;
  }
  Head head() { return {number<std::uint32_t>(), number<std::uint16_t>(), number<std::uint8_t>()}; }

 private:
  const char* at_;
};

std::string rolePrefix(const std::string& arn) {
  const std::size_t at = arn.find(":role/");
  return at == std::string::npos ? std::string() : arn.substr(0, at + 6);
}

}  // namespace

std::size_t AccountCache::place(std::string_view key) const {
  std::size_t at = std::hash<std::string_view>()(key) & (slots_.size() - 1);
  while (slots_[at] != 0 && keyAt(slots_[at]) != key) at = (at + 1) & (slots_.size() - 1);
  return at;
}

std::string_view AccountCache::keyAt(Slot slot) const {
  Reader reader(records_.data() + slot - 1);
  const Head head = reader.head();
  return reader.raw(head.keySize);
}

Account AccountCache::accountAt(Slot slot) const {
  Reader reader(records_.data() + slot - 1);
  const Head head = reader.head();
  reader.raw(head.keySize);
  Account account{*common_};
  if ((head.flags & kRolePrefix) == 0) account.role.roleArn.clear();
  account.role.roleArn += reader.text();
  account.role.regionalSts = (head.flags & kRegional) != 0;
  if ((head.flags & kAudience) != 0) account.role.audience = reader.text();
  if ((head.flags & kExpiration) != 0) account.role.expirationSeconds = reader.number<std::int64_t>();
  if ((head.flags & kAnnotations) != 0) account.annotations = reader.text();
  return account;
}

AccountCache::Slot AccountCache::append(std::string_view key, const Account& account) {
  const RoleSettings& role = account.role;
  if (!common_) common_ = RoleSettings{{}, role.audience, false, role.expirationSeconds};
  if (common_->roleArn.empty()) common_->roleArn = rolePrefix(role.roleArn);
  const bool prefixed = !common_->roleArn.empty() && role.roleArn.starts_with(common_->roleArn);
  Head head;
  head.keySize = static_cast<std::uint16_t>(key.size());
  head.flags = static_cast<std::uint8_t>(
      kFresh | (role.regionalSts ? kRegional : 0) | (prefixed ? kRolePrefix : 0) | (role.audience != common_->audience ? kAudience : 0) |
      (role.expirationSeconds != common_->expirationSeconds ? kExpiration : 0) | (account.annotations.empty() ? 0 : kAnnotations));
  const std::size_t begin = records_.size();
  Writer writer(records_);
  writer.raw(&head.size, sizeof head.size);
  writer.raw(&head.keySize, sizeof head.keySize);
  writer.raw(&head.flags, sizeof head.flags);
  writer.raw(key.data(), key.size());
  writer.text(std::string_view(role.roleArn).substr(prefixed ? common_->roleArn.size() : 0));
  if ((head.flags & kAudience) != 0) writer.text(role.audience);
  if ((head.flags & kExpiration) != 0) writer.raw(&role.expirationSeconds, sizeof role.expirationSeconds);
  if ((head.flags & kAnnotations) != 0) writer.text(account.annotations);
  head.size = static_cast<std::uint32_t>(records_.size() - begin);
  std::memcpy(records_.data() + begin, &head.size, sizeof head.size);
  return static_cast<Slot>(begin + 1);
}

// The neighbours behind it may have been pushed on by it: they are placed anew.
void AccountCache::forget(std::size_t at) {
  garbage_ += Reader(records_.data() + slots_[at] - 1).head().size;
  slots_[at] = 0;
  --count_;
  const std::size_t mask = slots_.size() - 1;
  for (std::size_t next = (at + 1) & mask; slots_[next] != 0; next = (next + 1) & mask) {
    const Slot moved = std::exchange(slots_[next], 0);
    slots_[place(keyAt(moved))] = moved;
  }
}

void AccountCache::rebuild(std::size_t slots) {
  std::vector<Slot> old(slots);
  old.swap(slots_);
  std::vector<char> before;
  before.swap(records_);
  records_.reserve(before.size() - garbage_);
  garbage_ = 0;
  for (const Slot slot : old) {
    if (slot == 0) continue;
    const char* record = before.data() + slot - 1;
    const std::size_t begin = records_.size();
    records_.insert(records_.end(), record, record + Reader(record).head().size);
    slots_[place(keyAt(static_cast<Slot>(begin + 1)))] = static_cast<Slot>(begin + 1);
  }
}

void AccountCache::put(std::string_view ns, std::string_view name, const Account& account) {
  const std::string key = accountKey(ns, name);
  if (key.size() > 0xffff) return;  // no API server has names like that
  const std::unique_lock lock(mutex_);
  if (const std::size_t at = place(key); slots_[at] != 0) forget(at);
  if ((count_ + 1) * 8 > slots_.size() * 7)
    rebuild(slots_.size() * 2);
  else if (garbage_ > 65536 && garbage_ > records_.size() / 2)
    rebuild(slots_.size());
  const Slot slot = append(key, account);
  slots_[place(key)] = slot;
  ++count_;
}

void AccountCache::erase(std::string_view ns, std::string_view name) {
  const std::unique_lock lock(mutex_);
  if (const std::size_t at = place(accountKey(ns, name)); slots_[at] != 0) forget(at);
}

void AccountCache::clear() {
  const std::unique_lock lock(mutex_);
  slots_.assign(64, 0);
  std::vector<char>().swap(records_);
  count_ = garbage_ = 0;
  common_.reset();
}

std::optional<Account> AccountCache::find(std::string_view ns, std::string_view name) const {
  const std::string key = accountKey(ns, name);
  const std::shared_lock lock(mutex_);
  const Slot slot = slots_[place(key)];
  if (slot == 0) return std::nullopt;
  return accountAt(slot);
}

std::map<std::string, RoleSettings> AccountCache::entries() const {
  const std::shared_lock lock(mutex_);
  std::map<std::string, RoleSettings> sorted;
  for (const Slot slot : slots_)
    if (slot != 0) sorted.emplace(keyAt(slot), accountAt(slot).role);
  return sorted;
}

std::set<std::string> AccountCache::namespacesWhere(const Judge& judge) const {
  const std::shared_lock lock(mutex_);
  std::set<std::string> namespaces;
  for (const Slot slot : slots_) {
    if (slot == 0) continue;
    const std::string_view key = keyAt(slot), ns = key.substr(0, key.find('/'));
    if (!namespaces.contains(std::string(ns)) && judge(ns, key.substr(ns.size() + 1), accountAt(slot))) namespaces.emplace(ns);
  }
  return namespaces;
}

std::size_t AccountCache::size() const {
  const std::shared_lock lock(mutex_);
  return count_;
}

void AccountCache::beginList() {
  const std::unique_lock lock(mutex_);
  for (const Slot slot : slots_)
    if (slot != 0) records_[slot - 1 + kFlagsAt] = static_cast<char>(records_[slot - 1 + kFlagsAt] & ~kFresh);
}

void AccountCache::endList() {
  const std::unique_lock lock(mutex_);
  std::vector<std::string> gone;
  for (const Slot slot : slots_)
    if (slot != 0 && (records_[slot - 1 + kFlagsAt] & kFresh) == 0) gone.emplace_back(keyAt(slot));
  for (const std::string& key : gone) forget(place(key));
}

}  // namespace podpass::irsa
