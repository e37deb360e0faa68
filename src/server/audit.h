#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "server/context.h"
#include "server/request_info.h"

namespace podpass::server {

// One audit.k8s.io/v1 Event of level Metadata. Bodies, tokens and Authorization headers have no place in it.
struct AuditEvent {
  std::string id;
  const http::Request* request = nullptr;
  const RequestInfo* info = nullptr;
  const auth::User* user = nullptr;
  std::optional<auth::User> impersonated = {};
  std::map<std::string, std::string> annotations = {};
  const http::Response* response = nullptr;
  WallTime received, answered;
};
std::string toJson(const AuditEvent& event);  // one line

// Appends lines to a file (0600) from a thread of its own. Bounded: when the disk falls behind, events are dropped and counted, for a
// full disk must not stop the API.
class AuditLog {
 public:
  // BadRequest: the file cannot be opened.
  static Result<std::unique_ptr<AuditLog>> open(const std::filesystem::path& path);
  ~AuditLog();  // what was written so far reaches the file
  AuditLog(const AuditLog&) = delete;
  AuditLog& operator=(const AuditLog&) = delete;
  void write(std::string line);
  [[nodiscard]] std::uint64_t dropped() const { return dropped_.load(); }

 private:
  explicit AuditLog(int file);
  void run();

  int file_;
  std::atomic<std::uint64_t> dropped_ = 0;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::string> lines_;
  bool over_ = false;
  std::thread thread_;
};

}  // namespace podpass::server
