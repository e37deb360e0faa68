#include "token/signer_service.h"

#include <external_jwt_signer.grpc.pb.h>
#include <external_jwt_signer_alpha.grpc.pb.h>
#include <grpcpp/grpcpp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"

namespace podpass::token {
namespace {

namespace wire = ::v1;
namespace alpha = ::v1alpha1;
using namespace std::chrono_literals;

constexpr std::size_t kMaxClaims = 64u << 10;  // bytes, encoded
constexpr int kMaxMessage = 128 << 10;
constexpr int kMaxThreads = 32;
constexpr std::int64_t kLeeway = 60;  // seconds between two clocks
constexpr int kTries = 3;             // rotations that one token may meet

grpc::Status statusOf(const Error& error) {
  const grpc::StatusCode code = error.reason == Reason::BadRequest    ? grpc::StatusCode::INVALID_ARGUMENT
                                : error.reason == Reason::Unavailable ? grpc::StatusCode::UNAVAILABLE
                                                                      : grpc::StatusCode::INTERNAL;
  return {code, error.sentence};
}

// Whether somebody answers at the socket.
bool isAlive(const sockaddr_un& address) {
  const int probe = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool alive = probe >= 0 && ::connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  if (probe >= 0) ::close(probe);
  return alive;
}

Result<void> makeWay(const std::filesystem::path& socket) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket.empty() || socket.string().size() >= sizeof address.sun_path)
    return Error{Reason::BadRequest,
                 "the path of a Unix socket has 1 to " + std::to_string(sizeof address.sun_path - 1) + " bytes: " + quoted(socket.string()),
                 "choose a shorter one"};
  socket.string().copy(address.sun_path, sizeof address.sun_path - 1);
  if (Result<void> made = makeDirectories(std::filesystem::absolute(socket).parent_path(), 0700); !made) return made;
  std::error_code failed;
  const std::filesystem::file_status present = std::filesystem::symlink_status(socket, failed);
  if (present.type() == std::filesystem::file_type::not_found) return {};
  if (present.type() != std::filesystem::file_type::socket)
    return Error{Reason::BadRequest, socket.string() + " is there, and no socket", "choose another path, or remove it"};
  if (isAlive(address))
    return Error{Reason::Conflict, "a signer is listening on " + socket.string() + " already", "stop it, or choose another path"};
  std::filesystem::remove(socket, failed);
  return failed ? Result<void>(Error{Reason::Internal, "cannot remove the old socket " + socket.string() + ": " + failed.message()})
                : Result<void>();
}

std::int64_t secondsOf(WallTime time) { return std::chrono::floor<std::chrono::seconds>(time.time_since_epoch()).count(); }

}  // namespace

std::chrono::seconds refreshHint(std::chrono::seconds cacheLife) { return std::max(cacheLife / 2, 1s); }

Result<AskedClaims> checkClaims(std::string_view claims, std::chrono::seconds longest, const std::string& issuer, WallTime now) {
  const auto bad = [](std::string sentence) { return Error{Reason::BadRequest, std::move(sentence)}; };
  if (claims.size() > kMaxClaims) return bad("the claims are larger than 64 KiB");
  const Result<std::string> text = base64UrlDecode(claims);
  if (!text) return bad("the claims are not base64url: " + text.error().sentence);
  const Result<json::object> parsed = jose::parseStrictObject(*text);
  if (!parsed) return bad("the claims are " + parsed.error().sentence);
  const json::value* expires = parsed->if_contains("exp");
  if (expires == nullptr || !expires->is_int64()) return bad("the claims have no exp, or it is no whole number");
  if (const std::int64_t last = secondsOf(now) + longest.count() + kLeeway; expires->get_int64() > last)
    return bad("the claims ask for a token that expires later than " + std::to_string(longest.count()) + " seconds from now");
  if (const std::string_view named = textAt(*parsed, {"iss"}); !issuer.empty() && named != issuer)
    return bad("the claims are of the issuer " + quoted(named.substr(0, 256)) + ", and only those of " + quoted(issuer) + " are signed");
  AskedClaims asked{.expires = expires->get_int64()};
  if (const json::array* audiences = arrayAt(*parsed, {"aud"}))
    for (const json::value& each : *audiences)
      if (each.is_string()) asked.audiences.emplace_back(each.get_string());
  return asked;
}

