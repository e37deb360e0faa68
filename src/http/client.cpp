#include "http/client.h"

#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <unordered_set>

#include "base/text.h"
#include "base/waiting_caller.h"
#include "http/client_connect.h"
#include "http/client_http2.h"
#include "http/client_tls.h"

namespace podpass::http {
namespace {

using boost::system::error_code;
using std::chrono::steady_clock;

using Http2Ptr = std::shared_ptr<Http2Connection>;

bool permits(const FetchOptions& options, const asio::ip::address& address) { return !options.allowed || options.allowed(address); }

// One server as seen with one set of beliefs.
struct Host {
  std::shared_ptr<const ClientTls> tls;
  std::vector<ConnectionPtr> idle;  // the last used is at the end, and used first
  std::size_t requests = 0;         // that are not over
  std::size_t busy = 0;             // those that have a connection to themselves, or make one
  std::vector<Http2Ptr> shared;
  bool multiplex = false;        // HTTP/2 is offered and was not refused
  std::size_t connecting = 0;    // it may become one that all can share
  std::deque<Sending*> waiting;  // only the first is woken: it wakes the next when it has left

  [[nodiscard]] Http2Ptr withRoomFor(const FetchOptions& options) const {
    const auto found = std::find_if(shared.begin(), shared.end(),
                                    [&options](const Http2Ptr& each) { return each->hasRoom() && permits(options, each->peer()); });
    return found == shared.end() ? nullptr : *found;
  }
  // The request may begin now. Connections to addresses that it may not go to do not count: it would wait for them in vain.
  [[nodiscard]] bool admits(const FetchOptions& options, std::size_t connections) const {
    if (withRoomFor(options)) return true;
    const auto usable =
        std::count_if(shared.begin(), shared.end(), [&options](const Http2Ptr& each) { return permits(options, each->peer()); });
    return busy + static_cast<std::size_t>(usable) < connections && !(multiplex && opening());
  }
  // It is not known yet how many requests a connection takes that is being made.
  [[nodiscard]] bool opening() const {
    return connecting > 0 || std::any_of(shared.begin(), shared.end(), [](const Http2Ptr& each) { return each->opening(); });
  }
  void wakeNext() {
    if (!waiting.empty()) waiting.front()->wakeup.wake();
  }
  [[nodiscard]] bool unused() const { return requests == 0 && idle.empty() && shared.empty(); }
};
using HostPtr = std::shared_ptr<Host>;

// What came of sending a request once.
struct Attempt {
  Attempt(Result<Fetched> got = {}) : fetched(std::move(got)) {}  // no aggregate: g++ 12 would destroy it twice in a coroutine
  Result<Fetched> fetched;
  bool again = false;  // it failed, and can be sent on another connection
};

// Same key: a connection of one serves the other. A digest, so that no private key stays in it.
std::string keyOf(const Url& url, const FetchOptions& options) {
  std::string all = std::string(url.secure ? "s" : "p") + url.host + "\n" + url.port + "\n" + (options.insecure ? "i" : "v") +
                    (offersHttp2(options) ? "2" : "1");
  const auto add = [&all](std::string_view text) { all += "\n" + std::to_string(text.size()) + ":" + std::string(text); };
  add(options.serverName);
  add(options.caPem);
  for (const std::string& thumbprint : options.thumbprints) add(thumbprint);
  add(options.clientCertificatePem);
  add(sha256(options.clientKeyPem.reveal()));
  return sha256(all);
}

bool safeToRepeat(const FetchOptions& options) {
  return options.repeatable || options.method == "GET" || options.method == "HEAD" || options.method == "OPTIONS";
}

}  // namespace

class Client::Pool {
 public:
  explicit Pool(ClientOptions options) : options_(std::move(options)), thread_([this] { loop_.run(); }) {}

  ~Pool() {
    stop();
    asio::post(loop_, [this] { work_.reset(); });
    thread_.join();
  }

  void stop() {
    asio::post(loop_, [this] {
      stopping_ = true;
      for (const SendingPtr& running : running_) running->end(Error{Reason::Unavailable, "the client was stopped"});
      std::vector<Http2Ptr> shared;
      for (const auto& [key, host] : hosts_) shared.insert(shared.end(), host->shared.begin(), host->shared.end());
      for (const Http2Ptr& each : shared) each->close();
      hosts_.clear();
    });
  }

  template <class Answer>
  void start(std::string url, FetchOptions options, Answer answer) {
    auto running = std::make_shared<Sending>(loop_);
    auto slot = asio::get_associated_cancellation_slot(answer);
    if (slot.is_connected())
      slot.assign([weak = std::weak_ptr(running)](asio::cancellation_type) {
        if (const SendingPtr still = weak.lock())
          asio::post(still->timer.get_executor(), [still] { still->end(Error{Reason::Unavailable, "the request was cancelled"}); });
      });
    const auto executor = asio::get_associated_executor(answer, loop_.get_executor());
    auto back = [answer = std::move(answer), slot](Result<Fetched> got) mutable {
      if (slot.is_connected()) slot.clear();
      std::move(answer)(std::move(got));
    };
    auto over = [caller = WaitingCaller(asio::bind_executor(executor, std::move(back)))](std::exception_ptr thrown,
                                                                                         Result<Fetched> fetched) mutable {
      if (thrown) fetched = Error{Reason::Internal, "the request ended with an exception"};
      caller.goOn(std::move(fetched));
    };
    asio::co_spawn(loop_, run(running, std::move(url), std::move(options)), std::move(over));
  }

