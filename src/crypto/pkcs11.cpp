#include "crypto/pkcs11.h"

#include "base/text.h"
#include "crypto/pkcs11_objects.h"

namespace podpass::crypto {
namespace {

using namespace std::string_view_literals;

constexpr std::size_t kLargestSignature = 1024;  // bytes: RSA of 8192 bits
constexpr std::size_t kNonce = 12, kTag = 16;    // of AES-GCM
// RFC 8017 §9.2, note 1: what stands before a SHA-256 digest in PKCS#1 v1.5.
constexpr std::string_view kSha256Info = "\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20"sv;

unsigned char* bytesOf(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }
unsigned char* bytesOf(std::string_view text) {  // the standard's functions take what they only read as not constant
  return reinterpret_cast<unsigned char*>(const_cast<char*>(text.data()));
}

std::string nameOf(const Pkcs11Uri& token, const Pkcs11Object& object) {
  return pkcs11Path({.token = token.token, .object = object.label, .id = object.id});
}

// The one pair that is meant.
Result<FoundKeyPair> choose(std::vector<FoundKeyPair> found, std::string_view publicDer, const std::string& what) {
  if (!publicDer.empty())
    std::erase_if(found, [&](const FoundKeyPair& each) { return !each.publicHalf || each.publicHalf->publicDer() != publicDer; });
  if (found.empty())
    return Error{Reason::NotFound,
                 "the PKCS#11 token has no private key " + what + (publicDer.empty() ? "" : " with the expected public half"),
                 "see: pkcs11-tool --module MODULE --login --list-objects"};
  if (found.size() > 1)
    return Error{Reason::BadRequest, std::to_string(found.size()) + " private keys fit " + what, "name one by id= or object= in the URI"};
  const Result<KeyPair>& half = found.front().publicHalf;
  if (!half)
    return Error{half.error().reason, "the private key " + what + " cannot be used: " + half.error().sentence,
                 half.error().fix.empty() ? "make an RSA key of 2048 bits or more, or one on P-256" : half.error().fix};
  return std::move(found.front());
}

// A private key in the token. Its handle is found again after a reconnection.
class PrivateKey {
 public:
  PrivateKey(std::shared_ptr<Pkcs11Sessions> sessions, FoundKeyPair found, std::uint64_t connection)
      : sessions_(std::move(sessions)),
        name_(std::move(found.name)),
        publicDer_(found.publicHalf->publicDer()),
        rsa_(found.publicHalf->algorithm() == "RS256"),
        handle_(found.privateHalf),
        connection_(connection) {}

  Result<std::string> sign(std::string_view digest) {
    const std::string input = (rsa_ ? std::string(kSha256Info) : std::string()) + std::string(digest);
    std::string signature;
    Result<void> found;
    const auto work = [&](const Pkcs11Session& session) {
      CK_OBJECT_HANDLE key = 0;
      if (const CK_RV result = locate(session, key, found); result != CKR_OK || !found) return result;
      CK_MECHANISM mechanism{rsa_ ? CKM_RSA_PKCS : CKM_ECDSA, nullptr, 0};
      CK_RV result = session.call.C_SignInit(session.handle, &mechanism, key);
      if (result != CKR_OK) return result;
      signature.resize(kLargestSignature);
      CK_ULONG size = signature.size();
      result = session.call.C_Sign(session.handle, bytesOf(std::string_view(input)), input.size(), bytesOf(signature), &size);
      signature.resize(result == CKR_OK ? std::min<std::size_t>(size, signature.size()) : 0);
      return result;
    };
    if (Result<void> ran = sessions_->run("sign with " + nameOf(sessions_->uri(), name_), work); !ran) return ran.error();
    if (!found) return found.error();
    return signature;
  }

 private:
  CK_RV locate(const Pkcs11Session& session, CK_OBJECT_HANDLE& key, Result<void>& found) {
    {
      const std::lock_guard lock(mutex_);
      key = handle_;
      if (connection_ == session.connection) return CKR_OK;
    }
    std::vector<FoundKeyPair> all;
    if (const CK_RV result = findKeyPairs(session, name_, all); result != CKR_OK) return result;
    const Result<FoundKeyPair> chosen = choose(std::move(all), publicDer_, nameOf(sessions_->uri(), name_));
    found = chosen ? Result<void>() : Result<void>(Error{Reason::Unavailable, chosen.error().sentence, chosen.error().fix});
    if (!chosen) return CKR_OK;
    const std::lock_guard lock(mutex_);
    key = handle_ = chosen->privateHalf;
    connection_ = session.connection;
    return CKR_OK;
  }

