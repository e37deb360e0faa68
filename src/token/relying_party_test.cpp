#include "token/relying_party.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <mutex>
#include <thread>

#include "base/text.h"
#include "token/issuer_documents.h"
#include "token/test_issuer.h"

namespace podpass::token {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

class RelyingPartyTest : public testing::Test {
 protected:
  RelyingPartyTest() { trust({}); }

  void trust(const std::function<void(TrustedIssuer&)>& change) {
    TrustedIssuer trusted;
    trusted.url = issuer.url();
    trusted.audiences = {"sts.amazonaws.com"};
    trusted.caPem = http::Certificates::get().text("ca.crt");
    if (change) change(trusted);
    const Result<void> done = party.trust({trusted});
    ASSERT_TRUE(done) << done.error().sentence;
  }
  json::object claims() const {
    const auto now = std::chrono::duration_cast<std::chrono::seconds>(clock.now().time_since_epoch()).count();
    return {{"iss", issuer.url()},
            {"sub", "system:serviceaccount:default:reader"},
            {"aud", json::array{"sts.amazonaws.com"}},
            {"exp", now + 600},
            {"iat", now},
            {"nbf", now}};
  }
  static std::string sign(const json::object& claims, const jose::Key& key) { return *jose::signCompact(key, json::serialize(claims)); }
  Result<VerifiedToken> verify(std::string token) {
    asio::io_context here(1);
    auto done = asio::co_spawn(here, party.verify(std::move(token)), asio::use_future);
    here.run();
    return done.get();
  }
  // "" when it is accepted, else the check that failed.
  std::string failedCheck(std::string token) {
    const Result<VerifiedToken> verified = verify(std::move(token));
    if (verified) return "";
    sentence = verified.error().sentence;
    const std::optional<Refusal> refused = refusalOf(verified.error());
    return refused ? refused->check : "not a refusal: " + sentence;
  }

