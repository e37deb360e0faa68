#include "node/handler.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>

#include <cstring>
#include <thread>

#include "api/version.h"
#include "base/text.h"
#include "http/client.h"
#include "node/beneath.h"

namespace podpass::node {

namespace {

using std::chrono::seconds;

constexpr std::size_t kLongestText = 10 << 10;

// A port is a number, or the name of one of the container's.
std::int64_t portOf(const json::object& action, const json::object& spec) {
  const std::string_view name = textAt(action, {"port"});
  if (name.empty()) return integerAt(action, {"port"});
  if (const json::array* ports = arrayAt(spec, {"ports"}))
    for (const json::value& port : *ports)
      if (textAt(port.as_object(), {"name"}) == name) return integerAt(port.as_object(), {"containerPort"});
  return std::strtoll(std::string(name).c_str(), nullptr, 10);
}

Answer execute(Runtime& runtime, const json::object& action, const std::string& containerId, seconds timeout) {
  std::vector<std::string> command;
  if (const json::array* words = arrayAt(action, {"command"}))
    for (const json::value& word : *words) command.emplace_back(word.as_string());
  const Result<Runtime::Execution> ran = runtime.execute(containerId, command, timeout);
  if (ran) return {ran->exitCode == 0 ? Answer::Kind::Good : Answer::Kind::Bad, ran->output.substr(0, kLongestText)};
  if (ran.error().reason == Reason::Timeout) return {Answer::Kind::Bad, "command timed out"};
  // a command that is not in the image is the pod's fault, a runtime that is away is not
  const bool absent = ran.error().sentence.find("OCI runtime exec failed") != std::string::npos;
  return {absent ? Answer::Kind::Bad : Answer::Kind::Error, ran.error().sentence};
}

Answer get(const json::object& action, const json::object& spec, const std::string& podIp, seconds timeout) {
  std::string host(textAt(action, {"host"})), path(textAt(action, {"path"}));
  if (host.empty()) host = podIp;
  if (host.find(':') != std::string::npos) host = "[" + host + "]";
  if (!path.starts_with('/')) path.insert(0, 1, '/');
  const bool tls = textAt(action, {"scheme"}) == "HTTPS";
  http::FetchOptions options;
  options.timeout = timeout;
  options.insecure = true;
  options.headers.add("User-Agent", std::string("kube-probe/") + api::kMajor + "." + api::kMinor);
  options.headers.add("Accept", "*/*");
  if (const json::array* headers = arrayAt(action, {"httpHeaders"}))
    for (const json::value& header : *headers)
      options.headers.add(std::string(textAt(header.as_object(), {"name"})), std::string(textAt(header.as_object(), {"value"})));
  const std::string url = (tls ? "https://" : "http://") + host + ":" + std::to_string(portOf(action, spec)) + path;
  const Result<http::Fetched> fetched = http::fetch(url, options);
  if (!fetched) {
    if (fetched.error().reason == Reason::RequestTooLarge) return {Answer::Kind::Good, {}};
    return {Answer::Kind::Bad, "Get " + quoted(url) + ": " + fetched.error().sentence};
  }
  if (fetched->status >= 200 && fetched->status < 400) return {Answer::Kind::Good, {}};
  return {Answer::Kind::Bad, "HTTP probe failed with statuscode: " + std::to_string(fetched->status)};
}

Answer connect(const json::object& action, const json::object& spec, const std::string& podIp, seconds timeout) {
  std::string host(textAt(action, {"host"}));
  if (host.empty()) host = podIp;
  const std::string port = std::to_string(portOf(action, spec)), where = "dial tcp " + host + ":" + port + ": ";
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  if (const int failed = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &found); failed != 0)
    return {Answer::Kind::Bad, where + ::gai_strerror(failed)};
  const Descriptor opened(::socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  int failed = ::connect(opened.get(), found->ai_addr, found->ai_addrlen) == 0 ? 0 : errno;
  ::freeaddrinfo(found);
  if (failed == EINPROGRESS) {
    pollfd wait{opened.get(), POLLOUT, 0};
    if (::poll(&wait, 1, static_cast<int>(timeout.count()) * 1000) <= 0) return {Answer::Kind::Bad, where + "i/o timeout"};
    socklen_t size = sizeof(failed);
    ::getsockopt(opened.get(), SOL_SOCKET, SO_ERROR, &failed, &size);
  }
  if (failed == 0) return {Answer::Kind::Good, {}};
  return {Answer::Kind::Bad, where + "connect: " + std::strerror(failed)};
}

}  // namespace

Answer perform(Runtime& runtime, const json::object& handler, const json::object& spec, const std::string& containerId,
               const std::string& podIp, seconds timeout) {
  if (const json::object* action = objectAt(handler, {"exec"})) return execute(runtime, *action, containerId, timeout);
  if (const json::object* action = objectAt(handler, {"httpGet"})) return get(*action, spec, podIp, timeout);
  if (const json::object* action = objectAt(handler, {"tcpSocket"})) return connect(*action, spec, podIp, timeout);
  if (const json::object* action = objectAt(handler, {"sleep"})) {
    std::this_thread::sleep_for(std::min(seconds(integerAt(*action, {"seconds"})), timeout));
    return {Answer::Kind::Good, {}};
  }
  return {Answer::Kind::Error, "the handler names none of exec, httpGet, tcpSocket"};
}

}  // namespace podpass::node
