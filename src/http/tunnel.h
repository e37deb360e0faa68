#pragma once

#include "http/http.h"

// What a proxy needs besides http.h: to know its own end of a connection, and to give up tunnels that are not used.
namespace podpass::http {

struct Tunnel {
  std::shared_ptr<ByteStream> stream;
  std::string local;  // our end, as the server sees it in Request::remote: "127.0.0.1:40123"
};
// As connectTcp.
asio::awaitable<Result<Tunnel>> openTunnel(std::string host, unsigned short port);

// Copies both ways until either side ends, or nothing came from either for `idle`; then closes both.
asio::awaitable<void> relay(std::shared_ptr<ByteStream> a, std::shared_ptr<ByteStream> b, std::chrono::milliseconds idle);

}  // namespace podpass::http
