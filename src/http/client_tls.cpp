#include "http/client_tls.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <boost/asio/ip/address.hpp>

#include "base/text.h"
#include "http/message.h"

namespace podpass::http {
namespace {

struct BioFree {
  void operator()(BIO* bio) const { BIO_free(bio); }
};
struct CertificateFree {
  void operator()(X509* certificate) const { X509_free(certificate); }
};
struct KeyFree {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
struct NamesFree {
  void operator()(GENERAL_NAMES* names) const { GENERAL_NAMES_free(names); }
};
using Bio = std::unique_ptr<BIO, BioFree>;
using Certificate = std::unique_ptr<X509, CertificateFree>;

Bio reading(std::string_view text) { return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))); }

Certificate nextCertificate(BIO* pem) { return Certificate(PEM_read_bio_X509(pem, nullptr, nullptr, nullptr)); }

Result<void> trust(SSL_CTX* context, const FetchOptions& options) {
  if (options.caPem.empty()) {
    if (options.thumbprints.empty()) SSL_CTX_set_default_verify_paths(context);
    return {};
  }
  const Bio pem = reading(options.caPem);
  int count = 0;
  while (const Certificate certificate = nextCertificate(pem.get())) {
    X509_STORE_add_cert(SSL_CTX_get_cert_store(context), certificate.get());
    ++count;
  }
  ERR_clear_error();
  if (count == 0) return Error{Reason::BadRequest, "the certificate authority given is not a PEM certificate"};
  return {};
}

Result<void> showCertificate(SSL_CTX* context, const FetchOptions& options) {
  if (options.clientCertificatePem.empty()) return {};
  const auto unusable = [](const char* what) {
    return Error{Reason::BadRequest, std::string("cannot use the client ") + what + ": " + opensslReason()};
  };
  const Bio chain = reading(options.clientCertificatePem);
  const Certificate leaf = nextCertificate(chain.get());
  if (!leaf || SSL_CTX_use_certificate(context, leaf.get()) != 1) return unusable("certificate");
  while (Certificate above = nextCertificate(chain.get()))
    if (SSL_CTX_add_extra_chain_cert(context, above.get()) == 1) static_cast<void>(above.release());
  ERR_clear_error();
  const Bio pem = reading(options.clientKeyPem.reveal());
  const std::unique_ptr<EVP_PKEY, KeyFree> key(PEM_read_bio_PrivateKey(pem.get(), nullptr, nullptr, nullptr));
  if (!key || SSL_CTX_use_PrivateKey(context, key.get()) != 1 || SSL_CTX_check_private_key(context) != 1) return unusable("key");
  return {};
}

Result<std::string> thumbprint(const std::string& text) {
  std::string hex;
  for (const char c : text) {
    if (c == ':') continue;
    const char low = c >= 'A' && c <= 'F' ? static_cast<char>(c | 32) : c;
    if (!((low >= '0' && low <= '9') || (low >= 'a' && low <= 'f')))
      return Error{Reason::BadRequest, "not a thumbprint in hex: " + quoted(text)};
    hex += low;
  }
  if (hex.size() != 40 && hex.size() != 64)
    return Error{Reason::BadRequest, "a thumbprint has 40 hex digits (SHA-1) or 64 (SHA-256), not " + std::to_string(hex.size())};
  return hex;
}

std::string digestOf(const X509* certificate, const EVP_MD* algorithm) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  if (X509_digest(certificate, algorithm, digest, &size) != 1) return {};
  return hexLower(std::string_view(reinterpret_cast<const char*>(digest), size));
}

std::string addressText(const ASN1_OCTET_STRING* address) {
  const unsigned char* bytes = ASN1_STRING_get0_data(address);
  const auto size = static_cast<std::size_t>(ASN1_STRING_length(address));
  asio::ip::address_v4::bytes_type four;
  asio::ip::address_v6::bytes_type sixteen;
  if (size == four.size()) {
    std::copy_n(bytes, size, four.begin());
    return asio::ip::address_v4(four).to_string();
  }
  if (size != sixteen.size()) return {};
  std::copy_n(bytes, size, sixteen.begin());
  return asio::ip::address_v6(sixteen).to_string();
}

std::string namesOf(const X509* certificate) {
  const std::unique_ptr<GENERAL_NAMES, NamesFree> names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  std::string text;
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    std::string one;
    if (name->type == GEN_DNS)
      one.assign(reinterpret_cast<const char*>(ASN1_STRING_get0_data(name->d.dNSName)),
                 static_cast<std::size_t>(ASN1_STRING_length(name->d.dNSName)));
    if (name->type == GEN_IPADD) one = addressText(name->d.iPAddress);
    if (!one.empty()) text += (text.empty() ? "" : ", ") + headerSafe(one);
  }
  return text;
}

