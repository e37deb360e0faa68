#pragma once

#include <filesystem>
#include <string>

#include "api/client.h"
#include "base/clock.h"

namespace podpass::node {

// This machine's first address that is not loopback and not of a bridge of pods; 127.0.0.1 when there is none.
std::string machineAddress();

// The agent's Node object and its lease: registered, kept, with what this machine is and how it fares. Thread-safe, each call blocks on
// the API.
class NodeObject {
 public:
  // `directory`: of whose filesystem DiskPressure speaks.
  NodeObject(api::Client& client, const Clock& clock, std::string name, std::string address, std::filesystem::path directory);
  // Registers the node when it is missing, and writes its status. `ready`: whether pods can run, else why not. `runtime`:
  // "containerd://1.6.20".
  Result<void> publish(const Result<void>& ready, const std::string& runtime);
  Result<void> renewLease();

 private:
  json::object statusNow(const json::object* before, const Result<void>& ready, const std::string& runtime) const;
  json::array conditions(const json::object* before, const Result<void>& ready) const;
  Result<DocumentPtr> registered(const Result<void>& ready, const std::string& runtime);
  void removeTaints(const json::object& node);

  api::Client& client_;
  const Clock& clock_;
  std::string name_, address_;
  std::filesystem::path directory_;
};

}  // namespace podpass::node
