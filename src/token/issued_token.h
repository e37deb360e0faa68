#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "token/issuer.h"

// What the inventory keeps of a token, as bytes: one form for its queue, its memory and its file. Never the token, nor a part of it.
namespace podpass::token {

using Uuid = std::array<std::uint8_t, 16>;
std::optional<Uuid> parseUuid(std::string_view text);  // as randomUuid writes it
std::string textOf(const Uuid& uuid);

// Of these, tokens have many in common: each different one is held once.
enum class Part { Account, Audiences, Bound, Node, Requester, Signer };
constexpr std::size_t kParts = 6;
constexpr std::size_t kMostPart = 4096;  // bytes; audiences beyond it are left out and counted, a longer name is cut

struct TokenRecord {
  Uuid jti{};
  std::int64_t issuedAt = 0, expires = 0;  // seconds since the epoch
  std::int64_t lastUsed = 0;               // seconds since the epoch, to five minutes; 0: not seen in use
  std::array<std::string_view, kParts> parts{};
  [[nodiscard]] std::string_view part(Part which) const { return parts[static_cast<std::size_t>(which)]; }
};

struct Signing {
  std::string_view issuer, kid, requester;  // the claim iss, the key's id, and the user who asked for the token
};

// Appends the record of a token to `out`. False, and nothing is appended: its jti is no UUID.
bool encodeRecord(const BoundClaims& claims, const Signing& signing, std::string& out);
void encodeRecord(const TokenRecord& record, std::string& out);
// nullopt: not such a record. The parts point into `bytes`.
std::optional<TokenRecord> decodeRecord(std::string_view bytes);

// The same for readers. Texts live as long as the record's parts.
struct IssuedToken {
  Uuid jti{};
  std::int64_t issuedAt = 0, expires = 0, lastUsed = 0;
  struct Ref {
    std::string_view name, packedUid;
    [[nodiscard]] std::string uid() const;
  };
  std::string_view ns, boundKind;  // Pod, Secret, Node; "": bound to nothing but its service account
  Ref account, bound, node;        // node: where the pod ran, or what the token is bound to
  std::vector<std::string_view> audiences;
  std::string_view issuer, kid, requester;
};
// nullopt: the parts are not what encodeRecord makes.
std::optional<IssuedToken> readRecord(const TokenRecord& record);

}  // namespace podpass::token
