#pragma once

#include <sys/types.h>

#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "base/secret.h"

namespace podpass::node {

struct PayloadFile {
  Secret bytes;
  unsigned mode = 0644;
  std::optional<uid_t> owner = {};  // nothing: whoever writes, so root
};
using Payload = std::map<std::string, PayloadFile>;  // by the path below the volume

// The path without "." and empty elements; BadRequest (`invalid path: …`) when it is empty, absolute, too long or could leave the volume.
Result<std::string> cleanPayloadPath(std::string_view path);

// Writes all files of a volume so that every reader sees one generation of them, never a mix and never half a file:
//   vol/..2024_05_01_10_20_30.123456789/a/b    a generation
//   vol/..data -> ..2024_05_01_10_20_30.123456789    flipped by one rename
//   vol/a -> ..data/a    what the container opens
// Killed at any step, the next write mends what is left over. Names that it did not make (mount points of nested volumes) are left alone.
// One writer at a time per directory; it must exist.
class AtomicWriter {
 public:
  AtomicWriter(std::filesystem::path directory, const Clock& clock);
  // True when something was written; false when the bytes and paths were there already. With `fsGroup` everything is made readable
  // for that group before it is published. On failure the previous generation stays.
  Result<bool> write(const Payload& payload, std::optional<gid_t> fsGroup = {}) const;

 private:
  std::filesystem::path directory_;
  const Clock& clock_;
};

}  // namespace podpass::node
