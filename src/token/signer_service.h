#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "token/signing_keys.h"

namespace podpass::token {

// The other side of ExternalSigner: signs for a kube-apiserver (--service-account-signing-endpoint, 1.32 and later) with the keys of a ring
// that rotates, over gRPC on a Unix socket that only its owner can use (KEP-740; v1 and v1alpha1). Whoever can write to the socket can be
// any service account, so claims are looked at before they are signed. The keys and the clock outlive it.
class SignerService {
 public:
  struct Settings {
    std::filesystem::path socket;
    std::chrono::seconds maxTokenLife{31'536'000};  // told to the API server, and kept to
    std::string issuer = {};                        // "": claims of any issuer are signed
  };
  SignerService(SigningKeys& keys, const Clock& clock, Settings settings);
  ~SignerService();  // stops
  SignerService(const SignerService&) = delete;
  SignerService& operator=(const SignerService&) = delete;

  // Listens; a socket that a signer left behind is replaced. Conflict: one that lives is there. BadRequest: no path for a socket.
  Result<void> start();
  // Ends what runs after two seconds, and removes the socket.
  void stop();

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

// How long others should keep the keys of a ring that shows a new one for `cacheLife` before it signs: half of it, as the API server's
// answer to relying parties is as old as its own knowledge.
std::chrono::seconds refreshHint(std::chrono::seconds cacheLife);

struct AskedClaims {
  std::int64_t expires = 0;  // seconds since the epoch
  std::vector<std::string> audiences = {};
};
// What claims (base64url) ask for, if they are ones to sign. BadRequest: no JSON object, no whole `exp`, more life than `longest`, another
// issuer than `issuer` (unless that is ""), or larger than 64 KiB.
Result<AskedClaims> checkClaims(std::string_view claims, std::chrono::seconds longest, const std::string& issuer, WallTime now);

}  // namespace podpass::token