struct SignerService::Parts {
  SigningKeys& keys;
  const Clock& clock;
  const Settings settings;

  // The key is kept in the ring until the token expires.
  grpc::Status sign(const wire::SignJWTRequest& request, wire::SignJWTResponse& response) {
    const Result<AskedClaims> asked = checkClaims(request.claims(), settings.maxTokenLife, settings.issuer, clock.now());
    if (!asked) return refuse(asked.error());
    for (int attempt = 1;; ++attempt) {
      const std::shared_ptr<const KeyRing> ring = keys.ring().load();
      const jose::Key& key = ring->signerFor(asked->audiences);
      const Result<void> kept = keys.keepUntil(key, asked->expires);
      if (!kept && kept.error().reason == Reason::Conflict && attempt < kTries) continue;
      if (!kept) return refuse(kept.error());
      const json::object header{{"alg", key.alg}, {"kid", key.kid}, {"typ", "JWT"}};
      response.set_header(base64UrlEncode(json::serialize(header)));
      const Result<std::string> signature = key.key.sign(response.header() + "." + request.claims());
      if (!signature) return refuse(signature.error());
      response.set_signature(base64UrlEncode(*signature));
      return grpc::Status::OK;
    }
  }

  grpc::Status fetchKeys(wire::FetchKeysResponse& response) {
    for (const KeyPtr& key : keys.ring().load()->keys()) {
      wire::Key& each = *response.add_keys();
      each.set_key_id(key->kid);
      each.set_key(key->key.publicDer());
    }
    response.mutable_data_timestamp()->set_seconds(secondsOf(clock.now()));  // the ring follows its store at once
    response.set_refresh_hint_seconds(refreshHint(keys.cacheLife()).count());
    return grpc::Status::OK;
  }

  grpc::Status refuse(const Error& error) {
    log::warn("token not signed", {{"err", log::chain(error)}});
    return statusOf(error);
  }

  template <class Base>
  struct Service final : Base::Service {
    explicit Service(Parts& all) : parts(all) {}
    grpc::Status Sign(grpc::ServerContext*, const wire::SignJWTRequest* request, wire::SignJWTResponse* response) override {
      return parts.sign(*request, *response);
    }
    grpc::Status FetchKeys(grpc::ServerContext*, const wire::FetchKeysRequest*, wire::FetchKeysResponse* response) override {
      return parts.fetchKeys(*response);
    }
    grpc::Status Metadata(grpc::ServerContext*, const wire::MetadataRequest*, wire::MetadataResponse* response) override {
      response->set_max_token_expiration_seconds(parts.settings.maxTokenLife.count());
      return grpc::Status::OK;
    }
    Parts& parts;
  };
  Service<wire::ExternalJWTSigner> current{*this};
  Service<alpha::ExternalJWTSigner> older{*this};
  std::unique_ptr<grpc::Server> server;
};

SignerService::SignerService(SigningKeys& keys, const Clock& clock, Settings settings)
    : parts_(new Parts{.keys = keys, .clock = clock, .settings = std::move(settings), .server = nullptr}) {}
SignerService::~SignerService() { stop(); }

Result<void> SignerService::start() {
  const std::filesystem::path& socket = parts_->settings.socket;
  if (Result<void> free = makeWay(socket); !free) return free;
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("unix:" + socket.string(), grpc::InsecureServerCredentials(), &port);
  builder.SetMaxReceiveMessageSize(kMaxMessage);
  builder.SetResourceQuota(grpc::ResourceQuota("signer").SetMaxThreads(kMaxThreads));
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.RegisterService(&parts_->current);
  builder.RegisterService(&parts_->older);
  const mode_t before = ::umask(0177);  // the socket is 0600 from its first moment; other threads make no files here
  parts_->server = builder.BuildAndStart();
  ::umask(before);
  if (!parts_->server || port == 0)
    return Error{Reason::BadRequest, "cannot listen on " + socket.string(), "may podpass write into its directory?"};
  return {};
}

void SignerService::stop() {
  if (!parts_->server) return;
  parts_->server->Shutdown(std::chrono::system_clock::now() + 2s);
  parts_->server->Wait();
  parts_->server.reset();
  std::error_code ignored;
  std::filesystem::remove(parts_->settings.socket, ignored);
}

}  // namespace podpass::token
