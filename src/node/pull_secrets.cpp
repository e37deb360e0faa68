#include "node/pull_secrets.h"

#include <algorithm>

#include "base/document.h"
#include "base/text.h"

namespace podpass::node {

namespace {

struct Place {
  std::string host, path;
};

// Of "https://index.docker.io/v1/", "*.example.org/team", "docker.io/library/nginx:1". A registry's API version is no path.
Place placeOf(std::string text) {
  if (const std::size_t scheme = text.find("://"); scheme != std::string::npos) text.erase(0, scheme + 3);
  const std::size_t slash = text.find('/');
  Place place{text.substr(0, slash), slash == std::string::npos ? "" : text.substr(slash + 1)};
  while (place.path.ends_with('/')) place.path.pop_back();
  if (place.path == "v1" || place.path == "v2") place.path.clear();
  if (place.host == "index.docker.io" || place.host == "registry-1.docker.io") place.host = "docker.io";
  return place;
}

// A star stands for one part between dots.
bool hostMatches(std::string_view pattern, std::string_view host) {
  for (;;) {
    const std::string_view wanted = pattern.substr(0, pattern.find('.')), part = host.substr(0, host.find('.'));
    if (wanted != "*" && wanted != part) return false;
    if (wanted.size() == pattern.size() || part.size() == host.size()) return wanted.size() == pattern.size() && part.size() == host.size();
    pattern.remove_prefix(wanted.size() + 1);
    host.remove_prefix(part.size() + 1);
  }
}

bool covers(const Place& key, const Place& image) {
  if (!hostMatches(key.host, image.host)) return false;
  if (key.path.empty()) return true;
  return image.path.starts_with(key.path) &&
         (image.path.size() == key.path.size() || std::string_view("/:@").find(image.path[key.path.size()]) != std::string_view::npos);
}

Registry registryOf(const json::object& entry, const std::string& host) {
  Registry registry;
  registry.username = textAt(entry, {"username"});
  registry.password = textAt(entry, {"password"});
  registry.server = host;
  const Result<std::string> pair = base64Decode(textAt(entry, {"auth"}));
  if (const std::size_t colon = pair ? pair->find(':') : std::string::npos; colon != std::string::npos) {
    registry.username = pair->substr(0, colon);
    registry.password = pair->substr(colon + 1);
  }
  return registry;
}

}  // namespace

std::vector<Registry> credentialsFor(const std::vector<Secret>& configs, const std::string& reference) {
  const Place image = placeOf(reference);
  std::vector<std::pair<std::size_t, Registry>> found;
  for (const Secret& config : configs) {
    boost::system::error_code failed;
    const json::value parsed = json::parse(config.reveal(), failed);
    if (failed || !parsed.is_object()) continue;
    const json::object* wrapped = objectAt(parsed.get_object(), {"auths"});
    for (const auto& [key, entry] : wrapped == nullptr ? parsed.get_object() : *wrapped) {
      const Place place = placeOf(std::string(key));
      if (entry.is_object() && covers(place, image)) found.emplace_back(key.size(), registryOf(entry.get_object(), image.host));
    }
  }
  std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  std::vector<Registry> registries;
  for (auto& [length, registry] : found) registries.push_back(std::move(registry));
  return registries;
}

}  // namespace podpass::node
