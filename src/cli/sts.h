#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "api/client.h"
#include "cli/relying_flags.h"
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
  std::vector<std::string> moreAddresses = {};  // in the certificate
  RelyingFlags relying = {};
};

// Makes the serving certificate (also for AWS's STS host names) in `directory`, where sts.key is kept too.
Result<irsa::StsOptions> stsFiles(const std::filesystem::path& directory, const crypto::Authority& authority, const StsFlags& flags,
                                  WallTime now);

// Keeps an OIDCProvider for each of this podpass's own issuers, with the client id sts.amazonaws.com: `podpass` for the first, which signs;
// for the others, unless somebody has made one, `podpass-…`. `caPem`: of issuers below one of `ownUrls`; others have a certificate of the
// system's roots.
Result<void> registerOwnIssuers(api::Client& client, const std::vector<std::string>& issuers, const std::set<std::string>& ownUrls,
                                const std::string& caPem);

}  // namespace podpass::cli
