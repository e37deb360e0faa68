#pragma once

#include <boost/asio/ip/address.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/secret.h"
#include "http/http.h"

// The client's side of HTTP, over TLS (1.2 and newer) or plain by the URL's scheme: HTTP/1.1 and, when it is asked for and the server
// speaks it, HTTP/2. Redirects are answers like others and never followed: whoever names a URL decides what is fetched, not the server
// behind it. No cookies, no proxies from the environment.
namespace podpass::http {

constexpr const char* kCertificateRefused = "CertificateRefused";

struct Fetched {
  int status = 0;
  Headers headers;
  std::string body;
  asio::ip::address from = {};  // who answered
};

struct FetchOptions {
  std::string method = "GET";
  Headers headers;  // Host, Content-Length and the framing are added
  Secret bearer;    // not empty: sent as `Authorization: Bearer …`
  std::string body;

  // For everything, from the name's look-up to the last byte of the answer; when `consume` is set, to the end of the answer's headers.
  std::chrono::milliseconds timeout{10'000};
  std::size_t maxBody = 16u << 20;  // a larger answer is RequestTooLarge
  // A request that a server may have seen already can be sent again: true of GET, HEAD and OPTIONS anyway. Matters only when a kept
  // connection dies before the first byte of the answer.
  bool repeatable = false;
  // Offer HTTP/2 (https only): requests to one server at once then share a connection, or as few as the server's limit of streams asks
  // for. One that the server certainly did not begin with (GOAWAY, REFUSED_STREAM) is sent once more. With `consume`, which has a
  // connection to itself, HTTP/1.1 is spoken all the same.
  bool multiplex = false;
  // Set: the body of a 2xx answer is handed over as it arrives instead of kept. Called on the client's event loop, so it must not block;
  // false ends the exchange. A connection of its own is used for it, so that watches do not take the places of others.
  std::function<bool(const Fetched& head, std::string_view bytes)> consume;

  // Whom we believe. A chain is good when it leads to one of `caPem`, or to a certificate in it that has one of the thumbprints (hex of
  // SHA-1 or SHA-256 over the DER, with or without colons). Neither given: the system's roots. The name is checked in every case.
  std::string caPem;
  std::vector<std::string> thumbprints;
  std::string serverName;  // expected in the certificate and sent as SNI; empty: the URL's host
  bool insecure = false;   // do not verify the server
  // Which addresses this request may go to, besides ClientOptions::allowed; empty: all. Asked of kept connections, too.
  std::function<bool(const asio::ip::address&)> allowed = {};
  // What we show of ourselves.
  std::string clientCertificatePem;
  Secret clientKeyPem;
};

struct ClientOptions {
  std::size_t connectionsPerHost = 16;  // host, port, and who is believed there; requests that find none wait
  std::size_t waitingPerHost = 1024;    // more are refused: TooManyRequests
  std::chrono::milliseconds idle{60'000};
  // HTTP/2: a connection on which nothing was heard for so long is asked whether it lives, and has so long to answer; as in client-go.
  std::chrono::milliseconds probeAfter{30'000}, probeAnswer{15'000};
  // Which addresses may be connected to; empty: all. Asked for what the name resolved to, right before connecting, so that no name can
  // lead to an address that was refused.
  std::function<bool(const asio::ip::address&)> allowed;
};

// Keeps connections and uses them again. Thread-safe: `send` may be awaited on any executor; the work is done on an event loop of its own,
// and the caller comes back on its own executor. Cancelling the caller (its cancellation slot, terminal) ends the exchange at once.
// Destroying the client ends what is under way with Unavailable; the executors of those who wait must still run then.
class Client {
 public:
  explicit Client(ClientOptions options = {});
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Any status is an answer. BadRequest: the URL or the certificates make no sense. Forbidden: all addresses were refused by `allowed`.
  // Timeout, RequestTooLarge, TooManyRequests as above. Unavailable: everything else, the sentence says what; when it was the server's
  // certificate that was not believed, a cause has the reason kCertificateRefused.
  asio::awaitable<Result<Fetched>> send(std::string url, FetchOptions options);
  // What is under way, and whatever is sent later, ends with Unavailable. Does not wait.
  void stop();

 private:
  class Pool;
  std::unique_ptr<Pool> pool_;
};

// The same, blocking: for the command line, tests, and threads that may wait.
Result<Fetched> fetch(Client& client, const std::string& url, const FetchOptions& options);
// With a client of its own.
Result<Fetched> fetch(const std::string& url, const FetchOptions& options);

}  // namespace podpass::http
