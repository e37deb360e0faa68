#include <gtest/gtest.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "server/test_server.h"

// What a list and a watch say of a past that is forgotten, and of time that passes without events (spec api.md §6).
namespace podpass::server::test {
namespace {

using namespace std::chrono_literals;

constexpr const char* kMaps = "/api/v1/namespaces/default/configmaps";

// A client that reads a watch until it has seen so many events.
class Reader final : public http::BodyWriter {
 public:
  explicit Reader(std::size_t enough) : enough_(enough) {}
  asio::awaitable<bool> write(std::shared_ptr<const std::string> bytes) override {
    text_ += *bytes;
    while (text_.find('\n') != std::string::npos) {
      events.push_back(json::parse(text_.substr(0, text_.find('\n'))).as_object());
      text_.erase(0, text_.find('\n') + 1);
    }
    co_return !closed();
  }
  void onClosed(std::function<void()>) override {}
  [[nodiscard]] bool closed() const override { return events.size() >= enough_; }

  std::vector<json::object> events;

 private:
  std::size_t enough_;
  std::string text_;
};

// The first `count` events of a watch, fewer when it ends before. `during` runs once it is under way.
std::vector<json::object> watch(TestServer& server, const std::string& query, std::size_t count, std::function<void()> during = nullptr) {
  Reader reader(count);
  const http::Response response = server.run(server.api().handle(TestServer::request("GET", std::string(kMaps) + "?watch=true&" + query)));
  EXPECT_EQ(response.status, 200);
  if (!response.stream) return {};
  asio::steady_timer soon(server.loop(), 20ms);
  if (during) soon.async_wait([&](boost::system::error_code) { during(); });
  const auto read = [](const http::Response& of, Reader& into) -> asio::awaitable<bool> {
    co_await of.stream(into);
    co_return true;
  };
  server.run(read(response, reader));
  return reader.events;
}

class ShortMemory : public testing::Test {
 protected:
  ShortMemory() : server_({.serverAddress = "", .jwksUri = ""}, makeMemoryStore(5)) {
    for (const char* name : {"a", "b", "c"})
      EXPECT_EQ(server_.ask("POST", kMaps, std::string(R"({"metadata":{"name":")") + name + "\"}}").status, 201);
  }
  [[nodiscard]] std::string revision() { return std::string(textAt(server_.ask("GET", kMaps).body, {"metadata", "resourceVersion"})); }
  void forget() {
    for (int i = 0; i < 10; ++i)
      EXPECT_EQ(server_
                    .ask("PATCH", std::string(kMaps) + "/c", R"({"data":{"i":")" + std::to_string(i) + "\"}}",
                         headers({{"Content-Type", "application/merge-patch+json"}}))
                    .status,
                200);
  }

  TestServer server_;
};

TEST_F(ShortMemory, APageOfAForgottenListIsGone) {
  const json::object page = server_.ask("GET", std::string(kMaps) + "?limit=1").body;
  const std::string next = std::string(kMaps) + "?limit=1&continue=" + std::string(textAt(page, {"metadata", "continue"}));
  EXPECT_EQ(server_.ask("GET", next).status, 200);
  forget();
  const Answer gone = server_.ask("GET", next);
  EXPECT_EQ(gone.status, 410);
  EXPECT_EQ(gone.reason(), "Expired");
  EXPECT_TRUE(gone.message().starts_with("The provided continue parameter is too old to display a consistent list result."))
      << gone.message();
}

TEST_F(ShortMemory, AnExactListOfAForgottenRevisionIsGone) {
  const std::string old = revision();
  const std::string exact = std::string(kMaps) + "?resourceVersionMatch=Exact&resourceVersion=" + old;
  EXPECT_EQ(server_.ask("GET", exact).status, 200);
  forget();
  const Answer gone = server_.ask("GET", exact);
  EXPECT_EQ(gone.status, 410);
  EXPECT_EQ(gone.reason(), "Expired");
}

TEST_F(ShortMemory, AWatchFromAForgottenRevisionEndsWithAnError) {
  const std::string old = revision(), from = "resourceVersion=" + old;
  EXPECT_EQ(server_.ask("DELETE", std::string(kMaps) + "/a").status, 200);
  const std::vector<json::object> told = watch(server_, from, 1);
  ASSERT_EQ(told.size(), 1u) << "what is remembered is told";
  EXPECT_EQ(textAt(told[0], {"type"}), "DELETED");
  forget();
  const std::vector<json::object> events = watch(server_, from, 2);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(textAt(events[0], {"type"}), "ERROR");
  EXPECT_EQ(textAt(events[0], {"object", "kind"}), "Status");
  EXPECT_EQ(integerAt(events[0], {"object", "code"}), 410);
  EXPECT_EQ(textAt(events[0], {"object", "reason"}), "Expired");
  EXPECT_TRUE(textAt(events[0], {"object", "message"}).starts_with("too old resource version: " + old + " ("))
      << json::serialize(events[0]);
}

TEST_F(ShortMemory, AMinuteWithoutEventsIsABookmarkForThoseWhoWantOne) {
  const std::string now = revision();
  const auto minute = [this] { server_.clock.advance(60s); };
  const std::vector<json::object> events = watch(server_, "allowWatchBookmarks=true&resourceVersion=" + now, 1, minute);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(json::serialize(events[0]),
            R"({"type":"BOOKMARK","object":{"kind":"ConfigMap","apiVersion":"v1","metadata":{"resourceVersion":")" + now +
                R"(","creationTimestamp":null}}})");
  EXPECT_EQ(watch(server_, "timeoutSeconds=60&resourceVersion=" + now, 1, minute).size(), 0u) << "who does not want one gets none";
  const auto almost = [this] { server_.clock.advance(59s); };
  EXPECT_EQ(watch(server_, "allowWatchBookmarks=true&timeoutSeconds=59&resourceVersion=" + now, 1, almost).size(), 0u);
}

TEST_F(ShortMemory, TheInitialEventsEndWithAMarkedBookmark) {
  const std::vector<json::object> events =
      watch(server_, "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true", 4);
  ASSERT_EQ(events.size(), 4u);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(textAt(events[i], {"type"}), "ADDED");
    EXPECT_EQ(textAt(events[i], {"object", "metadata", "name"}), std::string(1, static_cast<char>('a' + i)));
  }
  EXPECT_EQ(textAt(events[3], {"type"}), "BOOKMARK");
  EXPECT_EQ(textAt(events[3], {"object", "metadata", "annotations", "k8s.io/initial-events-end"}), "true");
  EXPECT_EQ(textAt(events[3], {"object", "metadata", "resourceVersion"}), revision());
  EXPECT_EQ(server_.ask("GET", std::string(kMaps) + "?watch=true&sendInitialEvents=true").status, 422);
}

}  // namespace
}  // namespace podpass::server::test
