#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "base/document.h"
#include "node/runtime.h"

// A pod's spec in the runtime's words (spec node.md §5.6): pure functions.
namespace podpass::node {

// What the effective security context of a container is made of.
Result<void> fillContainer(const json::object& pod, const json::object& spec, const Image& image, ::runtime::v1::ContainerConfig& config);
// `resolvConf`: the text of this machine's /etc/resolv.conf.
void fillSandbox(const json::object& pod, std::uint32_t attempt, const std::filesystem::path& logDirectory, const std::string& resolvConf,
                 ::runtime::v1::PodSandboxConfig& config);
std::string hostsFile(const json::object& pod, const std::string& podIp);
std::string hostnameOf(const json::object& pod);
// Of name and image: what makes a container another one.
std::string containerHash(const json::object& spec);
// "kubepods" scheduling class: Guaranteed, Burstable, BestEffort.
std::string qosClass(const json::object& pod);
// "nginx" → "docker.io/library/nginx:latest"; BadRequest: `invalid reference format`.
Result<std::string> imageReference(std::string_view image);

}  // namespace podpass::node
