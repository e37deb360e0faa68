#include <arpa/inet.h>
#include <benchmark/benchmark.h>
#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "crypto/certificate.h"
#include "irsa/webhook_server.h"

namespace podpass::irsa {
namespace {

// A pod as a Deployment's controller makes it, with the fields that the API server has filled in.
const std::string& reviewText() {
  static const std::string text =
      R"({"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"705ab4f5-6393-11e8-b7cc-42010a800002",)"
      R"("kind":{"group":"","version":"v1","kind":"Pod"},"resource":{"group":"","version":"v1","resource":"pods"},)"
      R"("requestKind":{"group":"","version":"v1","kind":"Pod"},"requestResource":{"group":"","version":"v1","resource":"pods"},)"
      R"("namespace":"shop","operation":"CREATE","userInfo":{"username":"system:serviceaccount:kube-system:replicaset-controller",)"
      R"("uid":"014fbff9","groups":["system:serviceaccounts","system:serviceaccounts:kube-system","system:authenticated"]},)"
      R"("object":{"kind":"Pod","apiVersion":"v1","metadata":{"generateName":"cart-5d5c9d8f7d-","namespace":"shop","creationTimestamp":null,)"
      R"("labels":{"app":"cart","pod-template-hash":"5d5c9d8f7d","tier":"backend"},"annotations":{"prometheus.io/scrape":"true","prometheus.io/port":"8080"},)"
      R"("ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"cart-5d5c9d8f7d","uid":"1f7a9c1e-8d0e-4c7b-9f0a-1c2d3e4f5a6b","controller":true,"blockOwnerDeletion":true}]},)"
      R"("spec":{"volumes":[{"name":"config","configMap":{"name":"cart-config","defaultMode":420}},{"name":"kube-api-access-x7v2k","projected":{"sources":[)"
      R"({"serviceAccountToken":{"expirationSeconds":3607,"path":"token"}},{"configMap":{"name":"kube-root-ca.crt","items":[{"key":"ca.crt","path":"ca.crt"}]}},)"
      R"({"downwardAPI":{"items":[{"path":"namespace","fieldRef":{"apiVersion":"v1","fieldPath":"metadata.namespace"}}]}}],"defaultMode":420}}],)"
      R"("containers":[{"name":"cart","image":"registry.example/shop/cart:1.42.0","args":["--listen=:8080","--log=json"],"ports":[{"name":"http","containerPort":8080,"protocol":"TCP"}],)"
      R"("env":[{"name":"POD_NAME","valueFrom":{"fieldRef":{"apiVersion":"v1","fieldPath":"metadata.name"}}},{"name":"BUCKET","value":"shop-carts"}],)"
      R"("resources":{"limits":{"memory":"256Mi"},"requests":{"cpu":"100m","memory":"128Mi"}},"volumeMounts":[{"name":"config","readOnly":true,"mountPath":"/etc/cart"},)"
      R"({"name":"kube-api-access-x7v2k","readOnly":true,"mountPath":"/var/run/secrets/kubernetes.io/serviceaccount"}],)"
      R"("readinessProbe":{"httpGet":{"path":"/ready","port":"http","scheme":"HTTP"},"timeoutSeconds":1,"periodSeconds":10,"successThreshold":1,"failureThreshold":3},)"
      R"("terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","imagePullPolicy":"IfNotPresent"}],)"
      R"("restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","serviceAccountName":"account-0","serviceAccount":"account-0",)"
      R"("securityContext":{},"schedulerName":"default-scheduler","tolerations":[{"key":"node.kubernetes.io/not-ready","operator":"Exists","effect":"NoExecute","tolerationSeconds":300},)"
      R"({"key":"node.kubernetes.io/unreachable","operator":"Exists","effect":"NoExecute","tolerationSeconds":300}],"priority":0,"enableServiceLinks":true,)"
      R"("preemptionPolicy":"PreemptLowerPriority"},"status":{}},"oldObject":null,"dryRun":false,"options":{"kind":"CreateOptions","apiVersion":"meta.k8s.io/v1"}}})";
  return text;
}

void fill(AccountCache& accounts, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    const std::string name = "account-" + std::to_string(i);
    accounts.put("shop", name, {{"arn:aws:iam::210987654321:role/shop-" + name, "sts.amazonaws.com", false, 86400}});
  }
}

