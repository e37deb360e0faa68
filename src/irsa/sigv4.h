#pragma once

#include <string>
#include <vector>

#include "base/clock.h"
#include "base/secret.h"
#include "http/http.h"
#include "irsa/sts_refusal.h"

// AWS Signature Version 4, the server's side, for STS (spec irsa.md §6). The order is AWS's: parse, time, key, token, signature.
namespace podpass::irsa {

// A signature as the client sent it, in the Authorization header or in the query; not yet checked.
struct Signature {
  std::string accessKeyId, day, region;    // of the credential scope; the service is sts
  std::vector<std::string> signedHeaders;  // lower case, in the order of the canonical request
  std::string hex;                         // 64 digits
  std::string amzDate;                     // 20260301T120000Z
  Secret sessionToken;                     // empty: none
  bool inQuery = false;
  std::chrono::seconds life{0};  // X-Amz-Expires, in the query only
};

// MissingAuthenticationToken, IncompleteSignature, SignatureDoesNotMatch (a scope that is not this service's).
Outcome<Signature> readSignature(const http::Request& request);
// SignatureDoesNotMatch: signed more than 15 minutes ago, or that far ahead.
Outcome<std::monostate> checkTime(const Signature& signature, WallTime now);
// SignatureDoesNotMatch. The headers that are listed are verified, whatever they are; host, the date and every x-amz-* header must be.
Outcome<std::monostate> checkSignature(const Signature& signature, const http::Request& request, const Secret& secretAccessKey);

// Parts, for tests.
std::string canonicalRequest(const Signature& signature, const http::Request& request);
std::string signatureOf(const Signature& signature, const std::string& canonical, const Secret& secretAccessKey);

}  // namespace podpass::irsa