 private:
  asio::awaitable<Result<Fetched>> run(SendingPtr running, std::string text, FetchOptions options) {
    if (stopping_) co_return Error{Reason::Unavailable, "the client was stopped"};
    Result<Url> url = parseUrl(text);
    if (!url) co_return url.error();
    running_.insert(running);
    running->deadline = steady_clock::now() + options.timeout;
    guard(running, running->deadline,
          Error{Reason::Timeout, "no answer from " + url->authority + " within " + std::to_string(options.timeout.count()) + " ms"});
    const std::string key = keyOf(*url, options);
    Result<HostPtr> host = hostFor(key, *url, options);
    Result<Fetched> fetched;
    if (host) {
      ++(*host)->requests;
      if (options.consume)
        fetched = co_await stream(running, *host, *url, options);
      else
        fetched = co_await exchange(running, *host, *url, options);
      --(*host)->requests;
      forgetUnused(*host);
    } else {
      fetched = host.error();
    }
    running->timer.cancel();
    running_.erase(running);
    if (running->ended) co_return *running->ended;
    co_return fetched;
  }

  // Ends it with `why` at `when`, unless the timer is set anew or cancelled.
  static void guard(const SendingPtr& running, SteadyTime when, Error why) {
    running->timer.expires_at(when);
    running->timer.async_wait([weak = std::weak_ptr(running), why = std::move(why)](error_code cancelled) {
      if (const SendingPtr still = weak.lock(); still && !cancelled) still->end(why);
    });
  }

  Result<HostPtr> hostFor(const std::string& key, const Url& url, const FetchOptions& options) {
    if (const auto found = hosts_.find(key); found != hosts_.end()) return found->second;
    auto host = std::make_shared<Host>();
    if (url.secure) {
      Result<std::shared_ptr<const ClientTls>> tls = makeClientTls(options);
      if (!tls) return tls.error();
      host->tls = *std::move(tls);
      host->multiplex = offersHttp2(options);
    }
    hosts_.emplace(key, host);
    return host;
  }

  void forgetUnused(const HostPtr& host) {
    if (host->unused()) std::erase_if(hosts_, [&host](const auto& entry) { return entry.second == host; });
  }

  asio::awaitable<Result<Fetched>> stream(SendingPtr running, HostPtr host, Url url, const FetchOptions& options) {
    Result<ConnectionPtr> connection = co_await connector_.connect(running, host->tls, url, options);
    if (!connection) co_return connection.error();
    Exchange exchange;
    exchange.onHead = [running](int status) {
      if (status / 100 == 2) running->timer.cancel();  // from here on it may last
    };
    co_return co_await converse((*connection)->transport, url, options, exchange);
  }

  asio::awaitable<Result<Fetched>> exchange(SendingPtr running, HostPtr host, Url url, const FetchOptions& options) {
    for (;;) {
      Result<void> turn = co_await waitForTurn(running, *host, url, options);
      if (!turn) co_return turn.error();
      Attempt attempt = co_await tryOnce(running, host, url, options);
      if (!attempt.again || running->ended) co_return std::move(attempt.fetched);
    }
  }

  asio::awaitable<Result<void>> waitForTurn(SendingPtr running, Host& host, Url url, const FetchOptions& options) {
    if (running->ended) co_return *running->ended;
    if (host.waiting.empty() && host.admits(options, options_.connectionsPerHost)) co_return Result<void>();
    if (host.waiting.size() >= options_.waitingPerHost)
      co_return Error{Reason::TooManyRequests, "too many requests wait for a connection to " + url.authority};
    host.waiting.push_back(running.get());
    while (!running->ended && !(host.waiting.front() == running.get() && host.admits(options, options_.connectionsPerHost)))
      co_await running->wakeup.wait();
    std::erase(host.waiting, running.get());
    host.wakeNext();
    if (running->ended) co_return *running->ended;
    co_return Result<void>();
  }

  asio::awaitable<Attempt> tryOnce(SendingPtr running, HostPtr host, Url url, const FetchOptions& options) {
    Http2Ptr shared = host->withRoomFor(options);
    if (shared) co_return co_await tryShared(running, shared, url, options);
    ++host->busy;
    ConnectionPtr connection = takeIdle(*host, options);
    if (!connection) {
      ++host->connecting;
      Result<ConnectionPtr> made = co_await connector_.connect(running, host->tls, url, options);
      --host->connecting;
      if (!made) {
        release(*host);
        co_return Attempt(made.error());
      }
      connection = *std::move(made);
    }
    if (connection->http2) {
      shared = share(host, *connection, url);
      release(*host);
      if (!shared) co_return Attempt(Error{Reason::Internal, "no memory for an HTTP/2 session"});
      co_return co_await tryShared(running, shared, url, options);
    }
    host->multiplex = false;
    host->wakeNext();
    Attempt attempt = co_await tryAlone(running, host, connection, url, options);
    release(*host);
    co_return attempt;
  }

