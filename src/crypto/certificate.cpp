#include "crypto/certificate.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cctype>

#include "base/file.h"
#include "base/text.h"
#include "crypto/freeing.h"

namespace podpass::crypto {
namespace {

constexpr std::chrono::hours kBackdate{1};  // a peer's clock may be behind ours
constexpr std::chrono::hours kAuthorityLife{24 * 3650};

using Certificate = std::unique_ptr<X509, Freeing<X509_free>>;
using Bio = std::unique_ptr<BIO, Freeing<BIO_free_all>>;
using Extension = std::unique_ptr<X509_EXTENSION, Freeing<X509_EXTENSION_free>>;

// False for more than 64 characters (RFC 5280, ub-common-name): a subject without one of its groups must not be issued.
bool addName(X509_NAME* name, const char* type, const std::string& value) {
  return X509_NAME_add_entry_by_txt(name, type, MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(value.data()),
                                    static_cast<int>(value.size()), -1, 0) == 1;
}

// The names are pasted into OpenSSL's configuration language, where a comma would start another name.
bool isPlainName(std::string_view name) {
  const auto plain = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '-' || c == '_' || c == '*' || c == ':';
  };
  return !name.empty() && std::all_of(name.begin(), name.end(), plain);
}

bool extend(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const Extension extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
  return extension && X509_add_ext(certificate, extension.get(), -1) == 1;
}

Certificate blank(const KeyPair& key, WallTime now, std::chrono::hours life) {
  Certificate certificate(X509_new());
  X509_set_version(certificate.get(), 2);
  std::string serial = randomBytes(16);
  serial[0] = static_cast<char>((serial[0] & 0x3f) | 0x40);  // positive and of full length (RFC 5280 §4.1.2.2)
  BIGNUM* number = BN_bin2bn(reinterpret_cast<const unsigned char*>(serial.data()), static_cast<int>(serial.size()), nullptr);
  BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate.get()));
  BN_free(number);
  ASN1_TIME_set(X509_getm_notBefore(certificate.get()), std::chrono::system_clock::to_time_t(now - kBackdate));
  ASN1_TIME_set(X509_getm_notAfter(certificate.get()), std::chrono::system_clock::to_time_t(now + life));
  X509_set_pubkey(certificate.get(), key.native());
  return certificate;
}