// How many reviews does one core read, decide and answer, without the wire?
void BM_Mutate(benchmark::State& state) {
  const AwsSettings settings;
  const RoleSettings role{"arn:aws:iam::210987654321:role/reader", "sts.amazonaws.com", false, 86400};
  for (auto _ : state) {
    const auto review = std::make_unique<AdmissionReview>(reviewText());
    const Injection injection = webIdentity(role, review->pod(), settings);
    benchmark::DoNotOptimize(review->allowed(podPatch(review->pod(), {&injection, 1}).json));
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_Mutate);

// What does an account cost in memory?
void BM_KnownAccounts(benchmark::State& state) {
  for (auto _ : state) {
    const std::size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
    AccountCache accounts;
    fill(accounts, state.range(0));
    const std::size_t after = mallinfo2().uordblks + mallinfo2().hblkhd;
    state.counters["bytes"] = static_cast<double>(after - before);
    state.counters["bytes/account"] = static_cast<double>(after - before) / static_cast<double>(state.range(0));
  }
}
BENCHMARK(BM_KnownAccounts)->Arg(10'000)->Arg(100'000)->Iterations(1);

WebhookSources& sources() {
  static WebhookSources all;
  return all;
}

WebhookServer& serving() {
  static const std::unique_ptr<WebhookServer> server = [] {
    const WallTime now = SystemClock().now();
    const Result<crypto::Authority> authority = crypto::Authority::make("bench", now);
    const Result<crypto::IssuedCertificate> issued =
        (*authority).issue({.commonName = "bench", .addresses = {"127.0.0.1"}, .forServer = true}, now);
    http::TlsFiles tls;
    tls.certificatePem = (*issued).certificatePem;
    tls.keyPem = (*issued).keyPem;
    WebhookListeners listeners;
    listeners.bind = "127.0.0.1";
    listeners.port = 0;
    listeners.metricsPort = -1;
    auto made = std::make_unique<WebhookServer>(listeners, WebhookOptions{}, sources(), [](const std::string&, const std::string&) {
      return Result<std::optional<Account>>(Error{Reason::Unavailable, "every account of the benchmark is known"});
    });
    if (Result<void> started = made->start(tls); !started) std::abort();
    return made;
  }();
  return *server;
}

// A TLS connection that asks and waits for the answer, without parsing it: the webhook shall be what is measured.
class Asker {
 public:
  explicit Asker(unsigned short port) : context_(SSL_CTX_new(TLS_client_method())), socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
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
    request_ = "POST /mutate?timeout=10s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: " +
               std::to_string(reviewText().size()) + "\r\n\r\n" + reviewText();
  }
  ~Asker() {
    SSL_free(ssl_);
    SSL_CTX_free(context_);
    ::close(socket_);
  }
  Asker(const Asker&) = delete;
  Asker& operator=(const Asker&) = delete;

  bool ask() {
    if (!connected_ || SSL_write(ssl_, request_.data(), static_cast<int>(request_.size())) <= 0) return false;
    char buffer[16384];
    const int count = SSL_read(ssl_, buffer, sizeof buffer);  // one record, as it is one write
    return count > 0 && std::string_view(buffer, static_cast<std::size_t>(count)).find("\"patch\":\"") != std::string_view::npos;
  }

 private:
  SSL_CTX* context_;
  SSL* ssl_ = nullptr;
  int socket_;
  bool connected_ = false;
  std::string request_;
};

// How many mutations a second over TLS connections that stay open (client and webhook share the cores), with so many accounts?
void BM_MutateOverTls(benchmark::State& state) {
  WebhookServer& server = serving();
  if (state.thread_index() == 0) {
    sources().accounts.clear();
    fill(sources().accounts, state.range(0));
  }
  Asker asker(server.port());
  bool answered = true;
  for (auto _ : state) answered = answered && asker.ask();
  if (!answered) state.SkipWithError("no mutation");
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_MutateOverTls)->Arg(1)->Arg(10'000)->Arg(100'000)->Threads(32)->UseRealTime();

}  // namespace
}  // namespace podpass::irsa
