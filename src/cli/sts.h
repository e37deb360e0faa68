#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "api/client.h"
#include "crypto/certificate.h"
#include "irsa/sts_server.h"

// What `podpass up` and `podpass sts` have in common.
namespace podpass::cli {

struct StsFlags {
  std::string bind = "127.0.0.1";
  unsigned short port = 0;
  std::string account = "000000000000";
  bool plainHttp = false;
  std::string connectProxy = {};
  int clockSkew = 0;                            // seconds
  std::vector<std::string> moreAddresses = {};  // in the certificate
};

// Makes the serving certificate (also for AWS's STS host names) in `directory`, where sts.key is kept too.
Result<irsa::StsOptions> stsFiles(const std::filesystem::path& directory, const crypto::Authority& authority, const StsFlags& flags,
                                  WallTime now);

// Keeps an OIDCProvider for this podpass's own issuer, with the client id sts.amazonaws.com. `caPem`: "" for the system's roots.
Result<void> registerOwnIssuer(api::Client& client, const std::string& issuer, const std::string& caPem);

}  // namespace podpass::cli
