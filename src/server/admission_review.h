#pragma once

#include <map>
#include <string>
#include <vector>

#include "server/context.h"
#include "server/webhook.h"

// The wire form of a call to an admission webhook: admission.k8s.io/v1 and v1beta1 AdmissionReview (spec api.md §11.1).
namespace podpass::server {

// What is admitted: null where there is none (`before` of CREATE, `object` of DELETE).
struct Admitted {
  const json::object* object = nullptr;
  const json::object* before = nullptr;
};

// The body of the call. `uid` names this call, and the answer must repeat it.
std::string admissionReview(const Webhook& webhook, const Context& context, const AdmissionRequest& request, const Admitted& admitted,
                            const std::string& uid);

// What the webhook said.
struct Verdict {
  bool allowed = false;
  Error denial = {};       // when not allowed
  Wording wording = {};    // of the denial
  std::string patch = {};  // JSON patch; empty: none
  std::map<std::string, std::string> annotations = {};
  std::vector<std::string> warnings = {};
};

// Reads an answer strictly. The error's sentence is the text that follows `failed calling webhook "NAME": `.
Result<Verdict> readVerdict(const Webhook& webhook, bool mutates, const std::string& uid, std::string_view body);

}  // namespace podpass::server
