#include "cli/doctor_print.h"

#include <gtest/gtest.h>

#include "irsa/trust_policy_verdict.h"

namespace podpass::cli {
namespace {

TEST(DoctorPrint, IsAChecklistWithTheMendBelow) {
  irsa::Diagnosis diagnosis{"pod shop/cart", "arn:aws:iam::000000000000:role/cart"};
  diagnosis.ok("pod", "Running");
  diagnosis.ok("identity", "arn", "by the way");
  diagnosis.broken("audience", "\"a\"", "the provider takes \"b\"", {"ask for b", "kubectl one\nkubectl two"});
  diagnosis.unknown("role", "list roles", Error{Reason::Forbidden, "no"});
  diagnosis.skipped("trust-policy", "the role could not be read");
  EXPECT_EQ(shownDiagnosis(diagnosis),
            "pod shop/cart, role arn:aws:iam::000000000000:role/cart\n"
            "ok       pod           Running\n"
            "ok       identity      arn\n"
            "           note: by the way\n"
            "BROKEN   audience      \"a\"\n"
            "           why:  the provider takes \"b\"\n"
            "           mend: ask for b\n"
            "             kubectl one\n"
            "             kubectl two\n"
            "unknown  role          you may not list roles: no\n"
            "           mend: ask whoever administers the cluster for the right to list roles\n"
            "skipped  trust-policy  the role could not be read\n"
            "the first broken link: audience\n");
}

TEST(DoctorPrint, ShowsTheStatementsOfATrustPolicy) {
  irsa::Diagnosis diagnosis{"token", ""};
  diagnosis.broken("trust-policy", "no", "why", {"do", "kubectl apply -f - <<'EOF'\na: 1\nEOF"});
  irsa::TrustVerdict verdict{};
  verdict.statements.resize(1);
  verdict.statements[0].allows = true;
  verdict.statements[0].expectedActions = {"a"};
  diagnosis.checks.back().detail = irsa::toJson(verdict);
  const std::string text = shownDiagnosis(diagnosis);
  EXPECT_NE(text.find("statement 0, Allow: does not match\n  FAIL  action: expected \"a\""), std::string::npos) << text;
  EXPECT_NE(text.find("\nkubectl apply -f - <<'EOF'\na: 1\nEOF\n"), std::string::npos) << text;  // as it can be copied
}

TEST(DoctorPrint, KeepsStrangersTextsOffTheTerminal) {
  irsa::Diagnosis diagnosis{"\x1b[31m", "\xc2\x9b"};
  diagnosis.broken("claims", "\x1b]0;x\x07", "a\rb", {"\x7f", "\x1b"});
  EXPECT_EQ(shownDiagnosis(diagnosis).find_first_of("\x1b\x07\r\x7f\x9b"), std::string::npos);
}

TEST(DoctorPrint, TellsWhatIsKnownWhenNothingIsBroken) {
  irsa::Diagnosis diagnosis{"pod a/b", "r"};
  diagnosis.ok("pod", "Running");
  EXPECT_TRUE(shownDiagnosis(diagnosis).ends_with("\nevery link holds\n"));
  diagnosis.unknown("role", "list roles", Error{Reason::Unavailable, "away"});
  EXPECT_TRUE(shownDiagnosis(diagnosis).ends_with("\nnothing is broken as far as could be seen\n"));
}

}  // namespace
}  // namespace podpass::cli
