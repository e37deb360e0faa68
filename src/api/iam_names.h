#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "base/document.h"

// The names that AWS gives to roles, providers and sessions (spec irsa.md §2.3, §3.1).
namespace podpass::api {

// arn:aws:iam::ACCOUNT:rolePATHNAME of an iam.podpass.dev Role.
std::string roleArn(std::string_view account, const json::object& role);
// arn:aws:iam::ACCOUNT:oidc-provider/HOST[/PATH]: the URL without its scheme.
std::string providerArn(std::string_view account, std::string_view url);
// The URL without its scheme: also the prefix of the provider's condition keys.
std::string_view withoutScheme(std::string_view url);
// Which of two OIDCProviders with one URL counts: the older one, so that nobody displaces it by a name that sorts earlier. The objects'
// places in an order.
std::pair<std::string_view, std::string_view> providerAge(const json::object& provider);
// AROA and 17 characters, the same for one object for ever.
std::string roleId(const json::object& role);
// `prefix` and `length` characters of upper-case base32 made of the bytes, 5 bits a character; `bytes` has enough of them.
std::string awsIdentifier(std::string_view prefix, std::string_view bytes, std::size_t length);
std::string lowered(std::string_view text);  // ASCII letters only, as AWS compares names of keys, actions and headers
// The order of such names: what differs in case only is the same.
struct CaselessLess {
  using is_transparent = void;
  bool operator()(std::string_view a, std::string_view b) const;
};
bool isAccount(std::string_view text);  // 12 digits

}  // namespace podpass::api
