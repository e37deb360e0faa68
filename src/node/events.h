#pragma once

#include <map>
#include <mutex>
#include <string>

#include "api/client.h"
#include "base/clock.h"

namespace podpass::node {

// Events about pods and the node, as kubelet words them. The same event again raises its count instead of making another. Events are
// told, never waited for: a failure to write one is logged and forgotten. Thread-safe.
class Events {
 public:
  Events(api::Client& client, const Clock& clock, std::string nodeName) : client_(client), clock_(clock), nodeName_(std::move(nodeName)) {}
  void normal(const json::object& pod, const std::string& container, const std::string& reason, const std::string& message);
  void warning(const json::object& pod, const std::string& container, const std::string& reason, const std::string& message);

 private:
  struct Told {
    std::string name;
    int count = 0;
  };
  void tell(const char* type, const json::object& pod, const std::string& container, const std::string& reason, const std::string& message);

  api::Client& client_;
  const Clock& clock_;
  std::string nodeName_;
  std::mutex mutex_;
  std::map<std::string, Told> told_;
};

}  // namespace podpass::node
