#include "irsa/connect_proxy.h"

#include <algorithm>

#include "api/iam_names.h"
#include "base/log.h"
#include "base/text.h"
#include "http/tunnel.h"

namespace podpass::irsa {
namespace {

namespace asio = http::asio;

constexpr std::chrono::minutes kIdle{5};

constexpr std::string_view kRegions[] = {
    "af-south-1",     "ap-east-1",      "ap-east-2",      "ap-northeast-1", "ap-northeast-2", "ap-northeast-3",
    "ap-south-1",     "ap-south-2",     "ap-southeast-1", "ap-southeast-2", "ap-southeast-3", "ap-southeast-4",
    "ap-southeast-5", "ap-southeast-6", "ap-southeast-7", "ca-central-1",   "ca-west-1",      "eu-central-1",
    "eu-central-2",   "eu-north-1",     "eu-south-1",     "eu-south-2",     "eu-west-1",      "eu-west-2",
    "eu-west-3",      "il-central-1",   "me-central-1",   "me-south-1",     "mx-central-1",   "sa-east-1",
    "us-east-1",      "us-east-2",      "us-gov-east-1",  "us-gov-west-1",  "us-west-1",      "us-west-2"};

http::Response refusal(int status, std::string text) {
  http::Response response;
  response.status = status;
  response.headers.add("Content-Type", "text/plain; charset=utf-8");
  response.body = std::make_shared<const std::string>(std::move(text) + "\n");
  return response;
}

asio::awaitable<void> serve(std::shared_ptr<http::ByteStream> client, std::string remote, unsigned short stsPort, Tunnels& tunnels) {
  const std::string host = "127.0.0.1";
  Result<http::Tunnel> sts = co_await http::openTunnel(host, stsPort);
  if (!sts) {
    log::warn("proxy cannot reach the STS", {{"err", log::chain(sts.error())}});
    const std::string_view head = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n";
    const Result<void> told = co_await client->write(head);
    if (!told) log::debug("proxy client has gone", {{"remote", remote}});
    client->close();
    co_return;
  }
  const Tunnels::Entry entry(tunnels, sts->local, remote);  // before the client can speak to the STS
  const std::string_view head = "HTTP/1.1 200 Connection established\r\n\r\n";
  const Result<void> told = co_await client->write(head);
  if (told) co_await http::relay(client, sts->stream, kIdle);
  client->close();
  sts->stream->close();
}

asio::awaitable<http::Response> answer(std::shared_ptr<const http::Request> request, unsigned short stsPort, Tunnels& tunnels) {
  if (request->method != "CONNECT") co_return refusal(405, "this proxy answers CONNECT to the host names of AWS STS only");
  const std::vector<std::string>& names = stsHostNames();
  const std::size_t colon = request->target.rfind(':');
  const std::string host = api::lowered(std::string_view(request->target).substr(0, colon));
  const bool known =
      colon != std::string::npos && request->target.substr(colon) == ":443" && std::find(names.begin(), names.end(), host) != names.end();
  if (!known) {
    log::info("proxy request refused", {{"host", request->target.substr(0, 128)}, {"remote", request->remote}});
    co_return refusal(403, "this proxy leads to AWS STS only, and not to " + quoted(request->target.substr(0, 128)));
  }
  http::Response response;
  response.takeOver = [remote = request->remote, stsPort, &tunnels](std::shared_ptr<http::ByteStream> client) {
    return serve(std::move(client), remote, stsPort, tunnels);
  };
  co_return response;
}

}  // namespace

const std::vector<std::string>& stsHostNames() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all{"sts.amazonaws.com"};
    for (const std::string_view region : kRegions) all.push_back("sts." + std::string(region) + ".amazonaws.com");
    for (const std::string_view region : {"cn-north-1", "cn-northwest-1"})
      all.push_back("sts." + std::string(region) + ".amazonaws.com.cn");
    for (const std::string_view region : {"us-east-1", "us-east-2", "us-west-1", "us-west-2"})
      all.push_back("sts-fips." + std::string(region) + ".amazonaws.com");
    return all;
  }();
  return names;
}

std::string Tunnels::clientOf(const std::string& remote) const {
  const std::lock_guard lock(mutex_);
  const auto found = clients_.find(remote);
  return found == clients_.end() ? remote : *found->second;
}

Tunnels::Entry::Entry(Tunnels& tunnels, std::string local, const std::string& client)
    : tunnels_(tunnels), local_(std::move(local)), client_(std::make_shared<const std::string>(client)) {
  const std::lock_guard lock(tunnels_.mutex_);
  tunnels_.clients_[local_] = client_;
}

// Ports come again: the next tunnel from this one may have begun already.
Tunnels::Entry::~Entry() {
  const std::lock_guard lock(tunnels_.mutex_);
  if (const auto found = tunnels_.clients_.find(local_); found != tunnels_.clients_.end() && found->second == client_)
    tunnels_.clients_.erase(found);
}

http::Handler connectProxy(unsigned short stsPort, Tunnels& tunnels) {
  return [stsPort, &tunnels](std::shared_ptr<const http::Request> request) { return answer(std::move(request), stsPort, tunnels); };
}

}  // namespace podpass::irsa
