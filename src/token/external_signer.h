#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "base/secret.h"
#include "base/snapshot.h"
#include "token/key_ring.h"

namespace podpass::token {

// Signs service account tokens by another program on this machine, and takes the keys that verify them from it: the API server's side of
// Kubernetes' ExternalJWTSigner (KEP-740; gRPC over a Unix socket, v1, or v1alpha1 where the signer knows no other). Thread-safe. Calls
// block; each has a deadline, and stop() ends those that wait.
class ExternalSigner {
 public:
  // Asks how long tokens may live (10 s) and for the keys (60 s), waiting for a signer that is not there yet. Unavailable: it did not come,
  // or what it answers is not acceptable; the sentence says which.
  static Result<std::unique_ptr<ExternalSigner>> connect(const std::string& socket);
  ~ExternalSigner();  // stops
  ExternalSigner(const ExternalSigner&) = delete;
  ExternalSigner& operator=(const ExternalSigner&) = delete;

  // Fetches the keys anew when the signer asked for it, on a thread of its own, until stop(). While that fails the old keys stay.
  void start();
  void stop();

  // The token with this payload (JSON), its header the signer's, its signature verified. Unavailable, in kube-apiserver's words: the signer
  // is away for 10 s, refuses, or its answer is not acceptable.
  Result<Secret> sign(std::string_view payload);

  [[nodiscard]] const Snapshot<KeyRing>& ring() const;
  [[nodiscard]] std::chrono::seconds maxTokenLife() const;
  // Until the keys are fetched again: how long others may keep them.
  [[nodiscard]] std::chrono::seconds untilRefresh() const;
  // For a token whose key the ring does not hold: asks the signer, at most once a second and for 2 s, and never twice at once. True: the
  // ring holds it now.
  bool fetchFor(const std::string& kid);
  // apiserver_externaljwt_…, in Prometheus' text format.
  [[nodiscard]] std::string metrics() const;

 private:
  struct Parts;
  explicit ExternalSigner(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace podpass::token
