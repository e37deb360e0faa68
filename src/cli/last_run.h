#pragma once

#include <filesystem>
#include <string>

#include "base/document.h"

// What endpoints.json tells of the last run on a data directory. Where the user leaves the port open, a run takes the last one's when it is
// still free: it stands in the issuer of living tokens, in copies of the kubeconfig, and in the environment of pods.
namespace podpass::cli {

class LastRun {
 public:
  // A directory without a readable endpoints.json has had no last run.
  explicit LastRun(const std::filesystem::path& directory);

  // The URL under `name`, such as "issuer"; "" when there was none.
  [[nodiscard]] std::string url(const std::string& name) const;
  // The port in that URL; 0, which picks a free one, when there was none.
  [[nodiscard]] unsigned short port(const std::string& name) const;

 private:
  json::object endpoints_;
};

}  // namespace podpass::cli
