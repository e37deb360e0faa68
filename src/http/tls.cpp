#include "http/tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>

#include <algorithm>
#include <cstring>

#include "base/text.h"

namespace podpass::http {
namespace {

struct CertificateFree {
  void operator()(X509* certificate) const { X509_free(certificate); }
};
struct VerificationFree {
  void operator()(X509_STORE_CTX* verification) const { X509_STORE_CTX_free(verification); }
};

int chooseProtocol(SSL*, const unsigned char** chosen, unsigned char* chosenSize, const unsigned char* offered, unsigned int offeredSize,
                   void*) {
  static constexpr unsigned char kOurs[] = "\x02h2\x08http/1.1";
  unsigned char* picked = nullptr;
  const int result = SSL_select_next_proto(&picked, chosenSize, kOurs, sizeof kOurs - 1, offered, offeredSize);
  if (result != OPENSSL_NPN_NEGOTIATED) return SSL_TLSEXT_ERR_NOACK;  // an old client with a list of its own: HTTP/1.1
  *chosen = picked;
  return SSL_TLSEXT_ERR_OK;
}

// The chain is checked in verifiedPeer, on resumed sessions as well.
int acceptAnyChain(X509_STORE_CTX* verification, void*) {
  X509_STORE_CTX_set_error(verification, X509_V_OK);
  return 1;
}

Error unusable(const std::string& what, const std::string& path) {
  return Error{Reason::BadRequest, "cannot use the " + what + " in " + path + ": " + opensslReason()};
}

Result<void> askForCertificates(SSL_CTX* context, const std::string& path) {
  if (SSL_CTX_load_verify_locations(context, path.c_str(), nullptr) != 1) return unusable("client CA", path);
  STACK_OF(X509_NAME)* names = SSL_load_client_CA_file(path.c_str());
  if (names == nullptr) return unusable("client CA", path);
  SSL_CTX_set_client_CA_list(context, names);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_cert_verify_callback(context, acceptAnyChain, nullptr);
  return {};
}

std::string textOf(const X509_NAME_ENTRY* entry) {
  unsigned char* utf8 = nullptr;
  const int size = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(entry));
  if (size < 0) return {};
  std::string text(reinterpret_cast<const char*>(utf8), static_cast<std::size_t>(size));
  OPENSSL_free(utf8);
  return text;
}

std::vector<std::string> textsOf(const X509_NAME* name, int nid) {
  std::vector<std::string> texts;
  for (int at = X509_NAME_get_index_by_NID(name, nid, -1); at >= 0; at = X509_NAME_get_index_by_NID(name, nid, at))
    texts.push_back(textOf(X509_NAME_get_entry(name, at)));
  return texts;
}

bool verifies(SSL* connection, X509* certificate) {
  std::unique_ptr<X509_STORE_CTX, VerificationFree> verification(X509_STORE_CTX_new());
  X509_STORE* trusted = SSL_CTX_get_cert_store(SSL_get_SSL_CTX(connection));
  if (!verification || X509_STORE_CTX_init(verification.get(), trusted, certificate, SSL_get_peer_cert_chain(connection)) != 1)
    return false;
  if (X509_STORE_CTX_set_default(verification.get(), "ssl_client") != 1) return false;
  return X509_verify_cert(verification.get()) == 1;
}

struct BioFree {
  void operator()(BIO* bio) const { BIO_free(bio); }
};
struct KeyFree {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};

Result<void> useFiles(SSL_CTX* context, const TlsFiles& files) {
  if (SSL_CTX_use_certificate_chain_file(context, files.certificate.c_str()) != 1) return unusable("certificate", files.certificate);
  if (SSL_CTX_use_PrivateKey_file(context, files.key.c_str(), SSL_FILETYPE_PEM) != 1) return unusable("private key", files.key);
  if (SSL_CTX_check_private_key(context) != 1) return unusable("private key", files.key);
  return {};
}

Result<void> useMemory(SSL_CTX* context, const TlsFiles& files) {
  const std::unique_ptr<BIO, BioFree> chain(BIO_new_mem_buf(files.certificatePem.data(), static_cast<int>(files.certificatePem.size())));
  const std::unique_ptr<X509, CertificateFree> leaf(PEM_read_bio_X509(chain.get(), nullptr, nullptr, nullptr));
  if (!leaf || SSL_CTX_use_certificate(context, leaf.get()) != 1) return unusable("certificate", "memory");
  while (X509* next = PEM_read_bio_X509(chain.get(), nullptr, nullptr, nullptr)) SSL_CTX_add0_chain_cert(context, next);
  ERR_clear_error();  // the end of the chain
  const std::string_view pem = files.keyPem.reveal();
  const std::unique_ptr<BIO, BioFree> text(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  const std::unique_ptr<EVP_PKEY, KeyFree> key(PEM_read_bio_PrivateKey(text.get(), nullptr, nullptr, nullptr));
  if (!key || SSL_CTX_use_PrivateKey(context, key.get()) != 1 || SSL_CTX_check_private_key(context) != 1)
    return unusable("private key", "memory");
  return {};
}

Result<void> restrict(SSL_CTX* context, const TlsFiles& files) {
  constexpr std::pair<std::string_view, int> kVersions[] = {
      {"", TLS1_2_VERSION}, {"1.0", TLS1_VERSION}, {"1.1", TLS1_1_VERSION}, {"1.2", TLS1_2_VERSION}, {"1.3", TLS1_3_VERSION}};
  const auto version =
      std::find_if(std::begin(kVersions), std::end(kVersions), [&files](const auto& each) { return each.first == files.minimumVersion; });
  if (version == std::end(kVersions)) return Error{Reason::BadRequest, "unsupported version " + files.minimumVersion};
  SSL_CTX_set_min_proto_version(context, version->second);
  if (version->second < TLS1_2_VERSION) SSL_CTX_set_security_level(context, 0);  // their signatures use SHA-1
  if (Result<void> known = checkCiphers(files.ciphers); !known) return known;
  std::string list;
  for (const std::string& iana : files.ciphers)
    if (!iana.starts_with("TLS_AES_") && !iana.starts_with("TLS_CHACHA20_"))
      list += (list.empty() ? "" : ":") + std::string(OPENSSL_cipher_name(iana.c_str()));  // 1.3's are not chosen
  if (!list.empty() && SSL_CTX_set_cipher_list(context, list.c_str()) != 1)
    return Error{Reason::BadRequest, "unsupported cipher suites: " + list};
  return {};
}

}  // namespace

Result<void> checkCiphers(const std::vector<std::string>& names) {
  for (const std::string& iana : names) {
    const char* name = OPENSSL_cipher_name(iana.c_str());
    if (name == nullptr || std::string_view(name) == "(NONE)") return Error{Reason::BadRequest, "unsupported cipher suite: " + iana};
  }
  return {};
}

std::string opensslReason() {
  const char* reason = ERR_reason_error_string(ERR_peek_last_error());
  std::string text = reason != nullptr ? reason : std::strerror(errno);
  ERR_clear_error();
  return text;
}

Result<SslContext> makeServerContext(const TlsFiles& files) {
  ERR_clear_error();
  SslContext context(SSL_CTX_new(TLS_server_method()));
  if (!context) return Error{Reason::Internal, "OpenSSL made no context: " + opensslReason()};
  SSL_CTX* raw = context.get();
  if (Result<void> restricted = restrict(raw, files); !restricted) return restricted.error();
  SSL_CTX_set_options(raw, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_mode(raw, SSL_MODE_RELEASE_BUFFERS);  // 34 kB less per idle connection
  static constexpr unsigned char kSessionContext[] = "podpass";
  SSL_CTX_set_session_id_context(raw, kSessionContext, sizeof kSessionContext - 1);
  SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_OFF);  // tickets only: nothing to remember
  SSL_CTX_set_num_tickets(raw, 1);
  SSL_CTX_set_alpn_select_cb(raw, chooseProtocol, nullptr);
  if (Result<void> used = files.certificatePem.empty() ? useFiles(raw, files) : useMemory(raw, files); !used) return used.error();
  if (files.clientCa.empty()) return context;
  Result<void> asked = askForCertificates(raw, files.clientCa);
  if (!asked) return asked.error();
  return context;
}

std::shared_ptr<const PeerCertificate> verifiedPeer(SSL* connection) {
  std::unique_ptr<X509, CertificateFree> certificate(SSL_get1_peer_certificate(connection));
  if (!certificate || !verifies(connection, certificate.get())) {
    ERR_clear_error();
    return nullptr;
  }
  auto peer = std::make_shared<PeerCertificate>();
  const X509_NAME* subject = X509_get_subject_name(certificate.get());
  std::vector<std::string> names = textsOf(subject, NID_commonName);
  if (!names.empty()) peer->commonName = names.back();  // the last and most specific, as Go's pkix.Name reads it
  peer->organizations = textsOf(subject, NID_organizationName);
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  if (X509_digest(certificate.get(), EVP_sha256(), digest, &size) == 1)
    peer->sha256Hex = hexLower(std::string_view(reinterpret_cast<const char*>(digest), size));
  return peer;
}

bool negotiatedHttp2(SSL* connection) {
  const unsigned char* protocol = nullptr;
  unsigned int size = 0;
  SSL_get0_alpn_selected(connection, &protocol, &size);
  return std::string_view(reinterpret_cast<const char*>(protocol), size) == "h2";
}

}  // namespace podpass::http
