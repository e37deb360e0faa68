#include "irsa/mend.h"

#include <gtest/gtest.h>

#include <cstdio>

namespace podpass::irsa {
namespace {

std::string saidByShell(const std::string& script) {
  std::FILE* pipe = popen(script.c_str(), "r");
  std::string said;
  char buffer[256];
  while (const std::size_t count = std::fread(buffer, 1, sizeof buffer, pipe)) said.append(buffer, count);
  pclose(pipe);
  return said;
}

// Names of claims and annotations are strangers' texts, and people paste what doctor prints.
TEST(ShellQuoted, GivesTheShellOneWordWhateverIsInIt) {
  for (const char* text : {"", "plain", "a b", "$(id)", "`id`", "it's", "'; id; '", "a\nb", "*", "\\", "\"", "-n", "~", "#x", "a=b;c"})
    EXPECT_EQ(saidByShell("printf %s " + shellQuoted(text)), text);
}

TEST(ApplyCommand, IsOneHereDocument) {
  const std::string command = applyCommand({{"kind", "X"}, {"spec", json::object{{"text", "a\nEOF\n$(id)"}}}});
  EXPECT_EQ(saidByShell("kubectl() { cat; }; " + command), "kind: X\nspec:\n  text: |-\n    a\n    EOF\n    $(id)\n");
}

TEST(AnnotateCommand, SetsOrTakesAway) {
  EXPECT_EQ(annotateCommand("shop", "cart", "a/b", "x y"), "kubectl -n shop annotate serviceaccount cart --overwrite 'a/b=x y'");
  EXPECT_EQ(annotateCommand("shop", "cart", "a/b", ""), "kubectl -n shop annotate serviceaccount cart a/b-");
}

}  // namespace
}  // namespace podpass::irsa
