#include "server/audit.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/log.h"
#include "base/text.h"

namespace podpass::server {
namespace {

constexpr std::size_t kWaiting = 8192;  // lines

json::object objectRef(const RequestInfo& info) {
  json::object ref{{"resource", info.resource}};
  const auto add = [&](const char* name, const std::string& value) {
    if (!value.empty()) ref[name] = value;
  };
  add("namespace", info.ns);
  add("name", info.name);
  add("apiGroup", info.group);
  add("apiVersion", info.version);
  add("subresource", info.subresource);
  return ref;
}

json::object responseStatus(const http::Response& response) {
  json::object status{{"metadata", json::object()}, {"code", response.status}};
  if (response.status < 400 || !response.body || response.headers.has("content-encoding")) return status;
  boost::system::error_code failed;
  const json::value body = json::parse(*response.body, failed);
  if (failed || !body.is_object() || textAt(body.get_object(), {"kind"}) != "Status") return status;
  for (const char* member : {"status", "message", "reason"})
    if (const json::value* value = body.get_object().if_contains(member)) status[member] = *value;
  return status;
}

}  // namespace

std::string toJson(const AuditEvent& event) {
  const http::Request& request = *event.request;
  const bool streams = static_cast<bool>(event.response->stream) || static_cast<bool>(event.response->takeOver);
  json::object line{{"kind", "Event"},
                    {"apiVersion", "audit.k8s.io/v1"},
                    {"level", "Metadata"},
                    {"auditID", event.id},
                    {"stage", streams ? "ResponseStarted" : "ResponseComplete"},
                    {"requestURI", request.target},
                    {"verb", event.info->verb},
                    {"user", event.user != nullptr ? auth::toJson(*event.user) : json::object()}};
  if (event.impersonated) line["impersonatedUser"] = auth::toJson(*event.impersonated);
  line["sourceIPs"] = json::array{request.remote.substr(0, request.remote.rfind(':'))};
  if (const std::string_view agent = request.headers.find("user-agent"); !agent.empty()) line["userAgent"] = agent.substr(0, 1024);
  if (event.info->isResource) line["objectRef"] = objectRef(*event.info);
  line["responseStatus"] = responseStatus(*event.response);
  line["requestReceivedTimestamp"] = rfc3339Micro(event.received);
  line["stageTimestamp"] = rfc3339Micro(event.answered);
  if (!event.annotations.empty()) {
    json::object annotations;
    for (const auto& [key, value] : event.annotations) annotations[key] = value;
    line["annotations"] = std::move(annotations);
  }
  return json::serialize(line) + "\n";
}

Result<std::unique_ptr<AuditLog>> AuditLog::open(const std::filesystem::path& path) {
  const int file = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0) return Error{Reason::BadRequest, "cannot open the audit log " + path.string() + ": " + std::strerror(errno)};
  return std::unique_ptr<AuditLog>(new AuditLog(file));
}

AuditLog::AuditLog(int file) : file_(file), thread_([this] { run(); }) {}

AuditLog::~AuditLog() {
  {
    std::lock_guard lock(mutex_);
    over_ = true;
  }
  wake_.notify_one();
  thread_.join();
  ::close(file_);
}

void AuditLog::write(std::string line) {
  {
    std::lock_guard lock(mutex_);
    if (lines_.size() >= kWaiting) {
      ++dropped_;
      return;
    }
    lines_.push_back(std::move(line));
  }
  wake_.notify_one();
}

void AuditLog::run() {
  std::unique_lock lock(mutex_);
  bool failing = false;
  for (;;) {
    wake_.wait(lock, [this] { return over_ || !lines_.empty(); });
    if (lines_.empty()) return;
    std::deque<std::string> batch;
    batch.swap(lines_);
    lock.unlock();
    std::string bytes;
    for (const std::string& line : batch) bytes += line;
    std::size_t done = 0;
    while (done < bytes.size()) {
      const ssize_t count = ::write(file_, bytes.data() + done, bytes.size() - done);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) break;
      done += static_cast<std::size_t>(count);
    }
    const bool whole = done == bytes.size();
    if (!whole) dropped_ += batch.size();
    if (!whole && !failing) log::error("audit log not written", {{"err", std::strerror(errno)}});  // once, not for each line
    failing = !whole;
    lock.lock();
  }
}

}  // namespace podpass::server
