#pragma once

namespace podpass::api {

// The Kubernetes release whose behaviour is served, as /version says it and as nodes say it of themselves.
inline constexpr const char* kMajor = "1";
inline constexpr const char* kMinor = "32";
inline constexpr const char* kGitVersion = "v1.32.0+podpass";

}  // namespace podpass::api
