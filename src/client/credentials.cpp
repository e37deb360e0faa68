#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/codec.h"
#include "base/document.h"
#include "base/file.h"
#include "base/text.h"
#include "client/remote_client.h"

extern char** environ;

namespace podpass::client {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

constexpr std::chrono::seconds kReread = 60s;      // of a token file, as client-go does
constexpr std::chrono::seconds kPluginTime = 60s;  // somebody may have to log in
constexpr std::size_t kMaxOutput = 1u << 20;

Error failed(const ExecPlugin& plugin, const std::string& why) {
  return Error{Reason::Unauthorized, "the credential plugin " + plugin.command + " " + why, "run it by hand to see what is wrong"};
}

std::vector<char*> pointersTo(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

// Standard output until the end of file; false: too much, or too late.
bool readAll(int from, std::string& output) {
  const auto deadline = steady_clock::now() + kPluginTime;
  char buffer[4096];
  while (output.size() <= kMaxOutput) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - steady_clock::now());
    pollfd asked{from, POLLIN, 0};
    if (left <= 0ms || ::poll(&asked, 1, static_cast<int>(left.count())) <= 0) return false;
    const ssize_t count = ::read(from, buffer, sizeof buffer);
    if (count <= 0) return count == 0;
    output.append(buffer, static_cast<std::size_t>(count));
  }
  return false;
}

Result<std::string> run(const ExecPlugin& plugin) {
  std::vector<std::string> arguments = plugin.arguments, variables = plugin.environment;
  arguments.insert(arguments.begin(), plugin.command);
  for (char** variable = environ; *variable != nullptr; ++variable) variables.emplace_back(*variable);
  variables.push_back("KUBERNETES_EXEC_INFO=" +
                      json::serialize(json::object{
                          {"apiVersion", plugin.apiVersion}, {"kind", "ExecCredential"}, {"spec", json::object{{"interactive", false}}}}));
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return failed(plugin, "cannot be started");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
  pid_t child = 0;
  const int problem =
      ::posix_spawnp(&child, plugin.command.c_str(), &actions, nullptr, pointersTo(arguments).data(), pointersTo(variables).data());
  posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  std::string output;
  const bool complete = problem == 0 && readAll(ends[0], output);
  ::close(ends[0]);
  if (problem != 0) return failed(plugin, std::string("cannot be started: ") + std::strerror(problem));
  if (!complete) ::kill(child, SIGKILL);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  if (!complete) return failed(plugin, "did not finish within a minute, or printed more than 1 MiB");
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    return failed(plugin, "failed with exit status " + std::to_string(WIFEXITED(status) ? WEXITSTATUS(status) : -1));
  return output;
}

}  // namespace

Result<Secret> Credentials::bearer() {
  const std::lock_guard lock(mutex_);
  if (!access_.token.empty()) return access_.token;
  if (access_.tokenFile.empty() && access_.exec.empty()) return Secret();
  if (!kept_.empty() && steady_clock::now() < until_) return kept_;
  if (!access_.tokenFile.empty()) {
    Result<std::string> text = readFile(access_.tokenFile, 1u << 20);
    if (!text) return Error{Reason::Unauthorized, "the token of the " + access_.origin + " cannot be read: " + text.error().sentence};
    while (!text->empty() && std::isspace(static_cast<unsigned char>(text->back())) != 0) text->pop_back();
    kept_ = Secret(*text);
    until_ = steady_clock::now() + kReread;
    return kept_;
  }
  Result<std::string> output = run(access_.exec);
  if (!output) return output.error();
  Result<json::value> parsed = api::parseJson(*output);
  if (!parsed || !parsed->is_object()) return failed(access_.exec, "printed no ExecCredential");
  const json::object& credential = parsed->get_object();
  kept_ = Secret(textAt(credential, {"status", "token"}));
  if (kept_.empty()) return failed(access_.exec, "printed no status.token");
  until_ = SteadyTime::max();
  if (Result<WallTime> expires = parseRfc3339(textAt(credential, {"status", "expirationTimestamp"})))
    until_ = steady_clock::now() + (*expires - WallTime::clock::now());
  return kept_;
}

void Credentials::refused() {
  const std::lock_guard lock(mutex_);
  until_ = {};
}

}  // namespace podpass::client
