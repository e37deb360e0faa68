#include "irsa/account_cache.h"

#include <gtest/gtest.h>

#include <random>

namespace podpass::irsa {
namespace {

TEST(AccountCache, AgreesWithAMapWhateverIsDone) {
  for (std::uint32_t seed = 0; seed < 20; ++seed) {
    std::mt19937 random(seed);
    const auto below = [&random](unsigned limit) { return static_cast<unsigned>(random() % limit); };
    AccountCache cache;
    std::map<std::string, Account> model;
    for (int step = 0; step < 3000; ++step) {
      const std::string ns = "ns-" + std::to_string(below(3)), name = "account-" + std::to_string(below(200));
      const std::string key = accountKey(ns, name);
      const unsigned what = below(100);
      if (what < 60) {
        const char* const roles[] = {"", "r", "arn:aws:iam::1:role/", "arn:aws:iam::1:role/path/reader", "arn:aws:iam::2:role/other"};
        Account account{
            {roles[below(5)], below(2) ? "sts.amazonaws.com" : std::string(below(400), 'a'), below(2) == 0, below(3) ? 86400 : 600},
            below(3) ? "" : std::string(below(70'000), 'x')};
        cache.put(ns, name, account);
        model[key] = account;
      } else if (what < 97) {
        cache.erase(ns, name);
        model.erase(key);
      } else {
        cache.beginList();
        std::erase_if(model, [&below](const auto&) { return below(2) == 0; });
        for (const auto& [each, account] : model) cache.put(each.substr(0, each.find('/')), each.substr(each.find('/') + 1), account);
        cache.endList();
      }
      ASSERT_EQ(cache.size(), model.size());
      const std::optional<Account> found = cache.find(ns, name);
      ASSERT_EQ(found.has_value(), model.contains(key)) << "seed " << seed << ", step " << step;
      if (!found) continue;
      ASSERT_TRUE(found->role == model[key].role && found->annotations == model[key].annotations) << "seed " << seed << ", step " << step;
    }
    const std::map<std::string, RoleSettings> entries = cache.entries();
    ASSERT_EQ(entries.size(), model.size());
    for (const auto& [key, account] : model) ASSERT_EQ(entries.at(key), account.role);
    cache.clear();
    EXPECT_EQ(cache.size(), 0u);
  }
}

}  // namespace
}  // namespace podpass::irsa
