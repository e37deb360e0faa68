#include <openssl/crypto.h>

#include "client/remote_client.h"
#include "client/remote_target.h"
#include "client/remote_watch.h"
#include "http/web_socket.h"

namespace podpass::client {
namespace {

using namespace std::chrono_literals;

constexpr const char* kProtocol = "v4.channel.k8s.io";  // the newest that every API server and runtime speaks
constexpr std::size_t kMostOutput = 1u << 20;
constexpr char kStdout = 1, kStderr = 2, kStatus = 3;  // the first byte of a message

// Whoever destroys it leaves nothing of what the command said.
struct Output {
  std::string out, err, status;
  ~Output() { OPENSSL_cleanse(out.data(), out.size()); }

  void add(std::string_view message) {
    if (message.empty()) return;
    std::string* const channel = message[0] == kStdout ? &out : message[0] == kStderr ? &err : message[0] == kStatus ? &status : nullptr;
    if (channel != nullptr) channel->append(message.substr(1));
  }
};

// The Status that ends the session: Success, Failure with the exit code, or why it could not be run.
Result<Executed> resultOf(const Output& output) {
  boost::system::error_code failed;
  const json::value parsed = json::parse(output.status, failed);
  const json::object* status = failed ? nullptr : parsed.if_object();
  if (status == nullptr) return Error{Reason::Unavailable, "the command's end was not told"};
  Executed executed{Secret(output.out), output.err, 0};
  if (textAt(*status, {"status"}) == "Success") return executed;
  const json::array* causes = arrayAt(*status, {"details", "causes"});
  if (textAt(*status, {"reason"}) == "NonZeroExitCode" && causes != nullptr)
    for (const json::value& cause : *causes)
      if (cause.is_object() && textAt(cause.get_object(), {"reason"}) == "ExitCode") {
        executed.exitCode = std::atoi(std::string(textAt(cause.get_object(), {"message"})).c_str());
        return executed;
      }
  return errorOf(*status, 500);
}

}  // namespace

Result<Executed> RemoteClient::exec(const api::ObjectName& pod, const std::string& container, const std::vector<std::string>& command) {
  std::string url = access_.server + targetOf(*api::findKind("", "v1", "pods"), pod, "exec") +
                    "?stdout=true&stderr=true&container=" + urlEscaped(container);
  for (const std::string& word : command) url += "&command=" + urlEscaped(word);
  http::FetchOptions options = optionsFor(access_);
  options.timeout = 15s;
  options.maxBody = kMostOutput;
  options.headers.add("Accept", "*/*");  // in place of JSON: containerd answers 406 to whoever asks for a form of answer
  Result<Secret> bearer = credentials_.bearer();
  if (!bearer) return bearer.error();
  options.bearer = *std::move(bearer);
  Output output;
  const Result<http::Fetched> answer =
      http::listenToWebSocket(url, kProtocol, options, [&output](std::string_view message) { output.add(message); });
  if (!answer) return answer.error();
  if (answer->status == 101) return resultOf(output);
  const Result<json::object> refusal = objectIn(*answer, access_.server);
  if (!refusal) return refusal.error();
  return Error{Reason::Unavailable, access_.server + " answers an exec with status " + std::to_string(answer->status)};
}

}  // namespace podpass::client
