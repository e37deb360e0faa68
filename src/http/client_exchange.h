#pragma once

#include "http/client.h"
#include "http/connection.h"
#include "http/url.h"

namespace podpass::http {

// One request and its answer on a connection.
struct Exchange {
  bool answered = false;                   // at least one byte of the answer was received
  bool reusable = false;                   // afterwards: the connection is free for the next request
  bool untouched = false;                  // afterwards: the server has certainly not begun with it (HTTP/2 says so)
  std::function<void(int status)> onHead;  // called once, when the headers of the final answer are complete
};

// Sends and receives. The transport is open; `where` names the server in errors. Sets `exchange`, which outlives the call.
asio::awaitable<Result<Fetched>> converse(std::shared_ptr<Transport> transport, Url url, const FetchOptions& options, Exchange& exchange);

}  // namespace podpass::http
