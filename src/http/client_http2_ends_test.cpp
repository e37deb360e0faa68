#include "http/client_http2.h"

#include <gtest/gtest.h>

#include "http/test_frame_server.h"
#include "http/test_memory_transport.h"
#include "http/test_together.h"

// How connections end, and which requests are sent again then.
namespace podpass::http {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

void serve(Peer& peer) {
  peer.greet();
  peer.answerAll();
}

TEST(Http2Client, WhatTheServerDidNotBeginWithIsSentOnceMoreWhateverItIs) {
  struct Case {
    const char* why;
    FrameServer::Behaviour refuse;
    int connections;
  };
  const Case cases[] = {{"a goodbye",
                         [](Peer& peer) {
                           peer.request();
                           peer.goAway(0);
                           peer.hang();
                         },
                         2},
                        {"a refusal of the stream",
                         [](Peer& peer) {
                           peer.send({kReset, 0, peer.request(), number(7, 4)});
                           peer.answerAll();
                         },
                         1}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    const auto refuse = [&c](Peer& peer) {
      peer.greet();
      c.refuse(peer);
    };
    FrameServer server({refuse, serve});
    EXPECT_EQ(textOf(fetch(server.url(), multiplexing("not repeatable"))), "ok");
    EXPECT_EQ(server.connections(), c.connections);
  }
}

TEST(Http2Client, AServerThatRefusesTwiceIsBelieved) {
  FrameServer goodbye([](Peer& peer) {
    peer.greet();
    peer.request();
    peer.goAway(0);
    peer.hang();
  });
  const Result<Fetched> first = fetch(goodbye.url(), multiplexing("x"));
  ASSERT_FALSE(first);
  EXPECT_EQ(first.error().reason, Reason::Unavailable);
  EXPECT_NE(first.error().sentence.find("closes the connection (GOAWAY) and did not take the request"), std::string::npos)
      << first.error().sentence;
  EXPECT_EQ(goodbye.connections(), 2);

  std::atomic<int> asked = 0;
  FrameServer refusal([&asked](Peer& peer) {
    peer.greet();
    for (; const std::uint32_t stream = peer.request(); ++asked) peer.send({kReset, 0, stream, number(7, 4)});
  });
  const Result<Fetched> second = fetch(refusal.url(), multiplexing("x"));
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().sentence.find("reset the stream: REFUSED_STREAM"), std::string::npos) << second.error().sentence;
  EXPECT_EQ(asked, 2);
}

TEST(Http2Client, AGoodbyeLetsFinishWhatWasBegun) {
  FrameServer server({[](Peer& peer) {
                        peer.greet();
                        const std::uint32_t stream = peer.request();
                        peer.goAway(stream);
                        peer.answer(stream, "old");
                        peer.hang();
                      },
                      serve});
  Client client;
  EXPECT_EQ(textOf(fetch(client, server.url(), multiplexing("once"))), "old");
  EXPECT_EQ(textOf(fetch(client, server.url(), multiplexing("once"))), "ok") << "on another connection";
  EXPECT_EQ(server.connections(), 2);
}

TEST(Http2Client, WhatWasBegunBeforeAGoodbyeIsNotSentAgain) {
  FrameServer server([](Peer& peer) {
    peer.greet();
    peer.answer(peer.request());
    peer.goAway(peer.request(), 11);  // and the connection ends
  });
  Client client;
  FetchOptions options = multiplexing("x");
  options.repeatable = true;
  ASSERT_EQ(textOf(fetch(client, server.url(), options)), "ok");
  const Result<Fetched> lost = fetch(client, server.url(), options);
  ASSERT_FALSE(lost);
  EXPECT_NE(lost.error().sentence.find("sent GOAWAY (ENHANCE_YOUR_CALM) and closed the connection"), std::string::npos)
      << lost.error().sentence;
  EXPECT_EQ(server.connections(), 1);
}

TEST(Http2Client, WhatCouldNotBeSentBeforeAGoodbyeIsUntouched) {
  asio::io_context loop(1);
  const auto transport = std::make_shared<MemoryTransport>(loop.get_executor(), 1000);
  const auto connection = std::make_shared<Http2Connection>(transport, asio::ip::address(), "server", ClientOptions(), [] {});
  ASSERT_TRUE(connection->start());
  const FetchOptions options;
  const Url url = *parseUrl("https://server/");
  Exchange exchanges[2];
  std::vector<Result<Fetched>> answers(2);
  const auto begin = [&](int number) {
    asio::co_spawn(loop, connection->answerOf(connection->begin(url, options), exchanges[number]),
                   [&, number](std::exception_ptr, Result<Fetched> got) { answers[static_cast<std::size_t>(number)] = std::move(got); });
    loop.poll();
  };
  transport->feed(bytesOf({kSettings, 0, 0}));
  begin(0);
  transport->beStuck(true);
  transport->feed(bytesOf({kPing, 0, 0, "12345678"}));
  loop.poll();  // its answer is stuck, and what comes after it waits
  begin(1);
  transport->feed(bytesOf({kGoaway, 0, 0, number(1, 4) + number(0, 4)}));
  loop.poll();
  transport->beStuck(false);
  transport->feed(bytesOf({kHeaders, kEndHeaders | kEndStream, 1, "\x88"}));
  loop.run();
  EXPECT_TRUE(answers[0]) << textOf(answers[0]);
  EXPECT_FALSE(answers[1]);
  EXPECT_TRUE(exchanges[1].untouched);
  EXPECT_TRUE(connection->over());
  const std::string requestTo3 = number(3, 4);
  EXPECT_EQ(transport->written().find(requestTo3), std::string::npos) << "it was not sent";
}

