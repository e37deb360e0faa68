#pragma once

#include "http/http.h"
#include "token/relying_party.h"

namespace podpass::token {

// A handler that tells whether the request's bearer token is good, for proxies that ask before they let a request through: Envoy's
// ext_authz over HTTP (path_prefix: /verify) and nginx' auth_request. /healthz answers ok.
//   200  X-Podpass-Issuer, -Subject, -Audience (comma-separated), -Key-Id, -Expires; of Kubernetes' own tokens also -Namespace and
//        -Service-Account, and -Pod when it is bound to one. All are always set or "", so that a client's own header never passes for ours.
//   401  WWW-Authenticate of RFC 6750 §3, and a JSON body: failedCheck, expected, found, message, fix
//   403  so, too: the token is good, and its subject none of `subjects` (of those that end in '*' what is before it counts; none: all may)
//   503  the issuer's keys could not be had, which says nothing of the token
// The party outlives it.
http::Handler httpVerifier(RelyingParty& party, std::vector<std::string> subjects = {});

}  // namespace podpass::token
