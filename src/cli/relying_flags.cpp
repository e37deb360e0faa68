#include "cli/relying_flags.h"

namespace podpass::cli {
namespace {

std::string cidrProblem(const std::string& text) {
  const Result<http::AddressRules> rules = http::AddressRules::make({text}, {});
  return rules ? std::string() : rules.error().sentence;
}

}  // namespace

void RelyingFlags::addFetchTo(Command verb) {
  verb.option("--fetch-allow", allow,
              "issuers' documents may be fetched from these addresses; the longest prefix decides; may be repeated. Default: from all but "
              "the metadata services of clouds (169.254.0.0/16, fe80::/10, fd00:ec2::254 and their like)")
      .check(cidrProblem, "CIDR");
  verb.option("--fetch-deny", deny, "and not from these; 0.0.0.0/0 and ::/0 leave only what is allowed; may be repeated")
      .check(cidrProblem, "CIDR");
}

void RelyingFlags::addTo(Command verb) {
  addFetchTo(verb);
  verb.option("--skew", skewSeconds, "seconds by which the clocks of others' issuers may differ from this one")
      .between(0, 300)
      .showDefault();
}

}  // namespace podpass::cli
