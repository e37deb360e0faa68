#include "token/issued_token.h"

#include <algorithm>
#include <cstring>

#include "base/text.h"

namespace podpass::token {
namespace {

constexpr char kPackedUid = '\x01';  // 16 bytes follow; no uid as text begins so
constexpr std::string_view kBoundKinds[] = {"", "Pod", "Secret", "Node"};

template <class Number>
void put(std::string& out, Number number) {
  char bytes[sizeof number];
  std::memcpy(bytes, &number, sizeof number);  // the file stays on the machine that wrote it
  out.append(bytes, sizeof number);
}

// Not within a character: what is kept is shown as JSON.
std::string_view cut(std::string_view text) {
  constexpr std::size_t kMost = kMostPart / 4;
  if (text.size() <= kMost) return text;
  std::size_t end = kMost;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return text.substr(0, end);
}

void putText(std::string& out, std::string_view text) {
  text = cut(text);
  put(out, static_cast<std::uint16_t>(text.size()));
  out += text;
}

void putUid(std::string& out, std::string_view uid) {
  const std::optional<Uuid> packed = parseUuid(uid);
  if (!packed) return putText(out, uid);
  put(out, static_cast<std::uint16_t>(1 + packed->size()));
  out += kPackedUid;
  out.append(reinterpret_cast<const char*>(packed->data()), packed->size());
}

// A part: its length stands before it, and is known when it ends.
template <class Write>
void putPart(std::string& out, Write write) {
  const std::size_t at = out.size();
  put(out, std::uint16_t{0});
  write();
  const auto length = static_cast<std::uint16_t>(out.size() - at - sizeof(std::uint16_t));
  std::memcpy(out.data() + at, &length, sizeof length);
}

void putAudiences(std::string& out, const std::vector<std::string>& audiences) {
  const std::size_t begin = out.size();
  for (std::size_t i = 0; i < audiences.size(); ++i) {
    if (out.size() - begin + audiences[i].size() + 64 > kMostPart && i > 0)
      return putText(out, "(and " + std::to_string(audiences.size() - i) + " more)");
    putText(out, audiences[i]);
  }
}

class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}
  template <class Number>
  Number number() {
    Number read{};
    const std::string_view bytes = take(sizeof read);
    if (good_) std::memcpy(&read, bytes.data(), sizeof read);
    return read;
  }
  std::string_view text() { return take(number<std::uint16_t>()); }
  std::string_view take(std::size_t count) {
    good_ = good_ && count <= rest_.size();
    if (!good_) return {};
    const std::string_view taken = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return taken;
  }
  [[nodiscard]] bool more() const { return good_ && !rest_.empty(); }
  [[nodiscard]] bool atEnd() const { return good_ && rest_.empty(); }

 private:
  std::string_view rest_;
  bool good_ = true;
};

void putHead(const Uuid& jti, std::int64_t issuedAt, std::int64_t expires, std::int64_t lastUsed, std::string& out) {
  out.append(reinterpret_cast<const char*>(jti.data()), jti.size());
  for (const std::int64_t number : {issuedAt, expires, lastUsed}) put(out, number);
}

}  // namespace

std::optional<Uuid> parseUuid(std::string_view text) {
  if (text.size() != 36) return std::nullopt;
  Uuid uuid{};
  std::size_t digits = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (i == 8 || i == 13 || i == 18 || i == 23) {
      if (c != '-') return std::nullopt;
      continue;
    }
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0) return std::nullopt;
    uuid[digits / 2] = static_cast<std::uint8_t>(uuid[digits / 2] << 4 | digit);
    ++digits;
  }
  return uuid;
}

std::string textOf(const Uuid& uuid) {
  std::string text = hexLower({reinterpret_cast<const char*>(uuid.data()), uuid.size()});
  for (const std::size_t at : {8u, 13u, 18u, 23u}) text.insert(at, 1, '-');
  return text;
}

