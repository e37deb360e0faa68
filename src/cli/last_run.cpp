#include "cli/last_run.h"

#include <charconv>

#include "base/file.h"
#include "http/url.h"

namespace podpass::cli {
namespace {

constexpr std::size_t kMost = 64u << 10;

}  // namespace

LastRun::LastRun(const std::filesystem::path& directory) {
  const Result<std::string> text = readFile(directory / "endpoints.json", kMost);
  if (!text) return;
  json::error_code failed;
  json::value endpoints = json::parse(*text, failed);
  if (!failed && endpoints.is_object()) endpoints_ = std::move(endpoints.get_object());
}

std::string LastRun::url(const std::string& name) const { return std::string(textAt(endpoints_, {name})); }

unsigned short LastRun::port(const std::string& name) const {
  const Result<http::Url> served = http::parseUrl(url(name));
  unsigned short port = 0;
  if (served) std::from_chars(served->port.data(), served->port.data() + served->port.size(), port);
  return port;
}

}  // namespace podpass::cli