  const std::shared_ptr<Pkcs11Sessions> sessions_;
  const Pkcs11Object name_;
  const std::string publicDer_;
  const bool rsa_;
  std::mutex mutex_;
  CK_OBJECT_HANDLE handle_;
  std::uint64_t connection_;
};

}  // namespace

Result<std::shared_ptr<Pkcs11Token>> Pkcs11Token::open(const Pkcs11Uri& uri) {
  Result<std::shared_ptr<Pkcs11Sessions>> sessions = Pkcs11Sessions::open(uri);
  if (!sessions) return sessions.error();
  return std::shared_ptr<Pkcs11Token>(new Pkcs11Token(*std::move(sessions)));
}

const Pkcs11Uri& Pkcs11Token::uri() const { return sessions_->uri(); }

Result<KeyPair> Pkcs11Token::keyPair(const Pkcs11Object& name, std::string_view publicDer) {
  std::vector<FoundKeyPair> all;
  std::uint64_t connection = 0;
  const auto work = [&](const Pkcs11Session& session) {
    connection = session.connection;
    return findKeyPairs(session, name, all);
  };
  if (Result<void> ran = sessions_->run("list its keys", work); !ran) return ran.error();
  Result<FoundKeyPair> chosen = choose(std::move(all), publicDer, nameOf(uri(), name));
  if (!chosen) return chosen.error();
  const KeyPair half = *chosen->publicHalf;
  const std::string heldBy = nameOf(uri(), chosen->name);
  const auto key = std::make_shared<PrivateKey>(sessions_, *std::move(chosen), connection);
  KeyPair pair = KeyPair::heldElsewhere(half, heldBy, [key](std::string_view digest) { return key->sign(digest); });
  const Result<std::string> proof = pair.sign("podpass");  // or a public half that is another key's would be published
  if (!proof) return proof.error();
  return pair;
}

Result<KeyPair> Pkcs11Token::generate(KeyType type, const Pkcs11Object& name) {
  const bool rsa = type == KeyType::Rsa2048 || type == KeyType::Rsa3072 || type == KeyType::Rsa4096;
  if (!rsa && curveParameters(type).empty())
    return Error{Reason::BadRequest, "keys in a PKCS#11 token are RSA or EC, not " + std::string(crypto::nameOf(type)),
                 "choose RS256 or ES256"};
  const auto work = [&](const Pkcs11Session& session) {
    Pkcs11Attributes open, hidden;
    open.flag(CKA_TOKEN, true).flag(CKA_VERIFY, true).name(name);
    hidden.flag(CKA_TOKEN, true)
        .flag(CKA_PRIVATE, true)
        .flag(CKA_SENSITIVE, true)
        .flag(CKA_EXTRACTABLE, false)
        .flag(CKA_SIGN, true)
        .name(name);
    if (rsa)
      open.number(CKA_MODULUS_BITS, type == KeyType::Rsa2048   ? 2048
                                    : type == KeyType::Rsa3072 ? 3072
                                                               : 4096)
          .text(CKA_PUBLIC_EXPONENT, "\x01\x00\x01"sv);
    else
      open.text(CKA_EC_PARAMS, curveParameters(type));
    CK_MECHANISM mechanism{rsa ? CKM_RSA_PKCS_KEY_PAIR_GEN : CKM_EC_KEY_PAIR_GEN, nullptr, 0};
    CK_OBJECT_HANDLE publicHalf = 0, privateHalf = 0;
    return session.call.C_GenerateKeyPair(session.handle, &mechanism, open.data(), open.size(), hidden.data(), hidden.size(), &publicHalf,
                                          &privateHalf);
  };
  if (Result<void> ran = sessions_->run("make a key pair", work, Pkcs11Sessions::Mode::Write); !ran) return ran.error();
  return keyPair(name);
}

Result<void> Pkcs11Token::destroy(const Pkcs11Object& name) {
  if (name.label.empty() || name.id.empty()) return Error{Reason::BadRequest, "no key is destroyed without its label and its id"};
  const auto work = [&](const Pkcs11Session& session) {
    for (const CK_OBJECT_CLASS half : {CKO_PRIVATE_KEY, CKO_PUBLIC_KEY}) {
      std::vector<CK_OBJECT_HANDLE> found;
      Pkcs11Attributes like;
      like.number(CKA_CLASS, half).name(name);
      if (const CK_RV result = findObjects(session, std::move(like), found); result != CKR_OK) return result;
      for (const CK_OBJECT_HANDLE each : found)
        if (const CK_RV result = session.call.C_DestroyObject(session.handle, each); result != CKR_OK) return result;
    }
    return CK_RV{CKR_OK};
  };
  return sessions_->run("destroy a key pair", work, Pkcs11Sessions::Mode::Write);
}

Result<std::string> Pkcs11Token::gcm(bool seals, std::string nonce, std::string_view text, std::string_view place) {
  std::string out;
  std::size_t keys = 0;
  const Pkcs11Object name{.label = uri().object, .id = uri().id};
  const auto work = [&](const Pkcs11Session& session) {
    Pkcs11Attributes like;
    like.number(CKA_CLASS, CKO_SECRET_KEY).number(CKA_KEY_TYPE, CKK_AES).name(name);
    std::vector<CK_OBJECT_HANDLE> found;
    CK_RV result = findObjects(session, std::move(like), found);
    keys = found.size();
    if (result != CKR_OK || keys != 1) return result;
    CK_GCM_PARAMS parameters{bytesOf(nonce), nonce.size(), nonce.size() * 8, bytesOf(place), place.size(), kTag * 8};
    CK_MECHANISM mechanism{CKM_AES_GCM, &parameters, sizeof parameters};
    const auto init = seals ? session.call.C_EncryptInit : session.call.C_DecryptInit;
    const auto process = seals ? session.call.C_Encrypt : session.call.C_Decrypt;
    result = init(session.handle, &mechanism, found.front());
    if (result != CKR_OK) return result;
    out.resize(text.size() + 2 * kTag);
    CK_ULONG size = out.size();
    result = process(session.handle, bytesOf(text), text.size(), bytesOf(out), &size);
    out.resize(result == CKR_OK ? std::min<std::size_t>(size, out.size()) : 0);
    // SoftHSM's answer to a tag that does not fit; elsewhere the same code is a token that is gone
    return !seals && result == CKR_GENERAL_ERROR ? CK_RV{CKR_ENCRYPTED_DATA_INVALID} : result;
  };
  if (Result<void> ran = sessions_->run(seals ? "wrap a key" : "unwrap a key", work); !ran) return ran.error();
  if (keys != 1)
    return Error{
        keys == 0 ? Reason::NotFound : Reason::BadRequest,
        "the PKCS#11 token has " + std::to_string(keys) + " AES keys " + nameOf(uri(), name) + ", one is needed",
        keys == 0 ? "make it: pkcs11-tool --module MODULE --login --keygen --key-type AES:32 --label LABEL" : "name one by id= in the URI"};
  return seals ? nonce + out : out;  // the token may have chosen a nonce of its own
}

Result<std::string> Pkcs11Token::wrap(const Secret& plain, std::string_view place) {
  return gcm(true, randomBytes(kNonce), plain.reveal(), place);
}

Result<Secret> Pkcs11Token::unwrap(std::string_view wrapped, std::string_view place) {
  const Error damaged{Reason::BadRequest, "it was wrapped with another key of a PKCS#11 token, or is damaged",
                      "name the AES key that wrapped it, or restore the file from a backup"};
  if (wrapped.size() < kNonce + kTag) return damaged;
  Result<std::string> plain = gcm(false, std::string(wrapped.substr(0, kNonce)), wrapped.substr(kNonce), place);
  if (!plain && plain.error().reason == Reason::Internal)
    return Error{damaged.reason, damaged.sentence, damaged.fix, std::make_shared<Error>(plain.error())};
  if (!plain) return plain.error();
  Secret secret(*plain);
  OPENSSL_cleanse(plain->data(), plain->size());
  return secret;
}

}  // namespace podpass::crypto
