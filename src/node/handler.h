#pragma once

#include <chrono>
#include <string>

#include "base/document.h"
#include "node/runtime.h"

namespace podpass::node {

// What came of asking a container something once.
struct Answer {
  enum class Kind { Good, Bad, Error } kind;  // Error: it could not be asked, which says nothing about the container
  std::string text = {};                      // what a person is told of it; at most 10 KiB
};

// Performs a probe's or a lifecycle hook's action (exec, httpGet, tcpSocket, sleep; spec node.md §5.14) against one container: `spec` is
// its spec, for ports by name; `podIp` the host unless the handler names one. Blocks, `timeout` at most. A handler that names no action is
// an Error.
Answer perform(Runtime& runtime, const json::object& handler, const json::object& spec, const std::string& containerId,
               const std::string& podIp, std::chrono::seconds timeout);

}  // namespace podpass::node
