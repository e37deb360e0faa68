#include "cli/table_text.h"

#include <gtest/gtest.h>

#include "api/kinds.h"
#include "base/text.h"

namespace podpass::cli {
namespace {

TEST(TableText, IsAsWideAsItsWords) { EXPECT_EQ(tableText({{"A", "BB", "C"}, {"aaa", "", "c"}}), "A    BB  C\naaa      c\n"); }

TEST(TableText, ShowsObjectsByTheirKind) {
  const FakeClock clock;
  json::object object =
      json::parse(R"({"metadata":{"name":"j","namespace":"shop"},"spec":{"serviceAccountName":"cart","audiences":["a","b"]}})").as_object();
  object["spec"].as_object()["expirationTimestamp"] = rfc3339(clock.now() + std::chrono::seconds(90));
  object["metadata"].as_object()["creationTimestamp"] = rfc3339(clock.now() - std::chrono::hours(1));
  const auto document = std::make_shared<Document>(Document{object, "", 1});
  EXPECT_EQ(tableText(api::issuedTokenKind(), {document}, clock.now()),
            "NAMESPACE  NAME  SUBJECT  AUDIENCES  BOUND   NODE    ISSUED  EXPIRES\n"
            "shop       j     cart     a,b        <none>  <none>  60m     90s\n");
}

}  // namespace
}  // namespace podpass::cli