int verdictIndex() {
  static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

// A pinned certificate of the chain is an anchor; without one the context's own roots are. One X509_STORE_CTX verifies once.
int verifyChain(X509_STORE_CTX* verification, void* clientTls) {
  const auto& tls = *static_cast<const ClientTls*>(clientTls);
  auto* connection = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(verification, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto& verdict = *static_cast<ChainVerdict*>(SSL_get_ex_data(connection, verdictIndex()));
  const STACK_OF(X509)* shown = X509_STORE_CTX_get0_untrusted(verification);
  STACK_OF(X509)* pinned = sk_X509_new_null();
  for (int i = 0; i < sk_X509_num(shown); ++i) {
    X509* certificate = sk_X509_value(shown, i);
    const std::string sha1 = digestOf(certificate, EVP_sha1());
    verdict.thumbprints += (i == 0 ? "" : ", ") + sha1;
    for (const std::string& wanted : tls.thumbprints)
      if (wanted == sha1 || wanted == digestOf(certificate, EVP_sha256())) sk_X509_push(pinned, certificate);
  }
  verdict.names = namesOf(X509_STORE_CTX_get0_cert(verification));
  if (sk_X509_num(pinned) > 0) {
    X509_STORE_CTX_set0_trusted_stack(verification, pinned);
    X509_VERIFY_PARAM_set_flags(X509_STORE_CTX_get0_param(verification), X509_V_FLAG_PARTIAL_CHAIN);
  }
  const int good = X509_verify_cert(verification);
  sk_X509_free(pinned);
  return good;
}

bool isAddress(const std::string& name) {
  boost::system::error_code failed;
  static_cast<void>(asio::ip::make_address(name, failed));
  return !failed;
}

}  // namespace

Result<std::shared_ptr<const ClientTls>> makeClientTls(const FetchOptions& options) {
  ERR_clear_error();
  auto tls = std::make_shared<ClientTls>();
  tls->context.reset(SSL_CTX_new(TLS_client_method()));
  SSL_CTX* context = tls->context.get();
  if (context == nullptr) return Error{Reason::Internal, "OpenSSL made no context: " + opensslReason()};
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
  constexpr std::string_view kHttp1 = "\x08http/1.1", kBoth = "\x02h2\x08http/1.1";
  const std::string_view offered = offersHttp2(options) ? kBoth : kHttp1;
  SSL_CTX_set_alpn_protos(context, reinterpret_cast<const unsigned char*>(offered.data()), static_cast<unsigned>(offered.size()));
  for (const std::string& text : options.thumbprints) {
    Result<std::string> hex = thumbprint(text);
    if (!hex) return hex.error();
    tls->thumbprints.push_back(*std::move(hex));
  }
  if (Result<void> trusted = trust(context, options); !trusted) return trusted.error();
  if (Result<void> shown = showCertificate(context, options); !shown) return shown.error();
  SSL_CTX_set_verify(context, options.insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, nullptr);
  if (!options.insecure) SSL_CTX_set_cert_verify_callback(context, verifyChain, tls.get());
  return std::shared_ptr<const ClientTls>(std::move(tls));
}

bool expectServer(SSL* connection, const std::string& name, ChainVerdict& verdict) {
  SSL_set_ex_data(connection, verdictIndex(), &verdict);
  if (isAddress(name)) return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(connection), name.c_str()) == 1;
  SSL_set_hostflags(connection, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  return SSL_set_tlsext_host_name(connection, name.c_str()) == 1 && SSL_set1_host(connection, name.c_str()) == 1;
}

Error handshakeFailure(SSL* connection, const std::string& where, const std::string& name, const ChainVerdict& verdict,
                       const std::string& failure) {
  const long code = SSL_get_verify_result(connection);
  if (code == X509_V_OK) return Error{Reason::Unavailable, "the TLS handshake with " + where + " failed: " + failure};
  if (code == X509_V_ERR_HOSTNAME_MISMATCH || code == X509_V_ERR_IP_ADDRESS_MISMATCH)
    return Error{Reason::Unavailable,
                 "the certificate of " + where + " is for " + (verdict.names.empty() ? "no name" : verdict.names) + ", not for " + name,
                 "use one of these names in the URL, or give the server a certificate for " + name};
  return Error{.reason = Reason::Unavailable,
               .sentence = "the certificate of " + where + " was not accepted: " + std::string(X509_verify_cert_error_string(code)) +
                           " (SHA-1 thumbprints of its chain: " + verdict.thumbprints + ")",
               .fix = "give the certificate authority that issued it, or pin a thumbprint of its chain",
               .causes = {{"thumbprint", verdict.thumbprints.substr(verdict.thumbprints.rfind(' ') + 1), kCertificateRefused}}};
}

}  // namespace podpass::http
