#include "cli/relying_flags.h"

#include <CLI/CLI.hpp>

namespace podpass::cli {
namespace {

std::string cidrProblem(const std::string& text) {
  const Result<http::AddressRules> rules = http::AddressRules::make({text}, {});
  return rules ? std::string() : rules.error().sentence;
}

}  // namespace

void RelyingFlags::addFetchTo(CLI::App& verb) {
  const CLI::Validator isCidr(cidrProblem, "CIDR");
  verb.add_option(
          "--fetch-allow", allow,
          "issuers' documents may be fetched from these addresses; the longest prefix decides; may be repeated. Default: from all but "
          "the metadata services of clouds (169.254.0.0/16, fe80::/10, fd00:ec2::254 and their like)")
      ->allow_extra_args(false)
      ->check(isCidr);
  verb.add_option("--fetch-deny", deny, "and not from these; 0.0.0.0/0 and ::/0 leave only what is allowed; may be repeated")
      ->allow_extra_args(false)
      ->check(isCidr);
}

void RelyingFlags::addTo(CLI::App& verb) {
  addFetchTo(verb);
  verb.add_option("--skew", skewSeconds, "seconds by which the clocks of others' issuers may differ from this one")
      ->check(CLI::Range(0, 300))
      ->capture_default_str();
}

}  // namespace podpass::cli
