#pragma once

#include "api/client.h"
#include "irsa/iam_objects.h"

namespace podpass::irsa {

// What is registered at AWS, or at podpass in its place. An Error where it could not be read.
struct IamView {
  std::string account;  // 12 digits
  bool aws = false;     // AWS itself is asked: mends are for its CLI, and what only AWS refuses counts
  Result<std::vector<Role>> roles = std::vector<Role>();
  Result<std::vector<DocumentPtr>> providers = std::vector<DocumentPtr>();  // objects of the kind OIDCProvider
};

// From the objects of the group iam.podpass.dev. A server without that group is a cluster whose roles are at AWS.
IamView readIam(api::Client& client);
// An OIDCProvider object as if it were in the cluster.
DocumentPtr providerObject(const std::string& url, const std::vector<std::string>& clientIds, const std::vector<std::string>& thumbprints);
// The same of a Role with this ARN. `document` is a trust policy, or what `aws iam get-role` prints.
Result<DocumentPtr> roleObject(const std::string& arn, const json::value& document);

std::string_view nameOfRole(std::string_view arn);  // without its path
std::string pathOfRole(std::string_view arn);       // "/", "/team/"
// The role that somebody probably meant by `arn`: of that name, or of one that differs by case or two typing errors; null: none.
const Role* nearestRole(const std::vector<Role>& roles, std::string_view arn);

}  // namespace podpass::irsa