TEST(Http2Client, WhenAKeptConnectionDiesOnlyWhatIsSafeIsSentAgain) {
  const FrameServer::Behaviour diesSecond = [](Peer& peer) {
    peer.greet();
    peer.answer(peer.request());
    peer.request();  // and the connection ends
  };
  for (const bool repeatable : {false, true}) {
    FrameServer server({diesSecond, serve});
    Client client;
    FetchOptions options = multiplexing("a body");
    options.repeatable = repeatable;
    ASSERT_EQ(textOf(fetch(client, server.url(), options)), "ok");
    const Result<Fetched> second = fetch(client, server.url(), options);
    EXPECT_EQ(static_cast<bool>(second), repeatable) << textOf(second);
    EXPECT_EQ(textOf(fetch(client, server.url(), options)), "ok") << "and the next opens another";
  }
}

TEST(Http2Client, ATimeoutCancelsItsStreamAndKeepsTheConnection) {
  std::promise<std::string> cancelled;
  FrameServer server([&cancelled](Peer& peer) {
    peer.greet();
    peer.answer(peer.request());
    peer.request();
    const std::optional<Frame> reset = peer.await(kReset);
    cancelled.set_value(reset ? number(reset->stream, 4) + reset->payload : "");
    peer.answerAll();
  });
  Client client;
  EXPECT_EQ(textOf(fetch(client, server.url(), multiplexing())), "ok") << "so that the handshake takes none of the time";
  FetchOptions impatient = multiplexing();
  impatient.timeout = 200ms;
  EXPECT_EQ(fetch(client, server.url(), impatient).error().reason, Reason::Timeout);
  EXPECT_EQ(cancelled.get_future().get(), number(3, 4) + number(8, 4)) << "CANCEL";
  EXPECT_EQ(textOf(fetch(client, server.url(), multiplexing())), "ok");
  EXPECT_EQ(server.connections(), 1);
}

TEST(Http2Client, AnswersPingsAndSendsThemWhenNothingIsHeard) {
  std::promise<void> probed;
  FrameServer server([&probed](Peer& peer) {
    peer.greet();
    const std::uint32_t stream = peer.request();
    peer.send({kPing, 0, 0, "question"});
    std::optional<Frame> frame = peer.await(kPing);
    while (frame && frame->flags != kAck) frame = peer.await(kPing);  // it may ask, too
    EXPECT_TRUE(frame && frame->payload == "question");
    peer.answer(stream);
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(peer.await(kPing));
    probed.set_value();
    peer.answerAll();
  });
  Client client({.probeAfter = 30ms, .allowed = {}});
  ASSERT_EQ(textOf(fetch(client, server.url(), multiplexing())), "ok");
  EXPECT_EQ(probed.get_future().wait_for(10s), std::future_status::ready) << "while it rests";
  EXPECT_EQ(textOf(fetch(client, server.url(), multiplexing())), "ok");
  EXPECT_EQ(server.connections(), 1) << "who answers is kept";
}

void answerOnce(Peer& peer) {
  peer.greet();
  peer.answer(peer.request());
  peer.hang();
}

TEST(Http2Client, WhoDoesNotAnswerAPingIsGivenUpWithWhatWaitsForIt) {
  FrameServer server({answerOnce, serve});
  Client client({.probeAfter = 100ms, .probeAnswer = 100ms, .allowed = {}});
  ASSERT_EQ(textOf(fetch(client, server.url(), multiplexing("x"))), "ok");
  const auto began = steady_clock::now();
  const Result<Fetched> dead = fetch(client, server.url(), multiplexing("x"));
  if (!dead) {  // it may have been found dead before
    EXPECT_NE(dead.error().sentence.find("did not answer a PING within 100 ms"), std::string::npos) << dead.error().sentence;
  }
  EXPECT_LT(steady_clock::now() - began, 10s) << "long before its own timeout";
  EXPECT_EQ(textOf(fetch(client, server.url(), multiplexing("x"))), "ok");
  EXPECT_EQ(server.connections(), 2);
}

TEST(Http2Client, RequestsGoElsewhereAsSoonAsAConnectionLooksDead) {
  FrameServer server({answerOnce, serve});
  Client client({.probeAnswer = 60s, .allowed = {}});
  ASSERT_EQ(textOf(fetch(client, server.url(), multiplexing())), "ok");
  FetchOptions impatient = multiplexing();
  impatient.timeout = 300ms;
  Result<Fetched> answer = fetch(client, server.url(), impatient);
  EXPECT_EQ(answer.error().reason, Reason::Timeout);
  for (int i = 0; i < 20 && !answer; ++i) answer = fetch(client, server.url(), impatient);
  EXPECT_EQ(textOf(answer), "ok");
  EXPECT_EQ(server.connections(), 2);
}

TEST(Http2Client, AnIdleConnectionIsClosedInTime) {
  std::promise<void> closed;
  FrameServer server([&closed](Peer& peer) {
    answerOnce(peer);
    closed.set_value();
  });
  Client client({.idle = 50ms, .allowed = {}});
  ASSERT_EQ(textOf(fetch(client, server.url(), multiplexing())), "ok");
  EXPECT_EQ(closed.get_future().wait_for(10s), std::future_status::ready);
}

}  // namespace
}  // namespace podpass::http
