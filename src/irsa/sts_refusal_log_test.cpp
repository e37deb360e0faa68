#include <gtest/gtest.h>

#include <algorithm>

#include "irsa/test_sts.h"

// Refusals as they are kept for whoever looks.
namespace podpass::irsa {
namespace {

using namespace std::chrono_literals;

std::string codeOf(const test::Answer& answer) { return answer.code(); }

TEST(StsRefusalLog, GarbageDoesNotPushOutWhatIsLookedFor) {
  test::Sts sts;
  sts.refusals.start();
  EXPECT_EQ(codeOf(sts.ask(test::Sts::assume("role0", sts.token({{"sub", "system:other"}})))), "AccessDenied");
  for (int i = 0; i < 400; ++i) {
    EXPECT_EQ(codeOf(sts.ask(test::Sts::assume("role0", "x.y.z"))), "InvalidIdentityToken");
    sts.clock.advance(1s);
  }
  sts.refusals.stop();
  const auto verified = [](const DocumentPtr& event) {
    return textAt(json::parse(textAt(event->value, {"metadata", "annotations", kVerdictAnnotation})).as_object(), {"caller"}) ==
           "system:other";
  };
  EXPECT_EQ(std::count_if(sts.api.events.begin(), sts.api.events.end(), verified), 1);
  EXPECT_LE(sts.api.events.size(), 65u);
}

TEST(StsRefusalLog, CutsWhatAClientMakesLong) {
  test::Sts sts;
  sts.refusals.start();
  std::string longSubject = "a";
  for (int i = 0; i < 5000; ++i) longSubject += "\xC3\xA4";
  const json::object claims{{"sub", longSubject}, {"aud", "other"}, {"iss", "https://" + std::string(4000, 'i')}};
  EXPECT_EQ(codeOf(sts.ask(test::Sts::assume("role0", sts.token(claims)))), "InvalidIdentityToken");
  sts.refusals.record(
      {.id = "umlauts", .action = "A", .roleArn = "arn:aws:iam::000000000000:role/r", .caller = {}, .remote = {}, .role = {}},
      {403, "AccessDenied", longSubject});
  sts.refusals.stop();
  ASSERT_EQ(sts.api.events.size(), 2u);
  for (const DocumentPtr& event : sts.api.events) {
    const std::string text = json::serialize(event->value);
    EXPECT_LT(text.size(), 8192u);
    boost::system::error_code failed;
    json::parse(text, failed);
    EXPECT_FALSE(failed) << "no half characters: " << failed.message();
  }
  EXPECT_LE(textAt(sts.api.events.back()->value, {"message"}).size(), 1024u);
}

TEST(StsRefusalLog, WritesSomeEventsOfAFloodAndTheWholeVerdict) {
  test::Sts sts;
  sts.refusals.start();
  for (int i = 0; i < 200; ++i)
    EXPECT_EQ(codeOf(sts.ask(test::Sts::assume("role0", sts.token({{"sub", "system:other"}})))), "AccessDenied");
  sts.refusals.stop();
  ASSERT_FALSE(sts.api.events.empty());
  EXPECT_LE(sts.api.events.size(), 64u) << "a refusal costs an attacker nothing";
  const json::object& event = sts.api.events.front()->value;
  EXPECT_EQ(textAt(event, {"involvedObject", "name"}), "role0");
  const json::value verdict = json::parse(textAt(event, {"metadata", "annotations", kVerdictAnnotation}));
  EXPECT_EQ(verdict.at("caller"), "system:other");
  EXPECT_EQ(verdict.at("trustPolicy").at("statements").at(0).at("conditions").at(0).at("found").at(0), "system:other");
}

TEST(StsRefusalLog, KeepsOnlyTheNewest) {
  test::Sts sts;
  sts.refusals.start();
  for (int i = 0; i < 300; ++i) {
    sts.refusals.record(
        {.id = std::to_string(i), .action = "A", .roleArn = "arn:aws:iam::000000000000:role/r", .caller = {}, .remote = {}, .role = {}},
        {403, "AccessDenied", "no"});
    sts.clock.advance(1s);
    if (i % 32 == 31) std::this_thread::yield();
  }
  sts.refusals.stop();
  EXPECT_LE(sts.api.events.size(), 256u);
}

}  // namespace
}  // namespace podpass::irsa
