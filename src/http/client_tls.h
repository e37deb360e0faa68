#pragma once

#include <memory>
#include <string>
#include <vector>

#include "http/client.h"
#include "http/tls.h"

// The client's side of TLS, as far as it is OpenSSL's alone.
namespace podpass::http {

// What connections to one server have in common. Immutable; outlives its connections.
struct ClientTls {
  SslContext context;
  std::vector<std::string> thumbprints;  // lower-case hex without colons
};

// Whoever has a connection to himself (`consume`) gains nothing by HTTP/2.
inline bool offersHttp2(const FetchOptions& options) { return options.multiplex && !options.consume; }

Result<std::shared_ptr<const ClientTls>> makeClientTls(const FetchOptions& options);

// What was wrong with the server's chain; filled while the handshake runs.
struct ChainVerdict {
  std::string names;        // "localhost, 127.0.0.1"
  std::string thumbprints;  // SHA-1 of each certificate that was shown
};

// Expects a certificate for `name`, a host name or an address. `verdict` outlives the handshake. False: the name can be in no certificate.
[[nodiscard]] bool expectServer(SSL* connection, const std::string& name, ChainVerdict& verdict);

// Why the handshake failed. `failure` is the transport's own message. When the chain was not believed, a cause of the reason
// kCertificateRefused holds the SHA-1 thumbprint of its topmost certificate.
Error handshakeFailure(SSL* connection, const std::string& where, const std::string& name, const ChainVerdict& verdict,
                       const std::string& failure);

}  // namespace podpass::http
