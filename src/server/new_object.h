#pragma once

#include <string>

#include "api/kind.h"
#include "base/clock.h"

// What only the server says of a new object.
namespace podpass::server {

// uid, creationTimestamp, generation, and a Namespace's finalizer, label and status; what a client wrote in their place is gone.
void stamp(const api::Kind& kind, json::object& object, const std::string& ns, WallTime now);

// A new pod's status: Pending, and its quality of service by the requests and limits of its containers.
void startPod(json::object& pod);

}  // namespace podpass::server