bool encodeRecord(const BoundClaims& claims, const Signing& signing, std::string& out) {
  const std::optional<Uuid> jti = parseUuid(claims.jti);
  if (!jti) return false;
  putHead(*jti, claims.issuedAt, claims.expires, 0, out);
  const auto ref = [&out](const ObjectRef& object) {
    putText(out, object.name);
    putUid(out, object.uid);
  };
  putPart(out, [&] {
    putText(out, claims.ns);
    ref(claims.serviceAccount);
  });
  putPart(out, [&] { putAudiences(out, claims.audiences); });
  putPart(out, [&] {
    const ObjectRef* bound[] = {&claims.pod, &claims.secret, &claims.node};  // a pod's node is no bound of its own
    for (std::size_t i = 0; i < std::size(bound); ++i) {
      if (bound[i]->empty()) continue;
      out += static_cast<char>(i + 1);
      return ref(*bound[i]);
    }
  });
  putPart(out, [&] {
    if (!claims.node.empty()) ref(claims.node);
  });
  putPart(out, [&] { out += cut(signing.requester); });
  putPart(out, [&] {
    putText(out, signing.issuer);
    putText(out, signing.kid);
  });
  return true;
}

void encodeRecord(const TokenRecord& record, std::string& out) {
  putHead(record.jti, record.issuedAt, record.expires, record.lastUsed, out);
  for (const std::string_view part : record.parts) putPart(out, [&] { out += part; });
}

std::optional<TokenRecord> decodeRecord(std::string_view bytes) {
  Reader reader(bytes);
  TokenRecord record;
  const std::string_view jti = reader.take(record.jti.size());
  std::copy(jti.begin(), jti.end(), record.jti.begin());
  record.issuedAt = reader.number<std::int64_t>();
  record.expires = reader.number<std::int64_t>();
  record.lastUsed = reader.number<std::int64_t>();
  for (std::string_view& part : record.parts) part = reader.text();
  const bool fits = std::all_of(record.parts.begin(), record.parts.end(), [](std::string_view part) { return part.size() <= kMostPart; });
  return reader.atEnd() && fits ? std::optional(record) : std::nullopt;
}

std::string IssuedToken::Ref::uid() const {
  Uuid uuid{};
  if (packedUid.size() != 1 + uuid.size() || packedUid[0] != kPackedUid) return std::string(packedUid);
  std::copy(packedUid.begin() + 1, packedUid.end(), uuid.begin());
  return textOf(uuid);
}

std::optional<IssuedToken> readRecord(const TokenRecord& record) {
  IssuedToken token;
  token.jti = record.jti;
  token.issuedAt = record.issuedAt;
  token.expires = record.expires;
  token.lastUsed = record.lastUsed;
  Reader account(record.part(Part::Account)), audiences(record.part(Part::Audiences)), bound(record.part(Part::Bound)),
      node(record.part(Part::Node)), signer(record.part(Part::Signer));
  token.ns = account.text();
  token.account.name = account.text();
  token.account.packedUid = account.text();
  while (audiences.more()) token.audiences.push_back(audiences.text());
  if (bound.more()) {
    const auto kind = static_cast<unsigned char>(bound.take(1).front());
    if (kind == 0 || kind >= std::size(kBoundKinds)) return std::nullopt;
    token.boundKind = kBoundKinds[kind];
    token.bound.name = bound.text();
    token.bound.packedUid = bound.text();
  }
  if (node.more()) {
    token.node.name = node.text();
    token.node.packedUid = node.text();
  }
  token.issuer = signer.text();
  token.kid = signer.text();
  token.requester = record.part(Part::Requester);
  const Reader* all[] = {&account, &audiences, &bound, &node, &signer};
  const bool whole = std::all_of(std::begin(all), std::end(all), [](const Reader* each) { return each->atEnd(); });
  return whole ? std::optional(std::move(token)) : std::nullopt;
}

}  // namespace podpass::token
