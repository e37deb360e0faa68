#pragma once

#include <string>
#include <string_view>

namespace podpass::node {

// An OCI image archive (image-spec, image layout in a tar) of an image for this machine that holds one static program, its entrypoint:
// what `ctr images import` takes. No registry is needed.
std::string imageArchive(const std::string& image, const std::string& program, std::string_view binary);

}  // namespace podpass::node
