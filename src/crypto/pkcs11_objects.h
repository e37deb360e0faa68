#pragma once

#include <deque>
#include <string>
#include <vector>

#include "crypto/pkcs11.h"
#include "crypto/pkcs11_session.h"

// Inside crypto/ only: a token's objects, found and read. Every function returns the module's own result, for Pkcs11Sessions::run to judge.
namespace podpass::crypto {

// Attributes as the module wants them; it owns their values.
class Pkcs11Attributes {
 public:
  Pkcs11Attributes& text(CK_ATTRIBUTE_TYPE type, std::string_view value);
  Pkcs11Attributes& number(CK_ATTRIBUTE_TYPE type, CK_ULONG value);
  Pkcs11Attributes& flag(CK_ATTRIBUTE_TYPE type, bool value);
  Pkcs11Attributes& name(const Pkcs11Object& name);  // those that it has
  CK_ATTRIBUTE* data() { return all_.data(); }
  [[nodiscard]] CK_ULONG size() const { return all_.size(); }

 private:
  std::deque<std::string> values_;
  std::vector<CK_ATTRIBUTE> all_;
};

CK_RV findObjects(const Pkcs11Session& session, Pkcs11Attributes like, std::vector<CK_OBJECT_HANDLE>& found);

// "" when the object does not have the attribute, or does not show it.
CK_RV readAttribute(const Pkcs11Session& session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, std::string& value);

// A private key and what its public half is, or why that can't be used.
struct FoundKeyPair {
  CK_OBJECT_HANDLE privateHalf = 0;
  Pkcs11Object name;
  Result<KeyPair> publicHalf{};
};
CK_RV findKeyPairs(const Pkcs11Session& session, const Pkcs11Object& name, std::vector<FoundKeyPair>& found);

// DER of the named curve, for CKA_EC_PARAMS; "" when the type is not on one.
std::string_view curveParameters(KeyType type);

}  // namespace podpass::crypto
