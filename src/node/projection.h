#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "api/client.h"
#include "node/atomic_writer.h"
#include "node/environment.h"
#include "node/token_source.h"

namespace podpass::node {

// What the sources of one projected, secret, configMap or downwardAPI volume hold right now.
struct Projection {
  Payload files;
  // Of sources that failed, in their order. Those that gave something earlier are represented by that.
  std::vector<Error> failures;
  // Some source failed and never gave anything: do not write, a file would be missing.
  bool incomplete = false;
};

// Per source, what it gave last; kept by the caller from one look to the next.
using LastGood = std::vector<std::optional<Payload>>;

// Collects a volume (an element of pod.spec.volumes) by the rules of spec node.md §1.5: later sources win, errors are gathered.
class Projector {
 public:
  Projector(api::Client& client, TokenSource& tokens, Allocatable allocatable);
  [[nodiscard]] Projection collect(const json::object& pod, const json::object& volume, LastGood& lastGood);

 private:
  api::Client& client_;
  TokenSource& tokens_;
  Allocatable allocatable_;
};

// Whether the Projector is who fills this volume.
bool isProjection(const json::object& volume);
// The one runAsUser of all init and regular containers; nothing when they differ or one has none (spec §3.2).
std::optional<uid_t> uniformUser(const json::object& pod);
std::optional<gid_t> fsGroup(const json::object& pod);
// "secrets/NS/NAME" and "configmaps/NS/NAME" that the pod's volumes show, sorted.
std::vector<std::string> projectedObjects(const json::object& pod);
// `e`, or `[e1, e2]` when there are several: how Kubernetes prints an aggregate.
Error aggregate(const std::vector<Error>& errors);

}  // namespace podpass::node
