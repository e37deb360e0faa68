#include "cli/key_flags.h"

#include <CLI/CLI.hpp>

namespace podpass::cli {

void KeyFlags::addTo(CLI::App& verb) {
  const std::vector<std::string> names(crypto::keyTypeNames().begin(), crypto::keyTypeNames().end());
  verb.add_option("--signing-key-algorithm", algorithm, "what tokens are signed with; EdDSA is verified by few")
      ->check(CLI::IsMember(names))
      ->capture_default_str();
  verb.add_option("--signing-algorithm-for-audience", algorithmForAudience,
                  "AUDIENCE=ALGORITHM: another one for this audience; repeatable");
}

Result<token::Algorithms> KeyFlags::algorithms() const {
  Result<crypto::KeyType> standard = crypto::keyTypeNamed(algorithm);
  if (!standard) return standard.error();
  token::Algorithms all{.standard = *standard};
  for (const std::string& text : algorithmForAudience) {
    Result<std::pair<std::string, crypto::KeyType>> choice = token::parseAudienceAlgorithm(text);
    if (!choice) return choice.error();
    all.forAudience.insert(*std::move(choice));
  }
  return all;
}

}  // namespace podpass::cli
