#include "client/remote_watch.h"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <charconv>
#include <future>
#include <random>

#include "base/log.h"
#include "client/remote_target.h"

namespace podpass::client {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

constexpr std::size_t kMaxEvent = 16u << 20;  // bytes of one event; an object has 1.5 MiB at most
constexpr std::chrono::milliseconds kFirstPause = 500ms, kLongestPause = 30s;

int between(int low, int high) {
  static thread_local std::mt19937 random(std::random_device{}());
  return std::uniform_int_distribution<int>(low, high)(random);
}

std::string keyOf(const json::object& object) {
  return std::string(textAt(object, {"metadata", "namespace"})) + "/" + std::string(textAt(object, {"metadata", "name"}));
}

class RemoteWatch final : public api::Watching {
 public:
  RemoteWatch(asio::thread_pool& pool, http::Client& client, const Access& access, Credentials& credentials, WatchRequest request)
      : pool_(pool),
        client_(client),
        access_(access),
        credentials_(credentials),
        request_(std::move(request)),
        revision_(request_.since),
        known_(std::move(request_.start)) {
    // posted, so that nothing of the coroutine is left when the destructor goes on
    auto over = [this](std::exception_ptr) { asio::post(pool_, [this] { over_.set_value(); }); };
    asio::co_spawn(pool_, run(), asio::bind_cancellation_slot(cancel_.slot(), over));
  }
  ~RemoteWatch() override {
    asio::post(pool_, [this] {
      stopping_ = true;
      cancel_.emit(asio::cancellation_type::terminal);
    });
    over_.get_future().wait();
  }

 private:
  asio::awaitable<void> run() {
    std::chrono::milliseconds pause = kFirstPause;
    while (!stopping_) {
      Result<void> ended = co_await follow();
      if (stopping_) co_return;
      if (!ended && ended.error().reason == Reason::Expired) ended = co_await catchUp();
      if (ended) {
        pause = kFirstPause;
        continue;
      }
      if (stopping_) co_return;
      log::warn("watch interrupted", {{"kind", std::string(request_.kind.kind)}, {"err", log::chain(ended.error())}});
      // jitter: clients that lost the same server must not come back together
      asio::steady_timer timer(co_await asio::this_coro::executor, pause * between(75, 125) / 100);
      co_await timer.async_wait(asio::use_awaitable);
      pause = std::min(pause * 2, kLongestPause);
    }
  }

  // One watch request, from revision_ to its end. The server ends it after some minutes; that is no error.
  asio::awaitable<Result<void>> follow() {
    std::string query = queryOf(request_.selectors);
    query += std::string(query.empty() ? "" : "&") + "watch=true&allowWatchBookmarks=true&resourceVersion=" + std::to_string(revision_) +
             "&timeoutSeconds=" + std::to_string(between(300, 600));
    http::FetchOptions options = optionsFor(access_);
    Result<Secret> bearer = credentials_.bearer();
    if (!bearer) co_return bearer.error();
    options.bearer = *std::move(bearer);
    trouble_.reset();
    received_.clear();
    options.consume = [this](const http::Fetched&, std::string_view bytes) { return take(bytes); };
    std::string url = access_.server + targetOf(request_.kind, {request_.ns, ""}) + "?" + query;
    Result<http::Fetched> fetched = co_await client_.send(std::move(url), std::move(options));
    if (trouble_) co_return *trouble_;
    if (!fetched) co_return fetched.error();
    if (fetched->status == 200) co_return Result<void>();
    if (fetched->status == 401) credentials_.refused();
    Result<json::object> answer = objectIn(*fetched, access_.server);
    if (!answer) co_return answer.error();
    co_return Error{Reason::Unavailable, access_.server + " answers a watch with status " + std::to_string(fetched->status)};
  }

  // On the HTTP client's thread, while the coroutine waits. One event a line.
  bool take(std::string_view bytes) {
    received_ += bytes;
    std::size_t begin = 0;
    for (std::size_t end; (end = received_.find('\n', begin)) != std::string::npos && !trouble_; begin = end + 1)
      takeEvent(std::string_view(received_).substr(begin, end - begin));
    received_.erase(0, begin);
    if (received_.size() > kMaxEvent) trouble_ = Error{Reason::RequestTooLarge, "an event of the watch is larger than 16 MiB"};
    return !trouble_;
  }

  void takeEvent(std::string_view line) {
    boost::system::error_code failed;
    json::value parsed = json::parse(line, failed);
    json::object* object = nullptr;
    if (!failed && parsed.is_object())
      if (json::value* inside = parsed.get_object().if_contains("object")) object = inside->if_object();
    if (object == nullptr) {
      trouble_ = Error{Reason::Unavailable, "the watch sent something that is no event"};
      return;
    }
    const std::string type(textAt(parsed.get_object(), {"type"}));
    if (type == "ERROR") {
      trouble_ = errorOf(*object, 500);
      return;
    }
    const DocumentPtr document = documentOf(std::move(*object));
    revision_ = document->revision;
    if (type == "BOOKMARK") return;
    using Type = api::WatchEvent::Type;
    tell(type == "ADDED" ? Type::Added : type == "DELETED" ? Type::Deleted : Type::Modified, document);
  }

