#include "server/streaming.h"

#include <charconv>

#include "base/offload.h"
#include "base/text.h"
#include "server/request_info.h"
#include "server/status.h"

namespace podpass::server {
namespace {

using namespace std::chrono_literals;

std::vector<std::string> containersOf(const json::object& pod) {
  std::vector<std::string> names;
  for (const char* group : {"containers", "initContainers", "ephemeralContainers"})
    if (const json::array* all = arrayAt(pod, {"spec", group}))
      for (const json::value& each : *all)
        if (each.is_object()) names.emplace_back(textAt(each.get_object(), {"name"}));
  return names;
}

Result<std::string> chosenContainer(const http::Request& request, const json::object& pod) {
  const std::string name(textAt(pod, {"metadata", "name"}));
  const std::string asked = request.parameter("container").value_or("");
  const std::vector<std::string> all = containersOf(pod);
  if (!asked.empty()) {
    if (std::find(all.begin(), all.end(), asked) != all.end()) return asked;
    return Error{Reason::BadRequest, "container " + asked + " is not valid for pod " + name};
  }
  const json::array* regular = arrayAt(pod, {"spec", "containers"});
  if (regular != nullptr && regular->size() == 1) return all.front();
  std::string list;
  for (std::size_t i = 0; regular != nullptr && i < regular->size(); ++i) list += (i > 0 ? " " : "") + all[i];
  return Error{Reason::BadRequest, "a container name must be specified for pod " + name + ", choose one of: [" + list + "]"};
}

bool flag(const http::Request& request, std::string_view name) { return parseBool(request.parameter(name).value_or("")).value_or(false); }

struct Target {
  std::string host, path;
  unsigned short port = 0;
};

Result<Target> targetOf(const std::string& url) {
  constexpr std::string_view kScheme = "http://";
  const std::size_t slash = url.find('/', kScheme.size()), colon = url.find(':', kScheme.size());
  if (!url.starts_with(kScheme) || slash == std::string::npos || colon == std::string::npos || colon > slash)
    return Error{Reason::Unavailable, "the runtime gave a streaming address that is not understood"};
  return Target{url.substr(kScheme.size(), colon - kScheme.size()), url.substr(slash),
                static_cast<unsigned short>(std::atoi(url.substr(colon + 1, slash - colon - 1).c_str()))};
}

// The client's request as the runtime shall see it: its own path, our authorization left out.
std::string forwarded(const http::Request& request, const Target& target) {
  std::string text = request.method + " " + target.path + " HTTP/1.1\r\nHost: " + target.host + ":" + std::to_string(target.port) + "\r\n";
  for (const http::Header& header : request.headers.all()) {
    std::string name = header.name;
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    if (name == "host" || name == "authorization" || name == "origin" || name.starts_with("impersonate-") || name == "content-length")
      continue;
    text += header.name + ": " + header.value + "\r\n";
  }
  return text + "\r\n";
}

// `?ports=80,443`, which a WebSocket names before it is one; over SPDY each stream names its own.
Result<std::vector<std::int32_t>> portsOf(const http::Request& request) {
  std::vector<std::int32_t> ports;
  for (const std::string& list : request.parameters("ports"))
    for (std::size_t begin = 0, end = 0; end != list.size(); begin = end + 1) {
      end = std::min(list.find(',', begin), list.size());
      std::uint16_t port = 0;
      const auto [stopped, failed] = std::from_chars(list.data() + begin, list.data() + end, port);
      if (failed != std::errc() || stopped != list.data() + end || port == 0)
        return Error{Reason::BadRequest, quoted(list.substr(begin, end - begin)) + " is no port"};
      ports.push_back(port);
    }
  return ports;
}

asio::awaitable<void> passThrough(std::shared_ptr<http::ByteStream> client, Target target, std::string head) {
  Result<std::shared_ptr<http::ByteStream>> runtime = co_await http::connectTcp(target.host, target.port);
  if (!runtime) {
    const std::string refusal = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    co_await client->write(refusal);
    co_return;
  }
  Result<void> sent = co_await (*runtime)->write(head);
  if (sent) co_await http::relay(client, *runtime);
}

asio::awaitable<http::Response> upgraded(const http::Request& request, const std::string& subresource, DocumentPtr pod,
                                         api::NodeAccess* node, asio::thread_pool& waiters) {
  const std::string_view upgrade = request.headers.find("upgrade");
  if (upgrade.empty()) co_return failure(Error{Reason::BadRequest, "Upgrade request required"});
  const std::string_view protocols = request.headers.find("sec-websocket-protocol");
  const bool webSocket = upgrade == "websocket" || upgrade == "WebSocket";
  const bool older = protocols.find("v4.channel.k8s.io") != std::string_view::npos || protocols.find("channel.k8s.io") == 0;
  if (webSocket && !older)
    co_return failure(Error{Reason::BadRequest, "unable to upgrade: this server speaks SPDY/3.1 and v4.channel.k8s.io, not " +
                                                    std::string(protocols.substr(0, 128))});
  Result<std::string> url = Error{};
  if (subresource == "portforward") {
    const Result<std::vector<std::int32_t>> ports = portsOf(request);
    if (!ports) co_return failure(ports.error());
    auto ask = [node, pod, ports = *ports] { return node->portForwardUrl(pod->value, ports); };
    url = co_await offload(waiters, std::move(ask));
  } else {
    Result<std::string> container = chosenContainer(request, pod->value);
    if (!container) co_return failure(container.error());
    api::ExecRequest exec{request.parameters("command"), flag(request, "tty"), flag(request, "stdin"), flag(request, "stdout"),
                          flag(request, "stderr")};
    if (subresource == "exec" && exec.command.empty())
      co_return failure(Error{Reason::BadRequest, "you must specify at least one command"});
    if (!exec.in && !exec.out && !exec.err)
      co_return failure(Error{Reason::BadRequest, "you must specify at least 1 of stdin, stdout, stderr"});
    auto ask = [node, pod, exec, name = *container] { return node->streamUrl(pod->value, name, exec); };
    url = co_await offload(waiters, std::move(ask));
  }
  if (!url) co_return failure(url.error());
  Result<Target> target = targetOf(*url);
  if (!target) co_return failure(target.error());
  http::Response response;
  std::string head = forwarded(request, *target);
  response.takeOver = [target = *target, head = std::move(head)](std::shared_ptr<http::ByteStream> client) -> asio::awaitable<void> {
    return passThrough(std::move(client), target, head);
  };
  co_return response;
}

asio::awaitable<void> pump(http::BodyWriter& out, std::shared_ptr<api::LogStream> log, asio::thread_pool& waiters) {
  while (!out.closed()) {
    auto next = [log] { return log->next(500ms); };
    std::optional<std::string> bytes = co_await offload(waiters, std::move(next));
    if (!bytes) co_return;
    if (bytes->empty()) continue;
    auto chunk = std::make_shared<const std::string>(*std::move(bytes));
    const bool more = co_await out.write(std::move(chunk));
    if (!more) co_return;
  }
}

Result<std::optional<std::int64_t>> optionalNumber(const http::Request& request, const std::string& pod, const char* name) {
  const std::optional<std::string> text = request.parameter(name);
  if (!text) return std::optional<std::int64_t>();
  char* end = nullptr;
  const std::int64_t value = std::strtoll(text->c_str(), &end, 10);
  if (text->empty() || *end != '\0')
    return Error{Reason::BadRequest, "strconv.ParseInt: parsing " + quoted(text->substr(0, 64)) + ": invalid syntax"};
  if (value < 0) {
    const std::string why = "Invalid value: " + *text + ": must be greater than or equal to 0";
    Error error{.reason = Reason::Invalid, .sentence = "PodLogOptions " + quoted(pod) + " is invalid: " + name + ": " + why};
    error.causes.push_back({name, why});
    return error;
  }
  return std::optional<std::int64_t>(value);
}

asio::awaitable<http::Response> logs(const http::Request& request, DocumentPtr pod, api::NodeAccess* node, asio::thread_pool& waiters) {
  const std::string name(textAt(pod->value, {"metadata", "name"}));
  Result<std::string> container = chosenContainer(request, pod->value);
  if (!container) co_return failure(container.error());
  Result<std::optional<std::int64_t>> tail = optionalNumber(request, name, "tailLines"),
                                      limit = optionalNumber(request, name, "limitBytes"),
                                      seconds = optionalNumber(request, name, "sinceSeconds");
  for (const auto* each : {&tail, &limit, &seconds})
    if (!*each) co_return failure(each->error());
  api::LogRequest asked{flag(request, "follow"), flag(request, "previous"), flag(request, "timestamps"), *tail, *limit, std::nullopt};
  if (*seconds) asked.since = std::chrono::system_clock::now() - std::chrono::seconds(**seconds);
  if (const auto text = request.parameter("sinceTime")) {
    Result<WallTime> since = parseRfc3339(*text);
    if (!since) co_return failure(since.error());
    asked.since = *since;
  }
  auto open = [node, pod, asked, chosen = *container] { return node->logs(pod->value, chosen, asked); };
  Result<std::unique_ptr<api::LogStream>> opened = co_await offload(waiters, std::move(open));
  if (!opened) co_return failure(opened.error());
  http::Response response;
  response.headers.add("Content-Type", "text/plain");
  std::shared_ptr<api::LogStream> log = *std::move(opened);
  response.stream = [log, &waiters](http::BodyWriter& out) -> asio::awaitable<void> { return pump(out, log, waiters); };
  co_return response;
}

}  // namespace

asio::awaitable<http::Response> stream(const http::Request& request, std::string subresource, DocumentPtr pod, api::NodeAccess* node,
                                       asio::thread_pool& waiters) {
  const std::string name(textAt(pod->value, {"metadata", "name"})), host(textAt(pod->value, {"spec", "nodeName"}));
  if (host.empty()) co_return failure(Error{Reason::BadRequest, "pod " + name + " does not have a host assigned"});
  if (node == nullptr)
    co_return failure(Error{Reason::Unavailable, "no node agent runs for node " + host, "start podpass up without --node off"});
  if (subresource == "log") co_return co_await logs(request, std::move(pod), node, waiters);
  co_return co_await upgraded(request, subresource, std::move(pod), node, waiters);
}

}  // namespace podpass::server
