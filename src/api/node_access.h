#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/document.h"
#include "base/result.h"

namespace podpass::api {

struct ExecRequest {
  std::vector<std::string> command;  // empty: attach
  bool tty = false, in = false, out = false, err = false;
};

struct LogRequest {
  bool follow = false, previous = false, timestamps = false;
  std::optional<std::int64_t> tailLines, limitBytes;
  std::optional<WallTime> since;
};

// Bytes of a container's log, in order. Blocking; used from one thread.
class LogStream {
 public:
  virtual ~LogStream() = default;
  // The next bytes; "" when nothing came within `patience` (follow), nullopt at the end.
  virtual std::optional<std::string> next(std::chrono::milliseconds patience) = 0;
};

// What the API server asks of the node that runs a pod: exec, attach, port-forward and logs. Blocking, thread-safe.
// Sentences are kubectl's: `container "c" in pod "p" is waiting to start: ContainerCreating` (BadRequest), ….
class NodeAccess {
 public:
  virtual ~NodeAccess() = default;
  // The runtime's own streaming URL (http://127.0.0.1:PORT/exec/TOKEN), valid for one connection.
  virtual Result<std::string> streamUrl(const json::object& pod, const std::string& container, const ExecRequest& request) = 0;
  virtual Result<std::string> portForwardUrl(const json::object& pod, const std::vector<std::int32_t>& ports) = 0;
  virtual Result<std::unique_ptr<LogStream>> logs(const json::object& pod, const std::string& container, const LogRequest& request) = 0;
};

}  // namespace podpass::api
