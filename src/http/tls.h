#pragma once

#include <openssl/ssl.h>

#include <memory>

#include "http/http.h"

// The server's side of TLS, as far as it is OpenSSL's alone.
namespace podpass::http {

struct SslContextFree {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
using SslContext = std::unique_ptr<SSL_CTX, SslContextFree>;

// TLS 1.2 and newer, ALPN h2 and http/1.1, session tickets. With a client CA the client is asked for a certificate, but may
// come without, or with one that does not verify: like kube-apiserver, the request is then served without a peer and its
// token, or its lack of one, decides. A failed handshake would tell the user nothing.
Result<SslContext> makeServerContext(const TlsFiles& files);

// The client's certificate after the handshake, when it is now valid and issued by the client CA for client authentication; else null.
std::shared_ptr<const PeerCertificate> verifiedPeer(SSL* connection);

[[nodiscard]] bool negotiatedHttp2(SSL* connection);

// The topmost reason in OpenSSL's error queue; empties the queue.
std::string opensslReason();

}  // namespace podpass::http
