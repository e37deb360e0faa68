#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cli/command.h"
#include "irsa/doctor_token.h"

namespace podpass::cli {

// What is registered at AWS, told by files and flags instead of podpass's kinds.
struct IamFlags {
  std::string trustPolicy, providerUrl, issuerCa;
  std::vector<std::string> clientIds, thumbprints;

  void addTo(Command verb);  // outlives the parsing
  [[nodiscard]] bool given() const { return !trustPolicy.empty() || !providerUrl.empty(); }
};

// From the files when there are any, else from the objects that `client` gives. `role`: the ARN that a policy without a name is of. What
// was not given is an Error in the view. BadRequest: a file cannot be used.
Result<irsa::IamView> iamView(const IamFlags& flags, const std::string& role, api::Client& client);
Result<irsa::IamView> iamViewOfFiles(const IamFlags& flags, const std::string& role);
// --issuer-ca, else the CA of the API server when it is the issuer; empty: the system's.
Result<std::string> issuerCa(const IamFlags& flags, const std::string& issuer, const std::string& server, const std::string& serverCa);

}  // namespace podpass::cli
