#pragma once

#include "auth/authorizer.h"
#include "http/http.h"
#include "server/request_info.h"

namespace podpass::server {

// Impersonate-* headers (kubectl --as): replaces `user`, who needs the right to impersonate each part. Forbidden when they lack one.
Result<void> impersonate(const auth::Authorizer& authorizer, const http::Request& request, auth::User& user);

// The 403 of a request that the authorizer refused, in Kubernetes' words (spec api.md §4.4).
Error denied(const RequestInfo& info, const auth::User& user, const std::string& reason);

}  // namespace podpass::server
