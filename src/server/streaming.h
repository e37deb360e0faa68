#pragma once

#include <boost/asio/thread_pool.hpp>

#include "api/node_access.h"
#include "http/http.h"
#include "server/registry.h"

namespace podpass::server {

// exec, attach, portforward and log of a pod (spec api.md §10). The upgraded connection is passed through to the runtime's own streaming
// server byte for byte; WebSocket v5, which that server does not speak, is refused before the upgrade so that kubectl falls back to SPDY.
asio::awaitable<http::Response> stream(const http::Request& request, std::string subresource, DocumentPtr pod, api::NodeAccess* node,
                                       asio::thread_pool& waiters);

}  // namespace podpass::server
