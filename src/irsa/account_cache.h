#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <shared_mutex>
#include <string>
#include <vector>

#include "irsa/identities.h"

namespace podpass::irsa {

// Every service account of the cluster, also those without a role: to know that there is none is an answer. Packed, because clusters have
// a hundred thousand of them: a record holds the key and only what differs from the first account's. Thread-safe.
class AccountCache {
 public:
  void put(std::string_view ns, std::string_view name, const Account& account);
  void erase(std::string_view ns, std::string_view name);
  void clear();
  // nullopt: no such account is known.
  [[nodiscard]] std::optional<Account> find(std::string_view ns, std::string_view name) const;
  [[nodiscard]] std::map<std::string, RoleSettings> entries() const;  // sorted, for the debug page
  [[nodiscard]] std::size_t size() const;
  // Those that have an account of which this is true.
  using Judge = std::function<bool(std::string_view ns, std::string_view name, const Account& account)>;
  [[nodiscard]] std::set<std::string> namespacesWhere(const Judge& judge) const;
  // Around a list: what was not put in between is forgotten, because a list shows all there is. Without a set of what it showed, which
  // would take as much memory as the accounts.
  void beginList();
  void endList();

 private:
  using Slot = std::uint32_t;  // where the record begins in records_, plus one; 0: free

  [[nodiscard]] std::size_t place(std::string_view key) const;  // of its slot, or the free one where it belongs
  [[nodiscard]] std::string_view keyAt(Slot slot) const;
  [[nodiscard]] Account accountAt(Slot slot) const;
  Slot append(std::string_view key, const Account& account);
  void forget(std::size_t at);
  void rebuild(std::size_t slots);  // without the records that nothing leads to

  mutable std::shared_mutex mutex_;
  std::vector<Slot> slots_ = std::vector<Slot>(64);  // open addressing, linear; a power of two
  std::vector<char> records_;
  std::size_t count_ = 0;
  std::size_t garbage_ = 0;             // bytes in records_
  std::optional<RoleSettings> common_;  // of the first account, with the part of its role up to the name
};

}  // namespace podpass::irsa
