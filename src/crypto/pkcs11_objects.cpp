#include "crypto/pkcs11_objects.h"

#include <array>

namespace podpass::crypto {
namespace {

using namespace std::string_view_literals;

constexpr CK_ULONG kMostObjects = 64;              // of one name
constexpr CK_ULONG kLargestAttribute = 64u << 10;  // bytes

struct Curve {
  KeyType type;
  std::string_view jose, parameters;  // parameters: the curve's object identifier in DER
  std::size_t width;
};
constexpr std::array<Curve, 3> kCurves{{{KeyType::P256, "P-256", "\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07"sv, 32},
                                        {KeyType::P384, "P-384", "\x06\x05\x2b\x81\x04\x00\x22"sv, 48},
                                        {KeyType::P521, "P-521", "\x06\x05\x2b\x81\x04\x00\x23"sv, 66}}};

CK_ULONG numberIn(const std::string& value) {
  CK_ULONG number = ~CK_ULONG{0};
  if (value.size() == sizeof number) std::copy(value.begin(), value.end(), reinterpret_cast<char*>(&number));
  return number;
}

std::string_view withoutLeadingZeros(std::string_view number) {
  number.remove_prefix(std::min(number.find_first_not_of('\0'), number.size()));
  return number;
}

// CKA_EC_POINT is an uncompressed point in a DER OCTET STRING; some modules leave the wrapping out.
Result<KeyPair> ecKey(const std::string& parameters, std::string_view point) {
  for (const Curve& curve : kCurves) {
    if (parameters != curve.parameters) continue;
    const std::size_t size = 1 + 2 * curve.width;
    if (point.size() > size) point.remove_prefix(point.size() - size);
    if (point.size() != size || point.front() != '\x04') return Error{Reason::BadRequest, "its public point is not an uncompressed one"};
    return KeyPair::fromEcPoint(curve.jose, point.substr(1, curve.width), point.substr(1 + curve.width));
  }
  return Error{Reason::BadRequest, "it is an EC key on a curve that podpass does not sign with", "make one on P-256, P-384 or P-521"};
}

// The public object beside a private key: the one with its id, or with its label when it has no id. 0: there is none.
CK_RV publicObject(const Pkcs11Session& session, CK_ULONG keyType, const Pkcs11Object& name, CK_OBJECT_HANDLE& object) {
  Pkcs11Attributes like;
  like.number(CKA_CLASS, CKO_PUBLIC_KEY).number(CKA_KEY_TYPE, keyType);
  like.name(name.id.empty() ? Pkcs11Object{.label = name.label} : Pkcs11Object{.id = name.id});
  std::vector<CK_OBJECT_HANDLE> found;
  const CK_RV result = findObjects(session, std::move(like), found);
  object = found.empty() ? 0 : found.front();
  return result;
}

CK_RV readPublicHalf(const Pkcs11Session& session, FoundKeyPair& pair) {
  std::string type, first, second;
  CK_RV result = readAttribute(session, pair.privateHalf, CKA_KEY_TYPE, type);
  if (result != CKR_OK) return result;
  const CK_ULONG keyType = numberIn(type);
  if (keyType != CKK_RSA && keyType != CKK_EC) {
    pair.publicHalf = Error{Reason::BadRequest, "it is neither an RSA nor an EC key", "make one of RS256 or ES256"};
    return CKR_OK;
  }
  CK_OBJECT_HANDLE object = 0;
  if (result = publicObject(session, keyType, pair.name, object); result != CKR_OK) return result;
  if (object == 0 && keyType == CKK_RSA) object = pair.privateHalf;  // which may say its modulus and exponent, too
  if (object != 0) {
    if (result = readAttribute(session, object, keyType == CKK_RSA ? CKA_MODULUS : CKA_EC_PARAMS, first); result != CKR_OK) return result;
    if (result = readAttribute(session, object, keyType == CKK_RSA ? CKA_PUBLIC_EXPONENT : CKA_EC_POINT, second); result != CKR_OK)
      return result;
  }
  if (first.empty() || second.empty())
    pair.publicHalf = Error{Reason::BadRequest, "its public half is not in the token",
                            "write it there under the same id: pkcs11-tool --write-object pub.der --type pubkey --id ID"};
  else if (keyType == CKK_RSA)
    pair.publicHalf = KeyPair::fromRsaComponents(withoutLeadingZeros(first), withoutLeadingZeros(second));
  else
    pair.publicHalf = ecKey(first, second);
  return CKR_OK;
}

}  // namespace

Pkcs11Attributes& Pkcs11Attributes::text(CK_ATTRIBUTE_TYPE type, std::string_view value) {
  std::string& kept = values_.emplace_back(value);
  all_.push_back({type, kept.data(), kept.size()});
  return *this;
}

Pkcs11Attributes& Pkcs11Attributes::number(CK_ATTRIBUTE_TYPE type, CK_ULONG value) {
  return text(type, std::string_view(reinterpret_cast<const char*>(&value), sizeof value));
}

Pkcs11Attributes& Pkcs11Attributes::flag(CK_ATTRIBUTE_TYPE type, bool value) { return text(type, value ? "\x01"sv : "\x00"sv); }

Pkcs11Attributes& Pkcs11Attributes::name(const Pkcs11Object& name) {
  if (!name.label.empty()) text(CKA_LABEL, name.label);
  if (!name.id.empty()) text(CKA_ID, name.id);
  return *this;
}

CK_RV findObjects(const Pkcs11Session& session, Pkcs11Attributes like, std::vector<CK_OBJECT_HANDLE>& found) {
  CK_RV result = session.call.C_FindObjectsInit(session.handle, like.data(), like.size());
  if (result != CKR_OK) return result;
  found.resize(kMostObjects);
  CK_ULONG count = 0;
  result = session.call.C_FindObjects(session.handle, found.data(), kMostObjects, &count);
  found.resize(result == CKR_OK ? std::min(count, kMostObjects) : 0);
  const CK_RV ended = session.call.C_FindObjectsFinal(session.handle);
  return result == CKR_OK ? ended : result;
}

CK_RV readAttribute(const Pkcs11Session& session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, std::string& value) {
  value.clear();
  CK_ATTRIBUTE attribute{type, nullptr, 0};
  CK_RV result = session.call.C_GetAttributeValue(session.handle, object, &attribute, 1);
  const bool hidden = result == CKR_ATTRIBUTE_SENSITIVE || result == CKR_ATTRIBUTE_TYPE_INVALID;
  if (hidden || (result == CKR_OK && (attribute.ulValueLen == 0 || attribute.ulValueLen > kLargestAttribute))) return CKR_OK;
  if (result != CKR_OK) return result;
  value.resize(attribute.ulValueLen);
  attribute.pValue = value.data();
  result = session.call.C_GetAttributeValue(session.handle, object, &attribute, 1);
  value.resize(result == CKR_OK ? std::min<std::size_t>(attribute.ulValueLen, value.size()) : 0);
  return result;
}

CK_RV findKeyPairs(const Pkcs11Session& session, const Pkcs11Object& name, std::vector<FoundKeyPair>& found) {
  found.clear();
  Pkcs11Attributes like;
  like.number(CKA_CLASS, CKO_PRIVATE_KEY).name(name);
  std::vector<CK_OBJECT_HANDLE> handles;
  CK_RV result = findObjects(session, std::move(like), handles);
  for (const CK_OBJECT_HANDLE handle : handles) {
    if (result != CKR_OK) return result;
    FoundKeyPair& pair = found.emplace_back();
    pair.privateHalf = handle;
    if (result = readAttribute(session, handle, CKA_LABEL, pair.name.label); result != CKR_OK) return result;
    if (result = readAttribute(session, handle, CKA_ID, pair.name.id); result != CKR_OK) return result;
    result = readPublicHalf(session, pair);
  }
  return result;
}

std::string_view curveParameters(KeyType type) {
  for (const Curve& curve : kCurves)
    if (curve.type == type) return curve.parameters;
  return {};
}

}  // namespace podpass::crypto
