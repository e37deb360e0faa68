#include "irsa/doctor_trust.h"

#include <algorithm>

#include "api/iam_names.h"
#include "base/text.h"
#include "irsa/aws.h"
#include "irsa/mend.h"
#include "irsa/sts_session.h"
#include "irsa/trust_policy_mend.h"

namespace podpass::irsa {
namespace {

Mend rolePatched(const Role& role, const json::object& policy, bool aws, const std::string& text) {
  if (aws)
    return {text, "aws iam update-assume-role-policy --role-name " + shellQuoted(role.name) + " --policy-document " +
                      shellQuoted(json::serialize(policy))};
  const json::object patch{{"spec", json::object{{"trustPolicy", policy}}}};
  return {text,
          "kubectl patch roles.iam.podpass.dev " + shellQuoted(role.name) + " --type=merge -p " + shellQuoted(json::serialize(patch))};
}

Mend roleCreated(const std::string& arn, const TrustRequest& request, bool aws) {
  const json::object policy = policyFor(request);
  const std::string name(nameOfRole(arn));
  const std::string path = pathOfRole(arn);
  const std::string text = "create the role, or correct its name, path and account where it is asked for";
  if (aws)
    return {text, "aws iam create-role --path " + shellQuoted(path) + " --role-name " + shellQuoted(name) +
                      " --assume-role-policy-document " + shellQuoted(json::serialize(policy))};
  json::object spec{{"trustPolicy", policy}};
  if (path != "/") spec["path"] = path;
  return {text, applyCommand(
                    {{"apiVersion", "iam.podpass.dev/v1"}, {"kind", "Role"}, {"metadata", json::object{{"name", name}}}, {"spec", spec}})};
}

// Whether nothing but what a request brings along (address, session name) keeps the nearest statement from matching: that is not known
// here.
bool failsByCircumstances(const TrustVerdict& verdict) {
  if (!verdict.nearest) return false;
  const StatementVerdict& nearest = verdict.statements[*verdict.nearest];
  const auto brought = [](const ConditionVerdict& each) {
    const std::string key = api::lowered(each.key);
    return each.holds || (!each.present && (key == "aws:sourceip" || key == "aws:useragent" || key == "aws:requestedregion" ||
                                            key == "aws:securetransport" || key == "sts:rolesessionname" || key == "sts:durationseconds"));
  };
  return nearest.actionMatches && nearest.principalMatches && std::all_of(nearest.conditions.begin(), nearest.conditions.end(), brought);
}

}  // namespace

void examineRoleArn(const std::string& arn, const IamView& iam, const RoleMend& correct, Diagnosis& diagnosis) {
  if (!checkRoleArn(arn) && isRoleArn(arn)) return diagnosis.ok("role-arn", arn);
  std::string name = arn;  // without what people add to it: blanks, quotes, the ARN of an instance profile
  name.erase(std::remove_if(name.begin(), name.end(), [](char c) { return c == '"' || c == '\'' || c == ' ' || c == '\t' || c == '\n'; }),
             name.end());
  const Role* meant = iam.roles ? nearestRole(*iam.roles, name) : nullptr;
  std::string guess;
  if (meant != nullptr)
    guess = meant->arn;
  else if (!checkRoleArn(name) && isRoleArn(name))
    guess = name;
  Mend mend = correct(guess);
  mend.text = "write the role's ARN in full: arn:aws:iam::ACCOUNT:role/NAME; then create the pod again";
  diagnosis.broken("role-arn", quoted(arn), "that is not the ARN of a role: STS answers \"Request ARN is invalid\"", std::move(mend));
}

void examineTrust(const std::string& arn, const TrustRequest& request, const IamView& iam, const RoleMend& forRole, Diagnosis& diagnosis) {
  if (!iam.roles) {
    diagnosis.unknown("role", "list roles.iam.podpass.dev", iam.roles.error());
    return diagnosis.skipped("trust-policy", "the role could not be read");
  }
  const auto same = [&arn](const Role& each) { return each.arn == arn; };
  const auto role = std::find_if(iam.roles->begin(), iam.roles->end(), same);
  if (role == iam.roles->end()) {
    const Role* near = nearestRole(*iam.roles, arn);
    const std::string why = "there is no role " + arn + (near != nullptr ? "; there is " + near->arn : "") +
                            ". STS says the same of it as of a trust policy that refuses";
    diagnosis.broken("role", arn, why, near != nullptr && forRole ? forRole(near->arn) : roleCreated(arn, request, iam.aws));
    return diagnosis.skipped("trust-policy", "there is no role");
  }
  diagnosis.ok("role", role->arn);
  if (!role->trust)
    return diagnosis.broken("trust-policy", role->name, "the policy cannot be read: " + role->trust.error().sentence,
                            {"correct the policy's document", {}});
  const TrustVerdict verdict = judge(*role->trust, request);
  if (verdict.allowed) {
    diagnosis.ok("trust-policy", verdict.reason);
  } else if (failsByCircumstances(verdict)) {
    diagnosis.checks.push_back({"trust-policy", Finding::Unknown, verdict.reason,
                                "the condition is about what the request brings along, which is not known here"});
  } else {
    Mend mend{verdict.fix.empty() ? "no change of the policy is proposed: judge yourself whether it refuses by intention" : verdict.fix,
              {}};
    if (const std::optional<json::object> mended = mendedPolicy(trustPolicyOf(*role), request))
      mend = rolePatched(*role, *mended, iam.aws, mend.text);
    diagnosis.broken("trust-policy", "Not authorized to perform " + verdict.action, verdict.reason, std::move(mend));
  }
  diagnosis.checks.back().detail = toJson(verdict);
}

void concludeIdentity(Diagnosis& diagnosis, std::string_view besides) {
  const bool clear = std::none_of(diagnosis.checks.begin(), diagnosis.checks.end(), [besides](const Check& each) {
    return each.finding == Finding::Broken || (each.finding == Finding::Unknown && each.id != besides);
  });
  if (!clear || diagnosis.role.empty()) return diagnosis.skipped("identity", "what is said above comes first");
  std::string account = accountOfRole(diagnosis.role);
  diagnosis.ok("identity", "arn:aws:sts::" + account + ":assumed-role/" + std::string(nameOfRole(diagnosis.role)) + "/SESSION",
               "a service that says \"is not authorized to perform\" to it means the permissions of the role, not its trust: attach a "
               "policy to the role");
}

}  // namespace podpass::irsa
