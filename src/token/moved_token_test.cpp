#include "token/moved_token.h"

#include <gtest/gtest.h>

#include "base/text.h"

namespace podpass::token {
namespace {

TEST(MovedToken, IsKnownByTheTokenThatReplacedIt) {
  json::object secret;
  EXPECT_FALSE(hasReplaced(secret, "b", "a"));
  recordMove(secret, "a", "b");
  EXPECT_TRUE(hasReplaced(secret, "b", "a"));
  EXPECT_FALSE(hasReplaced(secret, "b", "b"));
  EXPECT_FALSE(hasReplaced(secret, "", "a"));
  EXPECT_FALSE(hasReplaced(secret, "x", "a")) << "somebody put another there";
  recordMove(secret, "b", "c");
  EXPECT_TRUE(hasReplaced(secret, "c", "a") && hasReplaced(secret, "c", "b"));
  recordMove(secret, "x", "d");
  EXPECT_TRUE(hasReplaced(secret, "d", "x"));
  EXPECT_FALSE(hasReplaced(secret, "d", "a")) << "what another had replaced is forgotten";
}

TEST(MovedToken, OnlyTheLastFourAreRemembered) {
  json::object secret;
  for (char c = 'a'; c < 'h'; ++c) recordMove(secret, std::string(1, c), std::string(1, static_cast<char>(c + 1)));
  std::string known;
  for (char c = 'a'; c < 'h'; ++c)
    if (hasReplaced(secret, "h", std::string(1, c))) known += c;
  EXPECT_EQ(known, "defg");
}

TEST(MovedToken, AnAnnotationThatIsNoneProvesNothing) {
  for (const std::string& text : {std::string(), std::string("."), base64UrlEncode(sha256("b")), base64UrlEncode(sha256("b")) + ".",
                                  base64UrlEncode(sha256("b")) + ".." + base64UrlEncode(sha256("x"))}) {
    json::object secret;
    makeObjectAt(secret, {"metadata", "annotations"})[kMovedFrom] = text;
    EXPECT_FALSE(hasReplaced(secret, "b", "a")) << text;
    EXPECT_FALSE(hasReplaced(secret, "b", "")) << text;
  }
}

}  // namespace
}  // namespace podpass::token
