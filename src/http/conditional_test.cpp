#include "http/conditional.h"

#include <gtest/gtest.h>

namespace podpass::http {
namespace {

TEST(IfNoneMatch, HoldsWhatTheListNames) {
  struct Case {
    const char* why;
    std::vector<const char*> sent;
    bool holds;
  };
  const Case cases[] = {{"nothing is asked", {}, false},
                        {"it alone", {R"("a,b")"}, true},
                        {"another", {R"("b")"}, false},
                        {"a weak one of the same text", {R"(W/"a,b")"}, true},
                        {"the mark of weakness is a capital", {R"(w/"a,b")"}, false},
                        {"anything", {"*"}, true},
                        {"anything is said alone", {R"(*, "b")"}, false},
                        {"a star that is a tag", {R"("*")"}, false},
                        {"the last of a list", {R"("b", W/"c" ,	"a,b")"}, true},
                        {"a list without blanks", {R"("b","a,b","c")"}, true},
                        {"empty elements", {R"(, ,"a,b",)"}, true},
                        {"in a second header", {R"("b")", R"("a,b")"}, true},
                        {"without quotes", {"a,b"}, false},
                        {"without the end", {R"("a,b)"}, false},
                        {"part of another", {R"("xa,b")", R"("a,bx")", R"("a")", R"("b")"}, false},
                        {"behind a mistake", {R"(x, "a,b")"}, false},
                        {"with something behind it", {R"("a,b"x)", R"("a,b""c")"}, false},
                        {"empty", {""}, false}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    Headers headers;
    for (const char* each : c.sent) headers.add("if-none-match", each);
    EXPECT_EQ(holdsCurrent(headers, R"("a,b")"), c.holds);
  }
}

TEST(EntityTag, IsOfTheBytes) {
  EXPECT_EQ(entityTag("{}"), R"("44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a")");
  EXPECT_NE(entityTag("{} "), entityTag("{}"));
}

}  // namespace
}  // namespace podpass::http
