#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

// Programs of this machine, run without a shell. Thread-safe.
namespace podpass::node {

// Where a program is: in PATH, or where systems keep programs for root; "" when it is not installed.
std::string programPath(const char* name);
// Starts a program in a session of its own (a Ctrl-C in our terminal is ours) with that longer PATH, its output appended to `log`. -1: it
// did not start.
pid_t spawn(const std::vector<std::string>& command, const std::filesystem::path& log);
// True when the program ended with 0 within the time; it is killed otherwise.
bool runs(const std::vector<std::string>& command, const std::filesystem::path& log, std::chrono::milliseconds within);

}  // namespace podpass::node
