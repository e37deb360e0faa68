#pragma once

#include <optional>
#include <set>
#include <string>

#include "api/selector.h"
#include "irsa/injection.h"

// The kind TokenInjection (identity.podpass.dev/v1): which pods get a token, for whom, and how a program learns of it. Its profiles for
// AWS, Azure, Google and Vault are TokenInjections too, as data. Pure and thread-safe.
namespace podpass::irsa {

class TokenInjection {
 public:
  // From an object of the kind; what it says takes the place of what its profile says. Invalid: it says nothing that can be applied.
  static Result<TokenInjection> read(const json::object& object);

  // What this pod gets; nullopt: it does not match. Invalid: it asks for a life of the token that it cannot have. `jitter`: a random number
  // of seconds by which the usual life is shortened, as far as the injection wants it. `annotations` are the service account's, null when
  // they are not known or there are none. A value that needs an annotation which is missing or empty is left out, and so is a file whose
  // text needs it.
  [[nodiscard]] Result<std::optional<Injection>> injectionFor(std::string_view ns, const PodView& pod, const json::object* annotations,
                                                              std::int64_t jitter = 0) const;
  // Whether pods of that account are meant, or would be with the right labels.
  [[nodiscard]] bool mayMean(std::string_view ns, std::string_view serviceAccount, const json::object* annotations) const;
  [[nodiscard]] const std::string& name() const { return name_; }

 private:
  [[nodiscard]] bool matches(std::string_view ns, const PodView& pod, const json::object* annotations) const;

  std::string name_;
  json::object spec_;  // with the profile's parts filled in
  std::string accountAnnotation_;
  std::optional<api::LabelSelector> podSelector_;
  std::set<std::string, std::less<>> accounts_;
};

}  // namespace podpass::irsa
