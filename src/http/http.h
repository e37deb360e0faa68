#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/secret.h"

// What a request and an answer are, whatever the protocol (HTTP/1.1, HTTP/2). Beast, nghttp2 and OpenSSL's types stay in the .cpp files.
namespace podpass::http {

namespace asio = boost::asio;

struct Header {
  std::string name;  // as received; compare with Headers::find, which ignores case
  std::string value;
};

class Headers {
 public:
  void add(std::string name, std::string value) {
    if (all_.empty()) all_.reserve(8);  // as many as most messages have
    all_.push_back({std::move(name), std::move(value)});
  }
  // The first value, or "" when there is none. Names are compared without case.
  [[nodiscard]] std::string_view find(std::string_view name) const;
  [[nodiscard]] bool has(std::string_view name) const;
  [[nodiscard]] std::vector<std::string_view> findAll(std::string_view name) const;
  [[nodiscard]] const std::vector<Header>& all() const { return all_; }

 private:
  std::vector<Header> all_;
};

// The verified client certificate of the connection (chain checked against the server's client CA at the handshake).
struct PeerCertificate {
  std::string commonName;
  std::vector<std::string> organizations;
  std::string sha256Hex;  // of the DER
};

// "%41" → "A"; a bad escape stays as it is.
std::string percentDecode(std::string_view text, bool plusIsSpace);

struct Request {
  std::string method;
  std::string path;    // percent-decoded
  std::string query;   // raw, without '?'
  std::string target;  // raw path and query as received
  Headers headers;
  std::string body;
  std::shared_ptr<const PeerCertificate> peer;  // null: none was given
  std::string remote;                           // "127.0.0.1:5123"
  int versionMajor = 1;                         // 1 or 2
  bool bodyTooLarge = false;                    // the body passed Limits::body and was cut: answer 413

  // The first value of a query parameter, percent-decoded; nullopt when absent.
  [[nodiscard]] std::optional<std::string> parameter(std::string_view name) const;
  [[nodiscard]] std::vector<std::string> parameters(std::string_view name) const;
};

// Where a streamed answer is written: chunked in HTTP/1.1, DATA frames in HTTP/2. Each write is flushed.
// Owned by the connection; used from the connection's executor only.
class BodyWriter {
 public:
  virtual ~BodyWriter() = default;
  // False once the client has gone (or the server is stopping): stop writing. Suspends while the client is slow.
  virtual asio::awaitable<bool> write(std::shared_ptr<const std::string> bytes) = 0;
  // Calls `gone` (once, on the connection's executor) when the client leaves, so that whoever waits can wake up.
  virtual void onClosed(std::function<void()> gone) = 0;
  [[nodiscard]] virtual bool closed() const = 0;
};

// A raw byte stream: an HTTP/1.1 connection after the request was read (TLS already removed).
class ByteStream {
 public:
  virtual ~ByteStream() = default;
  virtual asio::awaitable<Result<std::size_t>> readSome(char* data, std::size_t size) = 0;  // 0: end of stream
  virtual asio::awaitable<Result<void>> write(std::string_view bytes) = 0;                  // all of it
  virtual void close() = 0;
};

struct Response {
  int status = 200;
  Headers headers;  // Content-Length, the framing and, when it is not here, Date are added by the server
  std::shared_ptr<const std::string> body;
  // Set: the body is streamed by this coroutine after the headers were flushed; the answer ends when it returns.
  std::function<asio::awaitable<void>(BodyWriter&)> stream;
  // Set (HTTP/1.1 only): nothing is written; the coroutine owns the connection from here on (it writes the 101 itself).
  std::function<asio::awaitable<void>(std::shared_ptr<ByteStream>)> takeOver;
};

// Called on the connection's executor; may suspend. Must not throw.
using Handler = std::function<asio::awaitable<Response>(std::shared_ptr<const Request>)>;

// Puts something before a handler; empty: nothing.
using Wrap = std::function<Handler(Handler)>;
inline Handler wrapped(const Wrap& wrap, Handler handler) { return wrap ? wrap(std::move(handler)) : handler; }

struct Limits {
  std::size_t body = 3u << 20;          // bytes; larger: Request::bodyTooLarge
  std::size_t header = 64u << 10;       // bytes of all headers
  std::size_t connections = 4096;       // more wait in the kernel's queue
  std::chrono::seconds headerTime{30};  // to send the headers (and the TLS handshake)
  std::chrono::seconds idle{300};       // between requests
};

struct TlsFiles {
  std::string certificate;  // path, PEM chain
  std::string key;          // path, PEM
  std::string clientCa;     // path, PEM; empty: client certificates are not asked for
  // Instead of the two files, when it is not empty: a certificate that was never on disk.
  std::string certificatePem = {};
  Secret keyPem = {};
  std::string minimumVersion = {};        // "1.0" … "1.3"; empty: 1.2
  std::vector<std::string> ciphers = {};  // IANA names, for TLS 1.2 and older; empty: OpenSSL's choice
};

// Whether OpenSSL knows these IANA names. BadRequest: names the first that it does not know.
Result<void> checkCiphers(const std::vector<std::string>& names);

// An HTTPS server (ALPN h2, http/1.1; TLS 1.2 and newer). start() binds and begins to accept on `threads` event loops;
// stop() stops accepting, ends idle connections at once, gives running requests `grace`, then closes; returns when all is over.
class Server {
 public:
  virtual ~Server() = default;
  [[nodiscard]] virtual Result<void> start() = 0;
  [[nodiscard]] virtual unsigned short port() const = 0;  // the real one, after start()
  virtual void stop(std::chrono::milliseconds grace) = 0;
  // What handshakes show from now on. When it cannot be used, the old one stays. Thread-safe, after start().
  virtual Result<void> useTls(const TlsFiles& tls) = 0;
};
struct ServerOptions {
  std::string bind = "127.0.0.1";
  unsigned short port = 0;
  std::optional<TlsFiles> tls;  // nullopt: plain HTTP (tests, metrics on loopback)
  unsigned threads = 0;         // 0: one per core
  Limits limits;
};
std::unique_ptr<Server> makeServer(ServerOptions options, Handler handler);

// Connects to a plain TCP endpoint ("127.0.0.1", port) and gives its byte stream: for relaying upgraded connections.
asio::awaitable<Result<std::shared_ptr<ByteStream>>> connectTcp(std::string host, unsigned short port);

// Copies both ways until either side ends, then closes both.
asio::awaitable<void> relay(std::shared_ptr<ByteStream> a, std::shared_ptr<ByteStream> b);

}  // namespace podpass::http
