#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "api/node_access.h"

// Container logs as CRI runtimes write them (spec node.md §5.11): `<RFC3339Nano> <stdout|stderr> <P|F> <content>\n`.
namespace podpass::node {

struct LogLine {
  std::string_view time, stream, content;  // of the line given
  bool partial = false;                    // the original had no newline here
};
// nullopt when the line is not of that form.
std::optional<LogLine> parseLogLine(std::string_view line);

// Reads the file at `path`. With `follow` it goes on, over rotations, until `running` says false and all has been read. NotFound when
// there is no file.
Result<std::unique_ptr<api::LogStream>> openLog(std::filesystem::path path, api::LogRequest request, std::function<bool()> running);

}  // namespace podpass::node
