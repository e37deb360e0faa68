#pragma once

#include <string>
#include <utility>
#include <vector>

#include "api/client.h"

namespace podpass::node {

// What pods may use on this node; stands in for limits that a container does not set (spec node.md §4.2).
struct Allocatable {
  std::int64_t cpuMillis = 0, memoryBytes = 0, storageBytes = 0;
};
// All of this machine: processors, memory, the filesystem of `/`.
Allocatable machineAllocatable();

// The container's environment in CRI order: env (with valueFrom fieldRef, resourceFieldRef, secretKeyRef, configMapKeyRef), envFrom,
// KUBERNETES_SERVICE_HOST/PORT…, with $(VAR) expanded (spec node.md §4). The Error's sentence is the one that a
// CreateContainerConfigError shows: `secret "s" not found`, `couldn't find key k in Secret ns/s`.
struct PodFacts {
  std::string hostIp, podIp;
  std::string apiHost, apiPort;       // for KUBERNETES_SERVICE_HOST and _PORT; empty: no service variables
  std::vector<std::string> podIps{};  // both families; empty: podIp alone
  Allocatable allocatable{};          // zeros: all of this machine
};
Result<std::vector<std::pair<std::string, std::string>>> environment(api::Client& client, const json::object& pod,
                                                                     const json::object& container, const PodFacts& facts);
// $(VAR) expansion of command and args.
std::string expand(std::string_view text, const std::vector<std::pair<std::string, std::string>>& environment);
// A volumeMount's subPathExpr: BadRequest `missing value for A, B` when it names variables that are not set.
Result<std::string> expandSubPath(std::string_view text, const std::vector<std::pair<std::string, std::string>>& environment);
// The value of a downward API fieldRef ("metadata.labels['a']", "status.podIP"); BadRequest when unknown.
Result<std::string> fieldValue(const json::object& pod, std::string_view fieldPath, const PodFacts& facts);
// The value of a resourceFieldRef {containerName, resource, divisor}; `containerName` is used when the selector names none.
Result<std::string> resourceValue(const json::object& pod, const json::object& selector, std::string_view containerName,
                                  const Allocatable& allocatable);
// A resource.Quantity ("64Mi", "1e3") in whole units, rounded up; BadRequest when it is none.
Result<std::int64_t> quantityUnits(std::string_view text);

}  // namespace podpass::node