std::string pemOf(X509* certificate) {
  const Bio sink(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(sink.get(), certificate);
  char* text = nullptr;
  const long length = BIO_get_mem_data(sink.get(), &text);
  return std::string(text, static_cast<std::size_t>(length));
}

Certificate parse(std::string_view pem) {
  const Bio source(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  return Certificate(PEM_read_bio_X509(source.get(), nullptr, nullptr, nullptr));
}

}  // namespace

Result<WallTime> validFrom(std::string_view certificatePem) {
  const Certificate certificate = parse(certificatePem);
  std::tm utc{};
  if (!certificate || ASN1_TIME_to_tm(X509_get0_notBefore(certificate.get()), &utc) != 1)
    return Error{Reason::BadRequest, "no certificate in PEM"};
  return std::chrono::system_clock::from_time_t(timegm(&utc));
}

Result<Authority> Authority::make(std::string commonName, WallTime now) {
  Result<KeyPair> key = KeyPair::generate(KeyType::P256);
  if (!key) return key.error();
  const Certificate root = blank(*key, now, kAuthorityLife);
  const bool named = addName(X509_get_subject_name(root.get()), "CN", commonName);
  X509_set_issuer_name(root.get(), X509_get_subject_name(root.get()));
  const bool made = named && extend(root.get(), root.get(), NID_basic_constraints, "critical,CA:TRUE") &&
                    extend(root.get(), root.get(), NID_key_usage, "critical,digitalSignature,keyCertSign,cRLSign") &&
                    extend(root.get(), root.get(), NID_subject_key_identifier, "hash") &&
                    X509_sign(root.get(), key->native(), EVP_sha256()) > 0;
  if (!made) return Error{Reason::Internal, "cannot make the certificate authority"};
  Authority authority;
  authority.certificatePem_ = pemOf(root.get());
  authority.key_ = *std::move(key);
  return authority;
}

Result<Authority> Authority::load(std::string_view certificatePem, const Secret& keyPem) {
  const Certificate root = parse(certificatePem);
  if (!root)
    return Error{Reason::BadRequest, "ca.crt holds no certificate",
                 "restore it together with ca.key, or remove both to start with a new authority"};
  Result<KeyPair> key = KeyPair::fromPrivatePem(keyPem.reveal());
  if (!key) return key.error();
  if (X509_check_private_key(root.get(), key->native()) != 1)
    return Error{Reason::BadRequest, "ca.crt and ca.key do not belong together", "restore both from one backup"};
  Authority authority;
  authority.certificatePem_ = std::string(certificatePem);
  authority.key_ = *std::move(key);
  return authority;
}

Result<Authority> Authority::openOrMake(const std::filesystem::path& directory, std::string commonName, WallTime now) {
  Result<std::string> certificate = readFile(directory / "ca.crt");
  Result<std::string> key = readFile(directory / "ca.key");
  if (certificate && key) return load(*certificate, Secret(*key));
  if (certificate) return key.error();  // never replace an authority whose key is only out of reach
  if (certificate.error().reason != Reason::NotFound) return certificate.error();
  Result<Authority> made = make(std::move(commonName), now);
  if (!made) return made;
  // the key first: a kill between the two leaves nothing that a certificate was made for
  if (Result<void> written = writeFileAtomically(directory / "ca.key", made->key_.privatePem().reveal(), 0600); !written)
    return written.error();
  if (Result<void> written = writeFileAtomically(directory / "ca.crt", made->certificatePem_, 0644); !written) return written.error();
  return made;
}

Result<IssuedCertificate> Authority::issue(const CertificateRequest& request, WallTime now) const {
  for (const auto* list : {&request.dnsNames, &request.addresses})
    for (const std::string& name : *list)
      if (!isPlainName(name)) return Error{Reason::BadRequest, "not a host name or address for a certificate: " + podpass::quoted(name)};
  Result<KeyPair> key = KeyPair::generate(KeyType::P256);
  if (!key) return key.error();
  const Certificate root = parse(certificatePem_);
  const Certificate leaf = blank(*key, now, request.life);
  X509_NAME* subject = X509_get_subject_name(leaf.get());
  bool named = true;
  for (const std::string& organization : request.organizations) named = addName(subject, "O", organization) && named;
  if (!addName(subject, "CN", request.commonName) || !named)
    return Error{Reason::BadRequest, "cannot issue a certificate for " + podpass::quoted(request.commonName) +
                                         ": its name and each group need 1 to 64 characters"};
  X509_set_issuer_name(leaf.get(), X509_get_subject_name(root.get()));
  std::string names;
  for (const std::string& name : request.dnsNames) names += (names.empty() ? "DNS:" : ",DNS:") + name;
  for (const std::string& address : request.addresses) names += (names.empty() ? "IP:" : ",IP:") + address;
  const bool made = extend(leaf.get(), root.get(), NID_basic_constraints, "critical,CA:FALSE") &&
                    extend(leaf.get(), root.get(), NID_key_usage, "critical,digitalSignature") &&
                    extend(leaf.get(), root.get(), NID_ext_key_usage, request.forServer ? "serverAuth" : "clientAuth") &&
                    extend(leaf.get(), root.get(), NID_authority_key_identifier, "keyid") &&
                    (names.empty() || extend(leaf.get(), root.get(), NID_subject_alt_name, names)) &&
                    X509_sign(leaf.get(), key_.native(), EVP_sha256()) > 0;
  if (!made) return Error{Reason::Internal, "cannot issue a certificate for " + request.commonName};
  return IssuedCertificate{pemOf(leaf.get()), key->privatePem()};
}

}  // namespace podpass::crypto
