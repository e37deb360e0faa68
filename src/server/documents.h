#pragma once

#include <atomic>
#include <string>

#include "http/http.h"
#include "server/request_info.h"
#include "store/store.h"

namespace podpass::server {

// What is served beside the kinds and the issuer's documents: health, version, discovery of the API, OpenAPI (spec api.md §1).
// Thread-safe; everything it refers to outlives it.
class Documents {
 public:
  // `serverAddress` is told in GET /api.
  Documents(std::string serverAddress, const Store& store, const std::atomic<bool>& stopping)
      : serverAddress_(std::move(serverAddress)), store_(store), stopping_(stopping) {}
  // 404 for a path that is not served, 405 for anything but GET and HEAD.
  [[nodiscard]] http::Response answer(const http::Request& request, const RequestInfo& info) const;

 private:
  [[nodiscard]] http::Response health(const http::Request& request, const RequestInfo& info) const;
  [[nodiscard]] http::Response discovery(const http::Request& request, const std::string& path) const;

  const std::string serverAddress_;
  const Store& store_;
  const std::atomic<bool>& stopping_;
};

}  // namespace podpass::server
