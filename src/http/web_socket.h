#pragma once

#include <functional>

#include "http/client.h"

namespace podpass::http {

// Opens a WebSocket (RFC 6455) of the subprotocol, with GET and the options' headers, bearer and beliefs, says nothing, and hands each
// message to `consume` until the server closes. Blocking, for options.timeout at most; options.maxBody bounds all messages together.
// An answer other than 101 is given as it is. Errors: as Client::send.
Result<Fetched> listenToWebSocket(const std::string& url, const std::string& protocol, const FetchOptions& options,
                                  const std::function<void(std::string_view message)>& consume);

}  // namespace podpass::http
