#include "api/iam_names.h"

#include <algorithm>

#include "base/text.h"

namespace podpass::api {

std::string roleArn(std::string_view account, const json::object& role) {
  const std::string_view path = textAt(role, {"spec", "path"});
  return "arn:aws:iam::" + std::string(account) + ":role" + (path.empty() ? "/" : std::string(path)) +
         std::string(textAt(role, {"metadata", "name"}));
}

std::string_view withoutScheme(std::string_view url) {
  const std::size_t scheme = url.find("://");
  return scheme == std::string_view::npos ? url : url.substr(scheme + 3);
}

std::pair<std::string_view, std::string_view> providerAge(const json::object& provider) {
  return {textAt(provider, {"metadata", "creationTimestamp"}), textAt(provider, {"metadata", "name"})};
}

std::string providerArn(std::string_view account, std::string_view url) {
  return "arn:aws:iam::" + std::string(account) + ":oidc-provider/" + std::string(withoutScheme(url));
}

std::string roleId(const json::object& role) { return awsIdentifier("AROA", sha256(textAt(role, {"metadata", "uid"})), 17); }

std::string awsIdentifier(std::string_view prefix, std::string_view bytes, std::size_t length) {
  constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  std::string text(prefix);
  for (std::size_t i = 0; i < length; ++i) {
    const std::size_t bit = i * 5;
    const unsigned high = static_cast<unsigned char>(bytes[bit / 8]),
                   low = bit / 8 + 1 < bytes.size() ? static_cast<unsigned char>(bytes[bit / 8 + 1]) : 0u;
    text += kAlphabet[(((high << 8) | low) >> (11 - bit % 8)) & 31u];
  }
  return text;
}

std::string lowered(std::string_view text) {
  std::string result(text);
  for (char& c : result)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return result;
}

bool isAccount(std::string_view text) {
  return text.size() == 12 && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

bool CaselessLess::operator()(std::string_view a, std::string_view b) const {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end(), [&](char x, char y) { return lower(x) < lower(y); });
}

}  // namespace podpass::api
