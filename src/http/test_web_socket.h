#pragma once

#include <openssl/sha.h>

#include <boost/asio/use_awaitable.hpp>

#include "base/text.h"
#include "http/http.h"

namespace podpass::http {

// The server's half of a WebSocket that says these messages, each as one binary frame, and closes. `end` false: it goes without a word.
inline Response webSocketOf(const Request& request, std::string protocol, std::vector<std::string> messages, bool end = true) {
  const std::string accepted =
      std::string(request.headers.find("Sec-WebSocket-Key")) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";  // RFC 6455 §1.3
  unsigned char digest[SHA_DIGEST_LENGTH];
  SHA1(reinterpret_cast<const unsigned char*>(accepted.data()), accepted.size(), digest);
  std::string text =
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: " + protocol +
      "\r\nSec-WebSocket-Accept: " + base64Encode({reinterpret_cast<char*>(digest), sizeof digest}) + "\r\n\r\n";
  for (const std::string& message : messages) {
    text += '\x82';
    const int lengthBytes = message.size() < 126 ? 0 : message.size() < 65536 ? 2 : 8;  // RFC 6455 §5.2: the shortest form
    text += lengthBytes == 0 ? static_cast<char>(message.size()) : lengthBytes == 2 ? '\x7e' : '\x7f';
    for (int shift = 8 * (lengthBytes - 1); shift >= 0; shift -= 8) text += static_cast<char>(message.size() >> shift);
    text += message;
  }
  if (end) text += std::string("\x88\x02\x03\xe8", 4);
  Response response;
  response.takeOver = [text](std::shared_ptr<ByteStream> stream) -> asio::awaitable<void> {
    static_cast<void>(co_await stream->write(text));
    char buffer[256];
    static_cast<void>(co_await stream->readSome(buffer, sizeof buffer));  // the client's farewell
    stream->close();
  };
  return response;
}

}  // namespace podpass::http
