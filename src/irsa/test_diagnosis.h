#pragma once

#include <gtest/gtest.h>

#include <string>

#include "irsa/diagnosis.h"

// What the tests of all examinations expect of a diagnosis.
namespace podpass::irsa::test {

inline std::string summary(const Diagnosis& diagnosis) {
  std::string text;
  for (const Check& check : diagnosis.checks)
    text += check.id + " " + std::string(wordOf(check.finding)) + ": " + check.found + " | " + check.why + "\n";
  return text;
}

struct Broken {
  const char *id, *says, *mend;  // the first that is broken: what it found or why contains `says`, and its command `mend`
};

inline void expectBroken(const Diagnosis& diagnosis, const Broken& expected, std::size_t checks) {
  EXPECT_EQ(diagnosis.checks.size(), checks) << summary(diagnosis);
  EXPECT_NE(diagnosis.find("identity")->finding, Finding::Ok);
  const Check* broken = diagnosis.firstBroken();
  ASSERT_NE(broken, nullptr) << summary(diagnosis);
  EXPECT_EQ(broken->id, expected.id) << summary(diagnosis);
  EXPECT_NE((broken->found + " " + broken->why).find(expected.says), std::string::npos) << summary(diagnosis);
  EXPECT_NE(broken->mend.command.find(expected.mend), std::string::npos) << broken->mend.command;
}

}  // namespace podpass::irsa::test