  void tell(api::WatchEvent::Type type, const DocumentPtr& document) {
    if (type == api::WatchEvent::Type::Deleted)
      known_.erase(keyOf(document->value));
    else
      know(known_, *document);
    request_.changed({type, document});
  }

  // The server has forgotten the revision: what is different now, as events.
  asio::awaitable<Result<void>> catchUp() {
    KnownObjects vanished = known_;
    const api::Client::Page compare = [this, &vanished](const std::vector<DocumentPtr>& items) {
      for (const DocumentPtr& object : items) {
        const auto before = known_.find(keyOf(object->value));
        vanished.erase(keyOf(object->value));
        using Type = api::WatchEvent::Type;
        if (before == known_.end())
          tell(Type::Added, object);
        else if (before->second.revision != object->revision)
          tell(Type::Modified, object);
      }
    };
    Result<std::uint64_t> listed =
        co_await listPages(client_, access_, credentials_, request_.kind, request_.ns, request_.selectors, compare);
    if (!listed) co_return listed.error();
    for (const auto& [key, object] : vanished) tell(api::WatchEvent::Type::Deleted, remains(key, object));
    revision_ = *listed;
    co_return Result<void>();
  }

  [[nodiscard]] DocumentPtr remains(const std::string& key, const KnownObject& object) const {
    const std::size_t slash = key.find('/');
    json::object value{{"apiVersion", request_.kind.apiVersion()}, {"kind", request_.kind.kind}};
    json::object& metadata = makeObjectAt(value, {"metadata"});
    metadata["name"] = key.substr(slash + 1);
    if (slash > 0) metadata["namespace"] = key.substr(0, slash);
    metadata["uid"] = object.uid;
    metadata["resourceVersion"] = std::to_string(object.revision);
    return documentOf(std::move(value));
  }

  asio::thread_pool& pool_;
  http::Client& client_;
  const Access& access_;
  Credentials& credentials_;
  WatchRequest request_;
  std::uint64_t revision_;
  KnownObjects known_;
  std::string received_;
  std::optional<Error> trouble_;
  bool stopping_ = false;  // on the pool only
  asio::cancellation_signal cancel_;
  std::promise<void> over_;
};

}  // namespace

std::unique_ptr<api::Watching> startWatch(asio::thread_pool& pool, http::Client& client, const Access& access, Credentials& credentials,
                                          WatchRequest request) {
  return std::make_unique<RemoteWatch>(pool, client, access, credentials, std::move(request));
}

http::FetchOptions optionsFor(const Access& access) {
  http::FetchOptions options;
  options.caPem = access.caPem;
  options.insecure = access.insecure;
  options.serverName = access.serverName;
  options.clientCertificatePem = access.clientCertificatePem;
  options.clientKeyPem = access.clientKeyPem;
  options.timeout = 30s;
  options.maxBody = 256u << 20;
  options.headers.add("Accept", "application/json");
  options.headers.add("User-Agent", "podpass");
  return options;
}

Error noAnswer(const Access& access, Error error) {
  error.sentence = "the API server of the " + access.origin + " does not answer: " + error.sentence;
  return error;
}

void know(KnownObjects& objects, const Document& object) {
  objects[keyOf(object.value)] = {object.revision, std::string(textAt(object.value, {"metadata", "uid"}))};
}

asio::awaitable<Result<std::uint64_t>> listPages(http::Client& client, const Access& access, Credentials& credentials,
                                                 const api::Kind& kind, std::string ns, api::Selectors selectors,
                                                 const api::Client::Page& page) {
  std::uint64_t whole = 0;
  std::string next;
  const std::string query = queryOf(selectors);
  do {
    http::FetchOptions options = optionsFor(access);
    Result<Secret> bearer = credentials.bearer();
    if (!bearer) co_return bearer.error();
    options.bearer = *std::move(bearer);
    std::string target = access.server + targetOf(kind, {ns, ""}) + "?limit=1000" + (query.empty() ? "" : "&" + query);
    if (!next.empty()) target += "&continue=" + next;
    Result<http::Fetched> fetched = co_await client.send(std::move(target), std::move(options));
    if (!fetched) co_return noAnswer(access, fetched.error());
    if (fetched->status == 401) credentials.refused();
    Result<json::object> answer = objectIn(*fetched, access.server);
    if (!answer) co_return answer.error();
    const std::string_view revision = textAt(*answer, {"metadata", "resourceVersion"});
    std::from_chars(revision.data(), revision.data() + revision.size(), whole);
    next = textAt(*answer, {"metadata", "continue"});
    json::value* items = answer->if_contains("items");
    if (items == nullptr || !items->is_array()) continue;
    std::vector<DocumentPtr> documents;
    for (json::value& item : items->get_array()) {
      if (!item.is_object()) continue;
      item.get_object()["apiVersion"] = kind.apiVersion();
      item.get_object()["kind"] = kind.kind;
      documents.push_back(documentOf(std::move(item.get_object())));
    }
    page(documents);
  } while (!next.empty());
  co_return whole;
}

}  // namespace podpass::client
