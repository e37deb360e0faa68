#pragma once

#include "api/causes.h"

// The rules of pods that no table says: spec api.md §8.3, node.md §1.2.
namespace podpass::api {

// Takes what the tables found and adds to it; puts all in the order of Kubernetes: metadata, volumes, containers, the rest.
void validatePod(const json::object& pod, Causes& causes);
void validatePodUpdate(const json::object& now, const json::object& before, Causes& causes);
void defaultPod(json::object& pod);

}  // namespace podpass::api
