#include <gtest/gtest.h>

#include "http/test_frame_server.h"
#include "http/test_together.h"

// What a server that errs or lies can do to those who share a connection to it.
namespace podpass::http {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

struct Fault {
  const char* why;
  std::function<void(Peer&, std::uint32_t stream)> commit;
  const char* says;
  Reason reason = Reason::Unavailable;
};

FetchOptions small() {
  FetchOptions options = multiplexing("x");
  options.maxBody = 100'000;
  return options;
}

// 4,000 bytes that HPACK's table keeps, and then 80 times one byte that stands for them.
std::string headerBomb() {
  return std::string(
             "\x40\x01"
             "a\x7f\xa1\x1e") +
         std::string(4000, 'v') + std::string(80, '\xbe');
}

TEST(Http2Hostile, WhatIsWrongOnAStreamEndsItsRequestAlone) {
  const std::string length5 = std::string("\x0f\x0d\x01") + "5";
  const Fault faults[] = {
      {"a reset",
       [](Peer& peer, std::uint32_t stream) {
         peer.send({kReset, 0, stream, number(2, 4)});
       },
       "reset the stream: INTERNAL_ERROR"},
      {"a reset in the middle of the body",
       [](Peer& peer, std::uint32_t stream) {
         peer.head(stream);
         peer.send({kData, 0, stream, "half"});
         peer.send({kReset, 0, stream, number(0, 4)});
       },
       "reset the stream: NO_ERROR"},
      {"less than its content-length",
       [&](Peer& peer, std::uint32_t stream) {
         peer.head(stream, length5);
         peer.send({kData, kEndStream, stream, "four"});
       },
       "breaks HTTP/2: PROTOCOL_ERROR"},
      {"more than its content-length",
       [&](Peer& peer, std::uint32_t stream) {
         peer.head(stream, length5);
         peer.send({kData, kEndStream, stream, "sixsix"});
       },
       "breaks HTTP/2: PROTOCOL_ERROR"},
      {"a header in capitals", [](Peer& peer, std::uint32_t stream) { peer.head(stream, literal("X", "x")); },
       "breaks HTTP/2: PROTOCOL_ERROR"},
      {"a second status", [](Peer& peer, std::uint32_t stream) { peer.head(stream, "\x88"); }, "breaks HTTP/2: PROTOCOL_ERROR"},
      {"more headers than are read", [](Peer& peer, std::uint32_t stream) { peer.head(stream, headerBomb()); },
       "are larger than 262144 bytes"},
      {"more body than is read",
       [](Peer& peer, std::uint32_t stream) {
         peer.head(stream);
         for (int i = 0; i < 7; ++i) peer.send({kData, 0, stream, std::string(16'000, 'b')});
       },
       "is larger than 100000 bytes", Reason::RequestTooLarge}};
  for (const Fault& fault : faults) {
    SCOPED_TRACE(fault.why);
    FrameServer server([&fault](Peer& peer) {
      peer.greet();
      peer.answer(peer.request());
      const std::uint32_t one = peer.request(), other = peer.request();
      fault.commit(peer, one);
      peer.answer(other);
      peer.answerAll();
    });
    Client client;
    ASSERT_EQ(textOf(fetch(client, server.url(), small())), "ok");
    Together together(client);
    together.add(server.url(), small());
    together.add(server.url(), small());
    const std::vector<Result<Fetched>> answers = together.answers();
    ASSERT_FALSE(answers[0]);
    EXPECT_EQ(answers[0].error().reason, fault.reason);
    EXPECT_NE(answers[0].error().sentence.find(fault.says), std::string::npos) << answers[0].error().sentence;
    EXPECT_EQ(textOf(answers[1]), "ok");
    EXPECT_EQ(textOf(fetch(client, server.url(), small())), "ok") << "the headers of other answers are still understood";
    EXPECT_EQ(server.connections(), 1);
  }
}

TEST(Http2Hostile, WhatIsWrongOnTheConnectionEndsItAtOnce) {
  const auto flood = [](Frame frame) {
    return [frame = std::move(frame)](Peer& peer, std::uint32_t stream) {
      Frame each = frame;
      if (each.stream != 0) each.stream = stream;
      for (int i = 0; i < 5000 && peer.good(); ++i) peer.send(each);
    };
  };
  const std::string continued = literal("a", std::string(100, 'v'));
  const Fault faults[] = {
      {"no HTTP/2 at all", [](Peer& peer, std::uint32_t) { peer.write("HTTP/1.1 400 Bad Request\r\n\r\n"); }, "breaks HTTP/2"},
      {"a body without headers",
       [](Peer& peer, std::uint32_t stream) {
         peer.send({kData, kEndStream, stream, "x"});
       },
       "breaks HTTP/2: PROTOCOL_ERROR, DATA: stream not opened"},
      {"a window that does not grow",
       [](Peer& peer, std::uint32_t stream) {
         peer.send({8, 0, stream, number(0, 4)});
       },
       "PROTOCOL_ERROR"},
      {"a frame of an absurd size", [](Peer& peer, std::uint32_t) { peer.write(std::string("\xff\xff\xff\x00\x00\x00\x00\x00\x01", 9)); },
       "FRAME_SIZE_ERROR"},
      {"a flood of PING", flood({kPing, 0, 0, "12345678"}), "a flood of frames that carry nothing"},
      {"a flood of SETTINGS", flood({kSettings, 0, 0}), "a flood of frames that carry nothing"},
      {"a flood of informational heads", flood({kHeaders, kEndHeaders, 1, std::string("\x08\x03") + "103"}),
       "a flood of frames that carry nothing"},
      {"a flood of PRIORITY", flood({2, 0, 1, number(0, 4) + "\x10"}), "a flood of frames that carry nothing"},
      {"a flood of empty DATA",
       [flood](Peer& peer, std::uint32_t stream) {
         peer.head(stream);
         flood({kData, 0, 1})(peer, stream);
       },
       "a flood of frames that carry nothing"},
      {"headers without end",
       [&](Peer& peer, std::uint32_t stream) {
         peer.send({kHeaders, 0, stream, "\x88"});
         flood({kContinuation, 0, 1, continued})(peer, stream);
       },
       "breaks HTTP/2: Too many CONTINUATION frames"},
      {"headers that HPACK cannot read", [](Peer& peer, std::uint32_t stream) { peer.head(stream, "\xff\xff\xff\xff\xff\xff"); },
       "COMPRESSION_ERROR"},
      {"an answer to what was not asked", [](Peer& peer, std::uint32_t) { peer.head(99); }, "PROTOCOL_ERROR"},
      {"a request of its own", [](Peer& peer, std::uint32_t) { peer.head(2); }, "PROTOCOL_ERROR"},
      {"a push",
       [](Peer& peer, std::uint32_t stream) {
         peer.send({5, kEndHeaders, stream, number(2, 4) + "\x82"});
       },
       "PROTOCOL_ERROR"},
      {"a window of more than 2^31",
       [](Peer& peer, std::uint32_t) {
         peer.send({8, 0, 0, number(0x7fffffff, 4)});
       },
       "FLOW_CONTROL_ERROR"},
      {"its end",
       [](Peer& peer, std::uint32_t stream) {
         peer.head(stream);
         peer.send({kData, 0, stream, "half"});
         peer.goAway(stream);
       },
       "sent GOAWAY and closed the connection"}};
  for (const Fault& fault : faults) {
    SCOPED_TRACE(fault.why);
    FrameServer server({[&fault](Peer& peer) {
                          peer.greet();
                          const std::uint32_t one = peer.request();
                          peer.request();
                          fault.commit(peer, one);
                          if (std::string_view(fault.why) != "its end") peer.hang();
                        },
                        [](Peer& peer) {
                          peer.greet();
                          peer.answerAll();
                        }});
    Client client;
    Together together(client);
    together.add(server.url(), small());
    together.add(server.url(), small());
    const std::vector<Result<Fetched>> answers = together.answers();
    EXPECT_FALSE(answers[0]);
    for (const Result<Fetched>& each : answers) {
      if (each) continue;  // a goodbye did not mean this one
      EXPECT_EQ(each.error().reason, Reason::Unavailable) << each.error().sentence;
      EXPECT_NE(each.error().sentence.find(fault.says), std::string::npos) << each.error().sentence;
    }
    EXPECT_EQ(textOf(fetch(client, server.url(), small())), "ok") << "the next gets a connection of its own";
    EXPECT_EQ(server.connections(), 2);
  }
}

TEST(Http2Hostile, ABodyWithoutEndCostsItsTimeoutAndNothingElse) {
  FrameServer server([](Peer& peer) {
    peer.greet();
    const std::uint32_t endless = peer.request();
    peer.head(endless);
    for (bool cancelled = false; !cancelled && peer.good();) {
      peer.send({kData, 0, endless, "."});
      std::this_thread::sleep_for(20ms);  // how slow it is
      peer.send({kPing, 0, 0, "12345678"});
      std::optional<Frame> frame = peer.next();
      for (; frame && frame->type != kPing; frame = peer.next()) {
        cancelled |= frame->type == kReset && frame->stream == endless;
        if (frame->type == kData && frame->stream != endless) peer.answer(frame->stream);
      }
    }
    peer.answerAll();
  });
  Client client;
  Together together(client);
  FetchOptions impatient = small();
  impatient.timeout = 500ms;
  together.add(server.url(), impatient);
  together.add(server.url(), small());
  const std::vector<Result<Fetched>> answers = together.answers();
  ASSERT_FALSE(answers[0]);
  EXPECT_EQ(answers[0].error().reason, Reason::Timeout);
  EXPECT_EQ(textOf(answers[1]), "ok");
  EXPECT_EQ(textOf(fetch(client, server.url(), small())), "ok");
  EXPECT_EQ(server.connections(), 1);
}

TEST(Http2Hostile, ManyLargeAnswersAtOnceEndTheLargestOfThem) {
  FrameServer server([](Peer& peer) {
    peer.greet();
    std::vector<std::uint32_t> streams{peer.request()};
    while (streams.size() < 20) streams.push_back(peer.request());
    for (const std::uint32_t stream : streams) {
      peer.head(stream);
      for (int i = 0; i < 6; ++i) peer.send({kData, 0, stream, std::string(15'000, 'b')});
    }
    for (const std::uint32_t stream : streams) peer.send({kData, kEndStream, stream});
    peer.answerAll();
  });
  Client client;
  Together together(client);
  for (int i = 0; i < 20; ++i) together.add(server.url(), small());
  std::size_t whole = 0, ended = 0;
  for (const Result<Fetched>& each : together.answers()) {
    whole += each && each->body.size() == 90'000;
    ended += !each && each.error().reason == Reason::RequestTooLarge &&
             each.error().sentence.find("that are under way are larger than 1600000 bytes together") != std::string::npos;
  }
  EXPECT_EQ(whole + ended, 20u);
  EXPECT_EQ(ended, 3u) << "17 of 90,000 bytes fit into 1,600,000";
  EXPECT_EQ(textOf(fetch(client, server.url(), small())), "ok");
  EXPECT_EQ(server.connections(), 1);
}

TEST(Http2Hostile, NeitherInformationalHeadsNorTrailersPassForTheHeaders) {
  FrameServer server([](Peer& peer) {
    peer.greet();
    const std::uint32_t stream = peer.request();
    peer.send({kHeaders, kEndHeaders, stream, std::string("\x08\x03") + "103" + literal("early", "yes")});
    peer.head(stream, literal("x-real", "yes"));
    peer.send({kData, 0, stream, "final"});
    peer.send({kHeaders, kEndHeaders | kEndStream, stream, literal("late", "yes")});
    peer.hang();
  });
  const Result<Fetched> fetched = fetch(server.url(), small());
  ASSERT_EQ(textOf(fetched), "final");
  EXPECT_EQ(fetched->status, 200);
  ASSERT_EQ(fetched->headers.all().size(), 1u);
  EXPECT_EQ(fetched->headers.find("x-real"), "yes");
}

TEST(Http2Hostile, ANeverGreetedClientWaitsNoLongerThanItsTimeouts) {
  FrameServer server([](Peer& peer) { peer.hang(); });
  Client client;
  Together together(client);
  FetchOptions impatient = small();
  impatient.timeout = 300ms;
  for (int i = 0; i < 5; ++i) together.add(server.url(), impatient);
  for (const Result<Fetched>& each : together.answers()) EXPECT_EQ(each.error().reason, Reason::Timeout);
}

}  // namespace
}  // namespace podpass::http
