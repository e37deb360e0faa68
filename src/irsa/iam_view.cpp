#include "irsa/iam_view.h"

#include <algorithm>

#include "api/iam_names.h"
#include "base/text.h"
#include "irsa/sts_session.h"

namespace podpass::irsa {
namespace {

bool sameButCase(std::string_view a, std::string_view b) { return api::lowered(a) == api::lowered(b); }

// Whether one becomes the other by at most two typing errors.
bool nearlySame(std::string_view a, std::string_view b) {
  if (a.size() > 64 || b.size() > 64) return false;
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j)
      diagonal = std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0u : 1u)}));
  }
  return row.back() <= 2;
}

// Of two providers with one URL STS takes the older.
std::vector<DocumentPtr> oldestFirst(std::vector<DocumentPtr> providers) {
  std::sort(providers.begin(), providers.end(),
            [](const DocumentPtr& a, const DocumentPtr& b) { return api::providerAge(a->value) < api::providerAge(b->value); });
  return providers;
}

}  // namespace

std::string_view nameOfRole(std::string_view arn) { return arn.substr(arn.rfind('/') + 1); }

std::string pathOfRole(std::string_view arn) {
  const std::string_view rest = arn.substr(arn.find(":role/") + 5);
  return std::string(rest.substr(0, rest.rfind('/') + 1));
}

const Role* nearestRole(const std::vector<Role>& roles, std::string_view arn) {
  const std::string_view name = nameOfRole(arn);
  for (const Role& each : roles)
    if (each.name == name) return &each;
  for (const Role& each : roles)
    if (sameButCase(each.name, name) || nearlySame(each.name, name)) return &each;
  return nullptr;
}

IamView readIam(api::Client& client) {
  IamView view;
  const Result<api::Listing> providers = client.list(*api::findKind("iam.podpass.dev", "v1", "oidcproviders"), "", {});
  const Result<api::Listing> roles = client.list(*api::findKind("iam.podpass.dev", "v1", "roles"), "", {});
  view.account = "000000000000";
  for (const Result<api::Listing>* listing : {&providers, &roles})
    if (*listing)
      for (const DocumentPtr& each : (*listing)->items)
        if (const std::string arn(textAt(each->value, {"status", "arn"})); arn.find(":iam::") != std::string::npos)
          view.account = accountOfRole(arn);
  view.aws = !providers && providers.error().reason == Reason::NotFound;
  const auto told = [&view](const Error& error) {
    if (!view.aws) return error;
    return Error{Reason::NotFound, "the cluster has no objects of iam.podpass.dev: its roles and providers are at AWS",
                 "give them as files: --trust-policy with the output of `aws iam get-role`, --provider-url and --client-id"};
  };
  if (!providers)
    view.providers = told(providers.error());
  else
    view.providers = oldestFirst(providers->items);
  if (!roles) {
    view.roles = told(roles.error());
    return view;
  }
  std::vector<Role> all;
  for (const DocumentPtr& each : roles->items) all.push_back(roleOf(each, view.account));
  view.roles = std::move(all);
  return view;
}

DocumentPtr providerObject(const std::string& url, const std::vector<std::string>& clientIds, const std::vector<std::string>& thumbprints) {
  auto object = std::make_shared<Document>();
  object->value = {{"metadata", json::object{{"name", std::string(api::withoutScheme(url))}}},
                   {"spec", json::object{{"url", url},
                                         {"clientIDs", json::array(clientIds.begin(), clientIds.end())},
                                         {"thumbprints", json::array(thumbprints.begin(), thumbprints.end())}}}};
  return object;
}

Result<DocumentPtr> roleObject(const std::string& arn, const json::value& document) {
  const json::object* whole = document.if_object();
  const json::object* told = whole != nullptr ? objectAt(*whole, {"Role"}) : nullptr;
  const json::value* policy = told != nullptr ? told->if_contains("AssumeRolePolicyDocument") : &document;
  if (policy == nullptr)
    return Error{Reason::BadRequest, "the role has no AssumeRolePolicyDocument", "give the output of `aws iam get-role --role-name NAME`"};
  const std::string full = told != nullptr && !textAt(*told, {"Arn"}).empty() ? std::string(textAt(*told, {"Arn"})) : arn;
  if (checkRoleArn(full))
    return Error{Reason::BadRequest, quoted(full) + " is not the ARN of a role", "write it as arn:aws:iam::ACCOUNT:role/NAME"};
  const std::string name(nameOfRole(full));
  auto object = std::make_shared<Document>();
  object->value = {{"metadata", json::object{{"name", name}}},
                   {"status", json::object{{"arn", full}}},
                   {"spec", json::object{{"trustPolicy", *policy},
                                         {"path", pathOfRole(full)},
                                         {"maxSessionDuration", told != nullptr ? integerAt(*told, {"MaxSessionDuration"}, 3600) : 3600}}}};
  return DocumentPtr(object);
}

}  // namespace podpass::irsa
