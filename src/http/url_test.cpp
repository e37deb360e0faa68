#include "http/url.h"

#include <gtest/gtest.h>

namespace podpass::http {
namespace {

TEST(Url, IsTakenApart) {
  const Url url = *parseUrl("https://issuer.example:8443/a/b?c=d");
  EXPECT_TRUE(url.secure);
  EXPECT_EQ(url.host, "issuer.example");
  EXPECT_EQ(url.port, "8443");
  EXPECT_EQ(url.authority, "issuer.example:8443");
  EXPECT_EQ(url.target, "/a/b?c=d");
  EXPECT_EQ(parseUrl("http://a")->port, "80");
  EXPECT_EQ(parseUrl("https://a:/x")->port, "443");
  EXPECT_EQ(parseUrl("https://[::1]:65535/x")->host, "::1");
}

TEST(Url, IsRefusedWhenItCannotBeFetched) {
  for (const char* text : {"", "a", "/a", "ftp://a/b", "https://", "https://u:p@a/", "https://a:port/x", "https://a:1x/y",
                           "https://[::1]:x/y", "https://a:65536/", "https://a:99999999999999999999/", "https://a b/", "https://[::1/"}) {
    const Result<Url> url = parseUrl(text);
    ASSERT_FALSE(url) << text;
    EXPECT_EQ(url.error().reason, Reason::BadRequest) << text;
  }
}

}  // namespace
}  // namespace podpass::http
