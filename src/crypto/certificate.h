#pragma once

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/secret.h"
#include "crypto/key.h"

namespace podpass::crypto {

struct CertificateRequest {
  std::string commonName;
  std::vector<std::string> organizations = {};  // Kubernetes groups for client certificates
  std::vector<std::string> dnsNames = {};
  std::vector<std::string> addresses = {};  // IP texts
  bool forServer = false;                   // EKU serverAuth, else clientAuth
  std::chrono::hours life{24 * 365};
};

struct IssuedCertificate {
  std::string certificatePem;
  Secret keyPem;
};

// Since when the first certificate of a PEM text is valid (notBefore). BadRequest: there is none.
Result<WallTime> validFrom(std::string_view certificatePem);

// A certificate authority: an EC P-256 key and a self-signed root of ten years.
class Authority {
 public:
  static Result<Authority> make(std::string commonName, WallTime now);
  static Result<Authority> load(std::string_view certificatePem, const Secret& keyPem);
  // Reads ca.crt and ca.key (0600) in `directory`, or makes them there on first use.
  static Result<Authority> openOrMake(const std::filesystem::path& directory, std::string commonName, WallTime now);
  [[nodiscard]] Result<IssuedCertificate> issue(const CertificateRequest& request, WallTime now) const;
  [[nodiscard]] const std::string& certificatePem() const { return certificatePem_; }

 private:
  std::string certificatePem_;
  KeyPair key_;
};

}  // namespace podpass::crypto