  FakeClock clock;
  SomebodysIssuer issuer;
  asio::thread_pool pool{2};
  RelyingParty party{pool, clock};
  std::string sentence;
};

TEST_F(RelyingPartyTest, SaysWhatAGoodTokenProves) {
  for (const jose::Key* key : {&rsa(), &ec()}) {
    const Result<VerifiedToken> verified = verify(sign(claims(), *key));
    ASSERT_TRUE(verified) << verified.error().sentence;
    EXPECT_EQ(verified->issuer, issuer.url());
    EXPECT_EQ(verified->subject, "system:serviceaccount:default:reader");
    EXPECT_EQ(verified->audiences, std::vector<std::string>{"sts.amazonaws.com"});
    EXPECT_EQ(verified->alg, key->alg);
    EXPECT_EQ(verified->kid, key->kid);
    EXPECT_EQ(textAt(verified->claims, {"iss"}), issuer.url());
  }
  EXPECT_EQ(issuer.asked(), 2) << "the keys are kept";
}

TEST_F(RelyingPartyTest, NamesTheFirstCheckThatFails) {
  struct Case {
    const char* why;
    std::function<void(json::object& claims)> spoil;
    const char* check;
    const char* says;
  };
  const Case cases[] = {
      {"no subject", [](json::object& c) { c.erase("sub"); }, "claims", "no claim sub"},
      {"a time in words", [](json::object& c) { c["exp"] = "tomorrow"; }, "claims", "no claim exp"},
      {"a time beyond all clocks", [](json::object& c) { c["exp"] = 1e300; }, "claims", "no claim exp"},
      {"a negative time", [](json::object& c) { c["iat"] = -1; }, "claims", "no claim iat"},
      {"an audience that is a number", [](json::object& c) { c["aud"] = json::array{1}; }, "claims", "no claim aud"},
      {"an issuer that nobody registered", [](json::object& c) { c["iss"] = "https://127.0.0.1:1"; }, "issuer", "is not registered here"},
      {"the issuer with a slash more", [&](json::object& c) { c["iss"] = issuer.url() + "/"; }, "issuer", "is not registered here"},
      {"another audience", [](json::object& c) { c["aud"] = "vault"; }, "audience",
       R"(expected "sts.amazonaws.com", the token says "vault")"},
      {"expired", [](json::object& c) { c["exp"] = c["iat"].get_int64(); }, "time",
       "the token has expired: exp is 2023-03-04T09:28:03Z, the clock here says 2023-03-04T09:28:03Z, 0s"},
      {"not yet valid", [](json::object& c) { c["nbf"] = c["iat"].get_int64() + 90; }, "time",
       "the clock here says 2023-03-04T09:28:03Z, 90s earlier"},
      {"of the future", [](json::object& c) { c["iat"] = c["iat"].get_int64() + 1; }, "time", "was issued in the future"}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    json::object spoiled = claims();
    c.spoil(spoiled);
    EXPECT_EQ(failedCheck(sign(spoiled, ec())), c.check);
    EXPECT_NE(sentence.find(c.says), std::string::npos) << sentence;
  }
  EXPECT_EQ(issuer.asked(), 0) << "nothing is fetched for a token that is refused anyway";
}

TEST_F(RelyingPartyTest, TheSignatureMustBeTheIssuersKey) {
  const std::string good = sign(claims(), ec());
  EXPECT_EQ(failedCheck("a.b"), "form");
  EXPECT_EQ(failedCheck(std::string(100'000, 'a')), "form");
  EXPECT_EQ(failedCheck(sign(claims(), jose::Key{ec().kid, "ES256", *crypto::KeyPair::generate(crypto::KeyType::P256)})), "signature");
  EXPECT_EQ(failedCheck(sign(claims(), jose::Key{"other", "ES256", ec().key})), "key id");
  EXPECT_NE(sentence.find(R"(no key for kid "other")"), std::string::npos) << sentence;
  EXPECT_EQ(failedCheck(sign(claims(), jose::Key{rsa().kid, "ES256", ec().key})), "algorithm");
  EXPECT_NE(sentence.find("is for RS256"), std::string::npos) << sentence;
  trust([](TrustedIssuer& trusted) { trusted.algorithms = {"RS256"}; });
  EXPECT_EQ(failedCheck(good), "algorithm");
  EXPECT_EQ(failedCheck(sign(claims(), rsa())), "");
}

TEST_F(RelyingPartyTest, TwoKeysOfOneNameAreNoKey) {
  jose::Key twin{ec().kid, "ES256", *crypto::KeyPair::generate(crypto::KeyType::P256)};
  issuer.publish({ec(), twin});
  EXPECT_EQ(failedCheck(sign(claims(), ec())), "key id");
  EXPECT_NE(sentence.find("publishes 2 keys"), std::string::npos) << sentence;
}

TEST_F(RelyingPartyTest, ATokenWithoutKidNeedsAKeyWithout) {
  const jose::Key nameless{"", "ES256", ec().key};
  EXPECT_EQ(failedCheck(sign(claims(), nameless)), "key id");
  issuer.publish({nameless});
  clock.advance(10s);
  EXPECT_EQ(failedCheck(sign(claims(), nameless)), "");
}

TEST_F(RelyingPartyTest, SkewIsAllowedToTheSecond) {
  trust([](TrustedIssuer& trusted) { trusted.skew = 30s; });
  const std::string token = sign(claims(), ec());
  clock.advance(629s);
  EXPECT_EQ(failedCheck(token), "");
  clock.advance(1s);
  EXPECT_EQ(failedCheck(token), "time");
  EXPECT_NE(sentence.find("30s later; 30 s of skew are allowed"), std::string::npos) << sentence;
}

TEST_F(RelyingPartyTest, AnUnknownKidFetchesAgainButNotOftenerThanEveryTenSeconds) {
  issuer.publish({rsa()});
  EXPECT_EQ(failedCheck(sign(claims(), rsa())), "");
  issuer.publish({rsa(), ec()});
  const std::string rotated = sign(claims(), ec());
  for (int i = 0; i < 20; ++i) EXPECT_EQ(failedCheck(rotated), "key id");
  EXPECT_EQ(issuer.asked(), 2) << "too early";
  clock.advance(10s);
  EXPECT_EQ(failedCheck(rotated), "");
  EXPECT_EQ(issuer.asked(), 4);
  clock.advance(10s);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(failedCheck(sign(claims(), jose::Key{std::to_string(i), "ES256", ec().key})), "key id");
  EXPECT_EQ(issuer.asked(), 6) << "made-up kids do not multiply requests";
}

TEST_F(RelyingPartyTest, KeysAreKeptForAsLongAsTheIssuerSays) {
  struct Case {
    const char* control;
    std::chrono::seconds life;
  };
  for (const Case& c : {Case{"", 300s}, Case{"public, max-age=120", 120s}, Case{"max-age=1", 60s},
                        Case{"Max-Age=999999999999999999999", 3600s}, Case{"no-cache", 60s}}) {
    SCOPED_TRACE(c.control);
    http::Headers headers;
    if (*c.control != '\0') headers.add("Cache-Control", c.control);
    EXPECT_EQ(cacheLife(headers), c.life);
  }
  trust([](TrustedIssuer& trusted) { trusted.skew = 1h; });
  issuer.change([&] { issuer.jwks.headers.add("Cache-Control", "max-age=120"); });
  const std::string token = sign(claims(), ec());
  EXPECT_EQ(failedCheck(token), "");
  issuer.publish({rsa()});  // the key is withdrawn
  clock.advance(119s);
  EXPECT_EQ(failedCheck(token), "");
  clock.advance(1s);
  EXPECT_EQ(failedCheck(token), "key id");
}

TEST_F(RelyingPartyTest, TheLastKeysServeForADayWhileTheIssuerIsAway) {
  trust([](TrustedIssuer& trusted) { trusted.skew = 48h; });
  const std::string token = sign(claims(), ec());
  EXPECT_EQ(failedCheck(token), "");
  issuer.change([&] { issuer.document = answerOf("", 503); });
  clock.advance(24h - 1s);
  EXPECT_EQ(failedCheck(token), "");
  clock.advance(10s);
  EXPECT_EQ(failedCheck(token), "discovery");
  EXPECT_NE(sentence.find("status 503"), std::string::npos) << sentence;
  const int asked = issuer.asked();
  EXPECT_EQ(failedCheck(token), "discovery");
  EXPECT_EQ(issuer.asked(), asked) << "a failure is remembered as well";
}

TEST_F(RelyingPartyTest, WhoAsksAtOnceWaitsForOneFetch) {
  issuer.change([&] { issuer.delay = 50ms; });
  asio::io_context here(1);
  std::vector<std::future<Result<VerifiedToken>>> all;
  for (int i = 0; i < 30; ++i) all.push_back(asio::co_spawn(here, party.verify(sign(claims(), ec())), asio::use_future));
  here.run();
  for (auto& one : all) EXPECT_TRUE(one.get());
  EXPECT_EQ(issuer.asked(), 2);
}

TEST_F(RelyingPartyTest, SaysWhatIsWrongWithAnIssuersDocuments) {
  const std::string token = sign(claims(), ec());
  struct Case {
    const char* why;
    std::function<void()> spoil;
    const char* says;
  };
  const auto document = [&](const std::string& text, int status = 200, const char* type = "application/json") {
    issuer.document = answerOf(text, status, type);
  };
  const std::string keys = issuer.url() + "/keys";
  std::string many = R"({"keys":[{})";
  for (int i = 0; i < 100; ++i) many += ",{}";
  const Case cases[] = {
      {"away", [&] { document("", 404); }, "answered with status 404"},
      {"a log-in page", [&] { document("<html>", 200, "text/html; charset=utf-8"); }, "is an HTML page"},
      {"not JSON", [&] { document("<html>"); }, "the discovery document is"},
      {"cut off", [&] { document(R"({"issuer":)"); }, "the discovery document is"},
      {"a redirect to itself",
       [&] {
         document("", 302);
         issuer.document.headers.add("Location", issuer.url() + "/.well-known/openid-configuration");
       },
       "redirects are not followed"},
      {"another issuer", [&] { document(SomebodysIssuer::openidDocument("https://127.0.0.1", keys)); },
       R"(is for the issuer "https://127.0.0.1")"},
      {"no jwks_uri",
       [&] {
         document(json::serialize(json::object{{"issuer", issuer.url()}}));
       },
       "has no jwks_uri"},
      {"keys over plain HTTP", [&] { document(SomebodysIssuer::openidDocument(issuer.url(), "http://127.0.0.1/keys")); }, "must use https"},
      {"keys in a file", [&] { document(SomebodysIssuer::openidDocument(issuer.url(), "file:///etc/passwd")); }, "jwks_uri"},
      {"keys at the metadata address", [&] { document(SomebodysIssuer::openidDocument(issuer.url(), "https://169.254.169.254/keys")); },
       "is excluded"},
      {"the same, in IPv6's clothes",
       [&] { document(SomebodysIssuer::openidDocument(issuer.url(), "https://[::ffff:169.254.169.254]/keys")); }, "is excluded"},
      {"keys that are no JWKS", [&] { issuer.jwks = answerOf("[]"); }, "the JWKS is"},
      {"a JWKS of ten megabytes", [&] { issuer.jwks = answerOf(std::string(10 << 20, ' ')); }, "larger than 1048576 bytes"},
      {"more keys than anyone has", [&] { issuer.jwks = answerOf(many + "]}"); }, "101 keys"}};
  const http::Response goodDocument = issuer.document, goodJwks = issuer.jwks;
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    issuer.change(c.spoil);
    clock.advance(10s);
    EXPECT_EQ(failedCheck(token), "discovery");
    EXPECT_NE(sentence.find(c.says), std::string::npos) << sentence;
    issuer.change([&] { issuer.document = goodDocument, issuer.jwks = goodJwks; });
  }
  issuer.change([&] { issuer.delay = 6s; });
  clock.advance(10s);
  EXPECT_EQ(failedCheck(token), "discovery");
  EXPECT_NE(sentence.find("within 5000 ms"), std::string::npos) << sentence;
}

// Somebody who listens where an issuer should, and does with each connection as the test wants.
class RawIssuer {
 public:
  explicit RawIssuer(std::function<void(RawIssuer&)> serve) : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    EXPECT_EQ(::bind(listener_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size), 0);
    EXPECT_EQ(::listen(listener_, 8), 0);
    url = "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port));
    thread_ = std::thread([this, serve = std::move(serve)] {
      while ((peer_ = ::accept(listener_, nullptr, nullptr)) >= 0) {
        ++connections;
        serve(*this);
        ::close(peer_);
      }
    });
  }
  ~RawIssuer() {
    over_ = true;
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
  }
  // False once the client has gone, or the test is over.
  bool send(std::string_view bytes) {
    const ssize_t sent = ::send(peer_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent > 0) bytesSent += static_cast<std::size_t>(sent);
    return sent == static_cast<ssize_t>(bytes.size()) && !over_;
  }
  void readRequest() {
    char some[4096];
    static_cast<void>(::recv(peer_, some, sizeof(some), 0));
  }

  std::string url;
  std::atomic<std::size_t> bytesSent{0};
  std::atomic<int> connections{0};

 private:
  int listener_, peer_ = -1;
  std::atomic<bool> over_{false};
  std::thread thread_;
};

TEST_F(RelyingPartyTest, WhateverListensThereCostsLittleTimeAndMemory) {
  struct Case {
    const char* why;
    std::function<void(RawIssuer&)> serve;
    const char* says;
  };
  const std::string block(64 << 10, ' '), chunk = "10000\r\n" + block + "\r\n";
  const char* const head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
  const auto after = [head](RawIssuer& to, const std::string& headers) {
    to.readRequest();
    return to.send(head + headers);
  };
  const Case cases[] = {
      {"it hangs up", [](RawIssuer&) {}, "closed the connection"},
      {"it speaks something else",
       [](RawIssuer& to) {
         to.readRequest();
         to.send("SSH-2.0-OpenSSH_9.2\r\n\r\n");
       },
       "is not HTTP"},
      {"a header without an end",
       [&](RawIssuer& to) {
         to.readRequest();
         if (!to.send("HTTP/1.1 200 OK\r\nX-Filler: ")) return;
         while (to.send(std::string(64 << 10, 'x'))) continue;
       },
       "is not HTTP"},
      {"a body without an end",
       [&](RawIssuer& to) {
         if (!after(to, "Transfer-Encoding: chunked\r\n\r\n")) return;
         while (to.send(chunk)) continue;
       },
       "larger than 1048576 bytes"},
      {"a body of ten gigabytes, as it says",
       [&](RawIssuer& to) {
         if (!after(to, "Content-Length: 10737418240\r\n\r\n")) return;
         while (to.send(block)) continue;
       },
       "larger than 1048576 bytes"},
      {"half a body", [&](RawIssuer& to) { after(to, "Content-Length: 1000\r\n\r\n{"); }, "was cut off"},
      {"a bomb in gzip's clothes", [&](RawIssuer& to) { after(to, "Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\xff"); },
       "the discovery document is"},
      {"one byte after the other",
       [&](RawIssuer& to) {
         if (!after(to, "Content-Length: 100000\r\n\r\n")) return;
         while (to.send(" ")) std::this_thread::sleep_for(50ms);
       },
       "within 5000 ms"}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    RawIssuer raw(c.serve);
    trust([&](TrustedIssuer& trusted) {
      trusted.url = raw.url;
      trusted.plainLoopback = true;
    });
    json::object spoken = claims();
    spoken["iss"] = raw.url;
    const std::string token = sign(spoken, ec());
    const auto began = std::chrono::steady_clock::now();
    EXPECT_EQ(failedCheck(token), "discovery");
    EXPECT_NE(sentence.find(c.says), std::string::npos) << sentence;
    EXPECT_LT(std::chrono::steady_clock::now() - began, 30s) << "five seconds are the limit; the rest is a slow machine's";
    EXPECT_LT(raw.bytesSent, 16u << 20) << "what it sends is not read to the end";
    for (int i = 0; i < 20; ++i) EXPECT_EQ(failedCheck(token), "discovery");
    EXPECT_LE(raw.connections, 2) << "a failure is remembered, or whoever has a token could let us ask without end";
  }
}

TEST_F(RelyingPartyTest, AnIssuerThatIsNotRegisteredIsNeverAsked) {
  RawIssuer stranger([](RawIssuer&) {});
  json::object spoken = claims();
  for (const char* path : {"", "/", "/id/1", "@127.0.0.1", "#"}) {
    spoken["iss"] = stranger.url + path;
    EXPECT_EQ(failedCheck(sign(spoken, ec())), "issuer");
  }
  EXPECT_EQ(stranger.connections, 0);
}

TEST_F(RelyingPartyTest, KeysThatAreForgottenAreFetchedAnew) {
  EXPECT_EQ(failedCheck(sign(claims(), ec())), "");
  issuer.publish({rsa()});
  EXPECT_EQ(failedCheck(sign(claims(), ec())), "") << "the withdrawn key is still kept";
  party.forget();
  EXPECT_EQ(failedCheck(sign(claims(), ec())), "key id");
  issuer.publish({rsa(), ec()});
  EXPECT_EQ(failedCheck(sign(claims(), ec())), "key id") << "too early to ask again";
  party.forget();
  EXPECT_EQ(failedCheck(sign(claims(), ec())), "");
  trust([](TrustedIssuer& trusted) { trusted.jwks = jwksOf({ec()}); });
  party.forget();
  EXPECT_EQ(failedCheck(sign(claims(), ec())), "") << "keys that are given stay";
}

// The rules are asked of the address, so a name that leads to one is no way around them.
TEST_F(RelyingPartyTest, FetchesFromNoAddressThatIsExcluded) {
  const std::string token = sign(claims(), ec());
  for (const std::vector<std::string>& denied : {std::vector<std::string>{"127.0.0.0/8"}, {"0.0.0.0/0", "::/0"}}) {
    RelyingParty careful(pool, clock, *http::AddressRules::make({}, denied));
    TrustedIssuer trusted;
    trusted.url = issuer.url();
    trusted.audiences = {"sts.amazonaws.com"};
    trusted.caPem = http::Certificates::get().text("ca.crt");
    ASSERT_TRUE(careful.trust({trusted}));
    asio::io_context here(1);
    Result<VerifiedToken> verified;
    asio::co_spawn(here, careful.verify(token), [&](std::exception_ptr, Result<VerifiedToken> got) { verified = std::move(got); });
    here.run();
    ASSERT_FALSE(verified);
    EXPECT_NE(verified.error().sentence.find("is excluded"), std::string::npos) << verified.error().sentence;
  }
  EXPECT_EQ(issuer.asked(), 0);
}

TEST_F(RelyingPartyTest, BelievesOnlyTheAuthorityThatWasGiven) {
  const std::string token = sign(claims(), ec());
  trust([](TrustedIssuer& trusted) { trusted.caPem = http::Certificates::get().text("stranger-ca.crt"); });
  EXPECT_EQ(failedCheck(token), "discovery");
  EXPECT_NE(sentence.find("was not accepted"), std::string::npos) << sentence;
  trust([](TrustedIssuer& trusted) { trusted.caPem.clear(); });
  EXPECT_EQ(failedCheck(token), "discovery");
  trust([](TrustedIssuer& trusted) {
    trusted.caPem.clear();
    const std::string line = http::outputOf("openssl x509 -noout -fingerprint -in " + http::Certificates::get().path("server.crt"));
    trusted.thumbprints = {line.substr(line.find('=') + 1, 59)};
  });
  EXPECT_EQ(failedCheck(token), "");
}

TEST_F(RelyingPartyTest, KeysThatAreGivenAreNotFetched) {
  trust([](TrustedIssuer& trusted) { trusted.jwks = jwksOf({ec()}); });
  EXPECT_EQ(failedCheck(sign(claims(), ec())), "");
  EXPECT_EQ(failedCheck(sign(claims(), rsa())), "key id");
  EXPECT_EQ(issuer.asked(), 0);
}

TEST_F(RelyingPartyTest, RegistersOnlyWhatCanBeUsed) {
  struct Case {
    const char* why;
    std::vector<std::string> urls;
    bool plainLoopback;
    const char* says;  // "": accepted
  };
  const Case cases[] = {{"an ordinary one", {"https://issuer.example/id/1"}, false, ""},
                        {"plain", {"http://127.0.0.1:8080"}, false, "must use https"},
                        {"plain on loopback, when asked for", {"http://127.0.0.1:8080", "http://localhost", "http://[::1]/"}, true, ""},
                        {"plain elsewhere", {"http://issuer.example"}, true, "must use https"},
                        {"plain, and only looking like loopback", {"http://localhost.example"}, true, "must use https"},
                        {"a query", {"https://issuer.example?a=b"}, false, "neither a query nor a fragment"},
                        {"no URL", {"issuer.example"}, false, "cannot be used"},
                        {"the same twice", {"https://issuer.example", "https://issuer.example"}, false, "is given twice"}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    std::vector<TrustedIssuer> issuers;
    for (const std::string& url : c.urls) {
      TrustedIssuer trusted;
      trusted.url = url;
      trusted.plainLoopback = c.plainLoopback;
      issuers.push_back(std::move(trusted));
    }
    const Result<void> done = party.trust(std::move(issuers));
    EXPECT_EQ(bool(done), *c.says == '\0');
    EXPECT_NE((done ? "" : done.error().sentence).find(c.says), std::string::npos) << done.error().sentence;
  }
  const SomebodysIssuer plain(false);
  trust([&](TrustedIssuer& trusted) {
    trusted.url = plain.url();
    trusted.plainLoopback = true;
  });
  json::object spoken = claims();
  spoken["iss"] = plain.url();
  EXPECT_EQ(failedCheck(sign(spoken, ec())), "");
}

}  // namespace
}  // namespace podpass::token
