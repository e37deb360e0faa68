#pragma once

#include <string>
#include <vector>

#include "base/document.h"
#include "http/address_rules.h"

// A lint of somebody's OIDC issuer: what relying parties will stumble over, and which of them.
namespace podpass::token {

struct Finding {
  enum class Severity { Error, Warning } severity;  // Error: tokens of this issuer are refused; by everybody when refusedBy is empty
  std::string check;     // url, reach, tls, discovery, issuer, jwks_uri, content type, jwks, key, key id, algorithm, cache
  std::string sentence;  // what is wrong, with what was found
  std::vector<std::string> refusedBy = {};  // AWS, GCP, Azure, Vault
  std::string fix = {};
};

struct IssuerReport {
  std::string issuer;
  std::vector<Finding> findings;    // in the order in which a relying party would meet them
  std::vector<std::string> keys;    // "RS256 2048 bits, kid Yu1mgf…"
  [[nodiscard]] bool good() const;  // no Error
  [[nodiscard]] json::object toJson() const;
  [[nodiscard]] std::string text() const;  // for people, lines
};

// Fetches both documents as a relying party does; blocking, ten seconds at most. `caPem`: the issuer's authority, when it is a private one;
// what those who only know the public ones will say is then a finding. `thumbprints`: as http::FetchOptions.
// Only from where `rules` allow, and nearer than the discovery document only where they say so.
IssuerReport examineIssuer(const http::AddressRules& rules, const std::string& url, const std::string& caPem,
                           const std::vector<std::string>& thumbprints = {});

}  // namespace podpass::token
