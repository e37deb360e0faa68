#pragma once

#include <boost/asio/thread_pool.hpp>
#include <map>
#include <mutex>

#include "api/client.h"
#include "client/kubeconfig.h"
#include "http/client.h"

namespace podpass::client {

// The bearer token that is to be sent now. Thread-safe.
class Credentials {
 public:
  explicit Credentials(const Access& access) : access_(access) {}
  // Empty: none is needed (a client certificate, or nobody in particular). Reads the token file again once a minute, and runs the exec
  // plugin when its last token has expired.
  Result<Secret> bearer();
  // The server refused it: the next bearer() is a new one.
  void refused();

 private:
  const Access& access_;
  std::mutex mutex_;
  Secret kept_;
  SteadyTime until_{};
};

// An object as far as a watch must know it.
struct KnownObject {
  std::uint64_t revision = 0;
  std::string uid;
};
using KnownObjects = std::map<std::string, KnownObject>;  // by namespace/name
struct Listed {
  KnownObjects objects;
  std::uint64_t revision = 0;
};

// What a command in a container said and how it ended.
struct Executed {
  Secret out;  // it may be a token
  std::string err;
  int exitCode = 0;
};

// The api::Client of another process' API server, podpass' or any Kubernetes', over HTTPS. Blocking; thread-safe. Objects are as the server
// sent them, but without managedFields unless they are asked for, and in lists with apiVersion and kind.
// A watch goes on until it is destroyed: it resumes where it was, and when that is too old (410) it lists again and tells the differences
// as events; so that it can tell what has vanished, start it from the revision of this client's own last list with the same arguments.
// Of objects only name, uid and revision are kept for this: what vanished unseen is told by these alone.
// `changed` runs on a thread of this client, must not call it, and must not destroy the watch.
class RemoteClient final : public api::Client {
 public:
  // `withOwners`: objects keep their managedFields.
  explicit RemoteClient(Access access, bool withOwners = false);
  ~RemoteClient() override;
  [[nodiscard]] const Access& access() const { return access_; }

  Result<DocumentPtr> get(const api::Kind& kind, const api::ObjectName& name) override;
  Result<api::Listing> list(const api::Kind& kind, const std::string& ns, const api::Selectors& selectors) override;
  Result<std::uint64_t> listInPages(const api::Kind& kind, const std::string& ns, const api::Selectors& selectors,
                                    const Page& page) override;
  Result<DocumentPtr> create(const api::Kind& kind, const std::string& ns, json::object object) override;
  Result<DocumentPtr> update(const api::Kind& kind, const api::ObjectName& name, json::object object) override;
  Result<DocumentPtr> updateStatus(const api::Kind& kind, const api::ObjectName& name, json::object object) override;
  Result<DocumentPtr> updateSubresource(const api::Kind& kind, const api::ObjectName& name, std::string_view subresource,
                                        json::object object) override;
  Result<DocumentPtr> mergePatch(const api::Kind& kind, const api::ObjectName& name, json::object patch,
                                 std::string_view subresource = {}) override;
  Result<void> remove(const api::Kind& kind, const api::ObjectName& name, const api::DeleteOptions& options = {}) override;
  Result<void> removeAll(const api::Kind& kind, const std::string& ns, const api::DeleteOptions& options = {}) override;
  Result<json::object> createSubresource(const api::Kind& kind, const api::ObjectName& name, std::string_view subresource,
                                         json::object body) override;
  Result<std::unique_ptr<api::Watching>> watch(const api::Kind& kind, const std::string& ns, const api::Selectors& selectors,
                                               std::uint64_t since, std::function<void(const api::WatchEvent&)> changed) override;

  // Runs a command in a container of a pod, without a shell and without input; at most 1 MiB of output, within 15 s. Forbidden, NotFound
  // and so on: the server refused it. Internal: it could not be started, as when there is no such program. Sent as a WebSocket.
  Result<Executed> exec(const api::ObjectName& pod, const std::string& container, const std::vector<std::string>& command);

 private:
  Result<json::object> ask(std::string method, std::string target, std::string body = {}, std::string contentType = "application/json");
  Result<DocumentPtr> askForObject(std::string method, std::string target, const json::object& body,
                                   std::string contentType = "application/json");

  const Access access_;
  const bool withOwners_;
  Credentials credentials_;
  http::Client http_;
  std::mutex mutex_;
  std::map<std::string, Listed> listed_;  // by target: what the next watch starts from
  boost::asio::thread_pool watches_{1};
};

}  // namespace podpass::client