  static void release(Host& host) {
    --host.busy;
    host.wakeNext();
  }

  asio::awaitable<Attempt> tryAlone(SendingPtr running, HostPtr host, ConnectionPtr connection, Url url, const FetchOptions& options) {
    running->close = [connection] { connection->transport->close(); };
    Exchange exchange;
    Attempt attempt = co_await converse(connection->transport, url, options, exchange);
    running->close = nullptr;
    // The server closed it just when it was used again.
    if (attempt.fetched) attempt.fetched->from = connection->to;
    attempt.again = !attempt.fetched && connection->used && !exchange.answered && safeToRepeat(options);
    if (attempt.fetched && exchange.reusable && !running->ended && !stopping_) keep(host, std::move(connection));
    co_return attempt;
  }

  // The connection stays among those of `host` until it is over.
  Http2Ptr share(const HostPtr& host, const PooledConnection& connection, const Url& url) {
    auto changed = [this, weak = std::weak_ptr(host), tls = connection.tls] {
      const HostPtr still = weak.lock();
      if (!still) return;
      std::erase_if(still->shared, [](const Http2Ptr& each) { return each->over(); });
      still->wakeNext();
      forgetUnused(still);
    };
    auto shared = std::make_shared<Http2Connection>(connection.transport, connection.to, url.authority, options_, std::move(changed));
    if (!shared->start()) return nullptr;
    host->shared.push_back(shared);
    return shared;
  }

  // What the server certainly did not begin with is sent once more, and what is safe to repeat when a connection turned out to be dead.
  static asio::awaitable<Attempt> tryShared(SendingPtr running, Http2Ptr shared, Url url, const FetchOptions& options) {
    const bool kept = shared->used();
    const std::shared_ptr<Http2Connection::Call> call = shared->begin(url, options);
    running->close = [shared, call] { shared->giveUp(call); };
    Exchange exchange;
    Attempt attempt = co_await shared->answerOf(call, exchange);
    running->close = nullptr;
    const bool stale = !attempt.fetched && kept && shared->lost() && !exchange.answered && safeToRepeat(options);
    attempt.again = (stale || exchange.untouched) && !std::exchange(running->retried, true);
    co_return attempt;
  }

  static ConnectionPtr takeIdle(Host& host, const FetchOptions& options) {
    while (!host.idle.empty()) {
      ConnectionPtr connection = std::move(host.idle.back());
      host.idle.pop_back();
      connection->timer.cancel();
      if (connection->quiet() && permits(options, connection->to)) return connection;
    }
    return nullptr;
  }

  void keep(const HostPtr& host, ConnectionPtr connection) {
    connection->used = true;
    connection->timer.expires_after(options_.idle);
    connection->timer.async_wait([this, weakHost = std::weak_ptr(host), weak = std::weak_ptr(connection)](error_code cancelled) {
      const HostPtr still = weakHost.lock();
      if (!still || cancelled) return;
      std::erase(still->idle, weak.lock());
      forgetUnused(still);
    });
    host->idle.push_back(std::move(connection));
  }

  const ClientOptions options_;
  asio::io_context loop_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_{loop_.get_executor()};
  // Below here on the loop only.
  std::map<std::string, HostPtr> hosts_;
  std::unordered_set<SendingPtr> running_;
  bool stopping_ = false;
  Connector connector_{loop_, options_.allowed};
  std::thread thread_;
};

Client::Client(ClientOptions options) : pool_(std::make_unique<Pool>(std::move(options))) {}
Client::~Client() = default;

void Client::stop() { pool_->stop(); }

asio::awaitable<Result<Fetched>> Client::send(std::string url, FetchOptions options) {
  auto begin = [this, &url, &options](auto answer) { pool_->start(std::move(url), std::move(options), std::move(answer)); };
  co_return co_await asio::async_initiate<const asio::use_awaitable_t<>, void(Result<Fetched>)>(std::move(begin), asio::use_awaitable);
}

Result<Fetched> fetch(Client& client, const std::string& url, const FetchOptions& options) {
  Result<Fetched> fetched;
  asio::io_context here(1);
  asio::co_spawn(here, client.send(url, options), [&fetched](std::exception_ptr thrown, Result<Fetched> got) {
    if (!thrown) fetched = std::move(got);
  });
  here.run();
  return fetched;
}

Result<Fetched> fetch(const std::string& url, const FetchOptions& options) {
  Client client;
  return fetch(client, url, options);
}

}  // namespace podpass::http
