#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <unordered_set>

#include "base/log.h"
#include "base/memory.h"
#include "http/endpoint.h"
#include "http/stream_transport.h"
#include "http/tls.h"

namespace podpass::http {
namespace {

using namespace std::chrono_literals;
using asio::ip::tcp;
using boost::system::error_code;
using std::chrono::steady_clock;
using Acceptor = asio::basic_socket_acceptor<tcp, LoopExecutor>;

constexpr std::chrono::milliseconds kSweep{500};
constexpr std::size_t kBusy = 8;                   // connections of one loop whose buffers are worth giving back
constexpr std::chrono::seconds kLastPatience{10};  // for handlers that still run after their connections were closed

// A thread, its io_context and the connections that live there.
struct EventLoop {
  asio::io_context context{1};
  asio::executor_work_guard<LoopExecutor> work{context.get_executor()};
  std::unordered_set<Link*> links;  // touched on the loop only
  bool wasBusy = false;             // so, too
  std::atomic<std::size_t> load{0};
  std::thread thread;
};

class AsioServer final : public Server {
 public:
  AsioServer(ServerOptions options, Handler handler) : options_(std::move(options)), handler_(std::move(handler)) {}
  ~AsioServer() override { stop(0ms); }

  Result<void> start() override {
    if (started_) return Error{Reason::Internal, "the server was started before"};
    if (options_.tls)
      if (Result<void> usable = useTls(*options_.tls); !usable) return usable;
    const unsigned threads = options_.threads > 0 ? options_.threads : std::max(1u, std::thread::hardware_concurrency());
    for (unsigned i = 0; i < threads; ++i) loops_.push_back(std::make_unique<EventLoop>());
    Result<void> bound = bind();
    if (!bound) {
      acceptor_.reset();  // they belong to the first loop
      slotFreed_.reset();
      loops_.clear();
      return bound;
    }
    started_ = true;
    asio::co_spawn(loops_.front()->context, accept(), [this](std::exception_ptr) {
      const std::lock_guard lock(mutex_);
      accepting_ = false;
      allOver_.notify_all();
    });
    for (auto& loop : loops_) {
      asio::co_spawn(loop->context, sweep(*loop), [](std::exception_ptr) {});
      loop->thread = std::thread([&context = loop->context] { context.run(); });
    }
    return {};
  }

  [[nodiscard]] unsigned short port() const override { return port_; }

  Result<void> useTls(const TlsFiles& tls) override {
    Result<SslContext> context = makeServerContext(tls);
    if (!context) return context.error();
    auto next = std::make_shared<asio::ssl::context>((*context).release());
    const std::lock_guard lock(mutex_);
    tls_ = std::move(next);
    return {};
  }

  void stop(std::chrono::milliseconds grace) override {
    if (!started_ || stopping_.exchange(true)) return;
    asio::post(loops_.front()->context, [this] {
      error_code ignored;
      acceptor_->close(ignored);
      slotFreed_->wake();
    });
    for (auto& loop : loops_)
      asio::post(loop->context, [&links = loop->links] {
        const std::vector<Link*> all(links.begin(), links.end());
        for (Link* link : all) {
          link->stopping = true;
          if (link->onStop) link->onStop();
        }
      });
    bool over = waitForConnections(grace);
    if (!over) {
      for (auto& loop : loops_)
        asio::post(loop->context, [&links = loop->links] {
          for (Link* link : links) link->transport->close();
        });
      over = waitForConnections(kLastPatience);
    }
    for (auto& loop : loops_) {
      loop->work.reset();
      loop->context.stop();
      loop->thread.join();
    }
    if (over) return;
    // A handler still waits for something outside of the loops, which may call back into them: they must outlive it.
    log::warn("requests did not end when the server stopped", {{"connections", std::to_string(open_.load())}});
    for (auto& loop : loops_) static_cast<void>(loop.release());
    loops_.clear();
  }

 private:
  Result<void> bind() {
    const auto unusable = [this](const error_code& why) {
      return Error{Reason::Unavailable, "cannot listen on " + options_.bind + ":" + std::to_string(options_.port) + ": " + why.message()};
    };
    error_code failed;
    const asio::ip::address address = asio::ip::make_address(options_.bind, failed);
    if (failed) return Error{Reason::BadRequest, "the address to listen on is not an IP address: " + options_.bind};
    const tcp::endpoint endpoint(address, options_.port);
    acceptor_.emplace(loops_.front()->context.get_executor());
    slotFreed_.emplace(loops_.front()->context.get_executor());
    acceptor_->open(endpoint.protocol(), failed);
    if (!failed) acceptor_->set_option(asio::socket_base::reuse_address(true), failed);
    if (!failed && address.is_v6()) acceptor_->set_option(asio::ip::v6_only(false), failed);
    if (!failed) acceptor_->bind(endpoint, failed);
    if (!failed) acceptor_->listen(asio::socket_base::max_listen_connections, failed);
    if (failed) return unusable(failed);
    port_ = acceptor_->local_endpoint(failed).port();
    return {};
  }

