#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "http/http.h"

// For AWS clients that have no endpoint setting (CLI 2.9, boto3 1.26 and older in the implicit exchange): with HTTPS_PROXY they ask this
// CONNECT proxy (RFC 9110 §9.3.6) for STS's host names and reach podpass's STS instead; every other host is refused (spec irsa.md §9).
namespace podpass::irsa {

// Global and regional: sts.amazonaws.com, sts.eu-west-1.amazonaws.com, … The STS that answers has a certificate for all of them.
const std::vector<std::string>& stsHostNames();

// Answers CONNECT to one of stsHostNames(), port 443, by relaying to the TLS server on 127.0.0.1:`stsPort`; 403 to other hosts, 405 to
// other methods.
http::Handler connectProxy(unsigned short stsPort);

}  // namespace podpass::irsa
