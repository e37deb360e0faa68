#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "http/http.h"
#include "irsa/session_tags.h"
#include "irsa/sts_refusal.h"

// The query protocol's requests (spec irsa.md §2.1, §2.2): a form in the body or in the query, read once into types.
namespace podpass::irsa {

using Parameters = std::map<std::string, std::string>;  // names are case-sensitive
// MalformedQueryString: not UTF-8 after decoding, a parameter twice, too many.
Outcome<Parameters> readParameters(const http::Request& request);

// AssumeRole and AssumeRoleWithWebIdentity, as far as they are the same.
struct AssumeRequest {
  std::string roleArn, sessionName;
  std::optional<std::int64_t> durationSeconds;
  std::string policy;
  std::vector<std::string> policyArns;
  std::string webIdentityToken;                                     // web identity only
  std::string externalId, sourceIdentity, serialNumber, tokenCode;  // AssumeRole only
  std::vector<SessionTag> tags;
  std::vector<std::string> transitiveTagKeys;
};

// ValidationError, with all that is wrong in AWS's words; InvalidParameterValue: the tags do not fit together. Values of tokens are never
// repeated.
Outcome<AssumeRequest> readAssumeRole(const Parameters& parameters, bool webIdentity);
// GetSessionToken: the seconds asked for.
Outcome<std::int64_t> readGetSessionToken(const Parameters& parameters);

// The characters of session names and source identities: [\w+=,.@-]
bool isSessionName(std::string_view text);

}  // namespace podpass::irsa
