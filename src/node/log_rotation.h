#pragma once

#include <filesystem>
#include <functional>

#include "base/clock.h"
#include "base/result.h"

namespace podpass::node {

struct RotationLimits {
  std::uintmax_t bytes = 10u << 20;  // of the log that is being written
  std::size_t files = 5;             // with that one
};

// Rotates a container's log when it has grown past its limit (spec node.md §5.11): `0.log` becomes `0.log.YYYYMMDD-hhmmss`, what was
// rotated earlier is compressed (`.gz`), the oldest go. `reopen` tells the runtime, which writes to the renamed file until then; when it
// fails the log gets its name back and nothing is lost. True: rotated. Not for two threads and one log.
Result<bool> rotateLog(const std::filesystem::path& log, const RotationLimits& limits, WallTime now,
                       const std::function<Result<void>()>& reopen);

}  // namespace podpass::node
