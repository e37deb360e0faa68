#include <arpa/inet.h>
#include <benchmark/benchmark.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>

#include "base/file.h"
#include "crypto/certificate.h"
#include "http/http.h"

namespace podpass::http {
namespace {

std::shared_ptr<const std::string> object() {
  static const auto made = std::make_shared<const std::string>(600, 'o');  // a service account as JSON
  return made;
}

// A server with a certificate of its own; the temporary files are gone before it answers.
std::unique_ptr<Server> serving() {
  std::string pattern = (std::filesystem::temp_directory_path() / "podpass-bench-XXXXXX").string();
  const std::filesystem::path directory = mkdtemp(pattern.data());
  const WallTime now = SystemClock().now();
  const Result<crypto::Authority> authority = crypto::Authority::make("bench", now);
  const Result<crypto::IssuedCertificate> issued =
      (*authority).issue({.commonName = "bench", .addresses = {"127.0.0.1"}, .forServer = true}, now);
  const std::string certificate = directory / "tls.crt";
  const std::string key = directory / "tls.key";
  ServerOptions options;
  options.tls = TlsFiles{certificate, key, ""};
  const bool written = writeFileAtomically(certificate, (*issued).certificatePem) && writeFileAtomically(key, (*issued).keyPem.reveal());
  std::unique_ptr<Server> server = makeServer(options, [](std::shared_ptr<const Request>) -> asio::awaitable<Response> {
    Response response;
    response.headers.add("Content-Type", "application/json");
    response.body = object();
    co_return response;
  });
  const Result<void> started = server->start();
  std::filesystem::remove_all(directory);
  return written && started ? std::move(server) : nullptr;
}

// A TLS connection that asks and waits for the answer, without parsing it: the server shall be what is measured.
class Client {
 public:
  explicit Client(unsigned short port) : context_(SSL_CTX_new(TLS_client_method())), socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int on = 1;
    setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    connected_ = ::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    ssl_ = SSL_new(context_);
    SSL_set_fd(ssl_, socket_);
    connected_ = connected_ && SSL_connect(ssl_) == 1;
  }
  ~Client() {
    SSL_free(ssl_);
    SSL_CTX_free(context_);
    ::close(socket_);
  }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  bool get() {
    static constexpr std::string_view kRequest =
        "GET /api/v1/namespaces/default/serviceaccounts/reader HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\nAccept: "
        "application/json\r\n"
        "Authorization: Bearer none\r\n\r\n";
    if (!connected_ || SSL_write(ssl_, kRequest.data(), static_cast<int>(kRequest.size())) <= 0) return false;
    char buffer[4096];
    return SSL_read(ssl_, buffer, sizeof buffer) > static_cast<int>(object()->size());  // one record, as it is one write
  }

 private:
  SSL_CTX* context_;
  SSL* ssl_ = nullptr;
  int socket_;
  bool connected_ = false;
};

// How many small GETs a second over TLS connections that stay open (client and server share the cores)?
void BM_SmallGetOverTls(benchmark::State& state) {
  static const std::unique_ptr<Server> server = serving();
  if (!server) return state.SkipWithError("the server did not start");
  Client client(server->port());
  for (auto _ : state)
    if (!client.get()) return state.SkipWithError("no answer");
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_SmallGetOverTls)->Threads(1)->Threads(32)->UseRealTime();

}  // namespace
}  // namespace podpass::http