  // One acceptor for all loops. SO_REUSEPORT would let a second server on the same port start without a word.
  asio::awaitable<void> accept() {
    asio::steady_timer pause(loops_.front()->context);
    while (!stopping_) {
      if (open_ >= options_.limits.connections) {  // the rest wait in the kernel's queue
        waitingForSlot_ = true;
        if (open_ >= options_.limits.connections) co_await slotFreed_->wait();
        waitingForSlot_ = false;
        continue;
      }
      EventLoop& loop = leastLoaded();
      auto [failed, socket] = co_await acceptor_->async_accept(loop.context.get_executor(), asio::as_tuple(asio::use_awaitable));
      if (stopping_ || failed == asio::error::operation_aborted) co_return;
      if (failed == asio::error::connection_aborted) continue;
      if (failed) {  // EMFILE stays until somebody closes a file
        log::warn("accepting a connection failed", {{"err", failed.message()}});
        pause.expires_after(50ms);
        co_await pause.async_wait(asio::as_tuple(asio::use_awaitable));
        continue;
      }
      ++open_;
      ++loop.load;
      asio::co_spawn(loop.context, serve(loop, std::move(socket)), [this, &loop](std::exception_ptr) { over(loop); });
    }
  }

  EventLoop& leastLoaded() {
    EventLoop* best = loops_[nextLoop_++ % loops_.size()].get();  // among equals they take turns
    for (auto& loop : loops_)
      if (loop->load < best->load) best = loop.get();
    return *best;
  }

  asio::awaitable<void> serve(EventLoop& loop, Socket socket) {
    keepAlive(socket);
    error_code failed;
    const tcp::endpoint remote = socket.remote_endpoint(failed);
    if (failed || stopping_) co_return;
    Link link{.transport = {}, .handler = handler_, .limits = options_.limits, .peer = {}, .remote = textOf(remote), .onStop = {}};
    link.deadline = steady_clock::now() + options_.limits.headerTime;
    if (options_.tls)
      co_await serveTls(loop, link, std::move(socket));
    else
      co_await servePlain(loop, link, std::move(socket));
  }

  asio::awaitable<void> servePlain(EventLoop& loop, Link& link, Socket socket) {
    link.transport = std::make_shared<StreamTransport<Socket>>(std::move(socket));
    const Listed listed(loop, link);
    co_await serveHttp1(link);
  }

  asio::awaitable<void> serveTls(EventLoop& loop, Link& link, Socket socket) {
    const std::shared_ptr<asio::ssl::context> tls = currentTls();
    const auto transport = std::make_shared<StreamTransport<TlsStream>>(std::move(socket), *tls);
    link.transport = transport;
    const Listed listed(loop, link);
    link.onStop = [&link] { link.transport->close(); };
    TlsStream& stream = transport->stream();
    const auto [failed] = co_await stream.async_handshake(asio::ssl::stream_base::server, asio::as_tuple(asio::use_awaitable));
    link.onStop = nullptr;
    if (failed) {
      log::debug("TLS handshake failed", {{"remote", link.remote}, {"err", failed.message()}});
      co_await transport->finish(false);  // delivers the alert's close
      co_return;
    }
    link.peer = verifiedPeer(stream.native_handle());
    if (negotiatedHttp2(stream.native_handle()))
      co_await serveHttp2(link);
    else
      co_await serveHttp1(link);
  }

  std::shared_ptr<asio::ssl::context> currentTls() {
    const std::lock_guard lock(mutex_);
    return tls_;
  }

  // A link is among its loop's while this lives.
  class Listed {
   public:
    Listed(EventLoop& loop, Link& link) : loop_(loop), link_(link) { loop_.links.insert(&link_); }
    ~Listed() { loop_.links.erase(&link_); }
    Listed(const Listed&) = delete;
    Listed& operator=(const Listed&) = delete;

   private:
    EventLoop& loop_;
    Link& link_;
  };

  void over(EventLoop& loop) {
    --loop.load;
    const std::size_t left = --open_;
    if (waitingForSlot_) asio::post(loops_.front()->context, [this] { slotFreed_->wake(); });
    if (!stopping_ || left > 0) return;
    const std::lock_guard lock(mutex_);
    allOver_.notify_all();
  }

  // One timer for all connections of a loop: a timer of each, moved with each request, costs more than the requests.
  asio::awaitable<void> sweep(EventLoop& loop) {
    asio::steady_timer timer(loop.context);
    for (;;) {
      timer.expires_after(kSweep);
      co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
      const SteadyTime now = steady_clock::now();
      for (Link* link : loop.links)
        if (link->deadline < now || link->writeDeadline < now) link->transport->close();
      if (loop.links.size() >= kBusy) loop.wasBusy = true;
      if (loop.links.empty() && std::exchange(loop.wasBusy, false)) releaseUnusedMemory();
    }
  }

  bool waitForConnections(std::chrono::milliseconds time) {
    std::unique_lock lock(mutex_);
    return allOver_.wait_for(lock, time, [this] { return open_ == 0 && !accepting_; });
  }

  const ServerOptions options_;
  const Handler handler_;
  std::shared_ptr<asio::ssl::context> tls_;  // guarded by mutex_: it may be replaced
  std::vector<std::unique_ptr<EventLoop>> loops_;
  std::optional<Acceptor> acceptor_;
  std::optional<Wakeup> slotFreed_;
  unsigned short port_ = 0;
  bool started_ = false;
  std::size_t nextLoop_ = 0;
  std::atomic<bool> accepting_{true};
  std::atomic<bool> stopping_{false};
  std::atomic<bool> waitingForSlot_{false};
  std::atomic<std::size_t> open_{0};
  std::mutex mutex_;
  std::condition_variable allOver_;
};

}  // namespace

std::unique_ptr<Server> makeServer(ServerOptions options, Handler handler) {
  return std::make_unique<AsioServer>(std::move(options), std::move(handler));
}

}  // namespace podpass::http
