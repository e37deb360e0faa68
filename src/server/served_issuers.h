#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace podpass::server {

// Where the discovery documents of the issuers are: below each one's own path (OpenID Connect Discovery §4), and at the root, where
// Kubernetes serves the one that signs. Immutable.
class ServedIssuers {
 public:
  explicit ServedIssuers(const std::vector<std::string>& urls);  // the first signs; at least one
  [[nodiscard]] const std::string& signing() const { return all_.front().url; }
  [[nodiscard]] bool describes(std::string_view path) const;
  // Of several at one path the one whose host is `host` (the header), else at the root the one that signs, else the first.
  // Only for paths that `describes` holds for.
  [[nodiscard]] const std::string& at(std::string_view path, std::string_view host) const;

 private:
  struct Served {
    std::string url, host, path;  // host: with a port that is not the scheme's, in lower case
  };
  std::vector<Served> all_;
};

}  // namespace podpass::server
