#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/document.h"
#include "node/prober.h"
#include "node/runtime.h"

// What a pod's status says, from what the runtime shows: pure functions (spec node.md §5.4, §5.10, §5.12).
namespace podpass::node {

struct Waiting {
  std::string reason, message;
};

struct Observed {
  std::vector<Container> containers;                 // newest first
  std::map<std::string, Waiting> waiting = {};       // why a container is not (again) running: ErrImagePull, CrashLoopBackOff, …
  std::map<std::string, std::string> messages = {};  // termination messages by container id
  std::map<std::string, Probed> probed = {};         // by container id; not there: no probes
  bool sandboxReady = false;
  std::string hostIp = {};
  std::vector<std::string> podIps = {};
};

// The status to write; `pod` gives the spec and the status written before (start time, transition times, foreign conditions stay).
json::object podStatus(const json::object& pod, const Observed& observed, WallTime now);

// The newest instance of a container; nullptr: it never ran.
const Container* newestOf(const std::vector<Container>& containers, std::string_view name);
// Whether a container that does not run is to be started: never ran, or the policy wants it again.
bool wantsStart(std::string_view restartPolicy, const Container* newest);
// Time still to wait after `restarts` ends before the next start: the first restart is immediate, then 10 s, 20 s, … 300 s.
std::chrono::seconds crashDelay(int failures);
std::string goDuration(std::chrono::seconds time);  // "1m20s"
bool isTerminal(std::string_view phase);

}  // namespace podpass::node
