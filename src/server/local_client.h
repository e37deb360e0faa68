#pragma once

#include <boost/asio/thread_pool.hpp>

#include "api/client.h"
#include "server/api_server.h"

namespace podpass::server {

// The api::Client of this process: the same authorization, admission and registry as over HTTP, without the wire. Blocking; thread-safe.
class LocalClient final : public api::Client {
 public:
  LocalClient(auth::User user, Registry& registry, ApiServer& server, const auth::Authorizer& authorizer)
      : user_(std::move(user)), registry_(registry), server_(server), authorizer_(authorizer) {}
  ~LocalClient() override;

  Result<DocumentPtr> get(const api::Kind& kind, const api::ObjectName& name) override;
  Result<api::Listing> list(const api::Kind& kind, const std::string& ns, const api::Selectors& selectors) override;
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

 private:
  Result<void> authorize(const api::Kind& kind, std::string_view verb, const api::ObjectName& name, std::string_view subresource,
                         const std::string& fields = {}) const;

  auth::User user_;
  Registry& registry_;
  ApiServer& server_;
  const auth::Authorizer& authorizer_;
  asio::thread_pool pool_{2};
};

}  // namespace podpass::server
