#include "client/remote_client.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_future.hpp>

#include "client/remote_target.h"
#include "client/remote_watch.h"

namespace podpass::client {
namespace {

std::string bodyOf(const api::DeleteOptions& options) {
  json::object body{{"apiVersion", "v1"}, {"kind", "DeleteOptions"}};
  if (options.gracePeriodSeconds) body["gracePeriodSeconds"] = *options.gracePeriodSeconds;
  if (!options.propagationPolicy.empty()) body["propagationPolicy"] = options.propagationPolicy;
  if (!options.uid.empty()) makeObjectAt(body, {"preconditions"})["uid"] = options.uid;
  if (!options.resourceVersion.empty()) makeObjectAt(body, {"preconditions"})["resourceVersion"] = options.resourceVersion;
  return json::serialize(body);
}

}  // namespace

RemoteClient::RemoteClient(Access access, bool withOwners) : access_(std::move(access)), withOwners_(withOwners), credentials_(access_) {}

RemoteClient::~RemoteClient() { watches_.join(); }

Result<json::object> RemoteClient::ask(std::string method, std::string target, std::string body, std::string contentType) {
  for (bool again = false;; again = true) {
    http::FetchOptions options = optionsFor(access_);
    options.method = method;
    options.body = body;
    if (!body.empty()) options.headers.add("Content-Type", contentType);
    Result<Secret> bearer = credentials_.bearer();
    if (!bearer) return bearer.error();
    options.bearer = *std::move(bearer);
    Result<http::Fetched> fetched = http::fetch(http_, access_.server + target, options);
    if (!fetched) return noAnswer(access_, fetched.error());
    if (fetched->status == 401) {
      credentials_.refused();
      if (!again && (!access_.tokenFile.empty() || !access_.exec.empty())) continue;
    }
    Result<json::object> answer = objectIn(*fetched, access_.server);
    if (answer || !answer.error().fix.empty()) return answer;
    Error error = answer.error();
    if (error.reason == Reason::Unauthorized)
      error.fix = "the credentials in the " + access_.origin + " are not, or no longer, accepted by " + access_.server;
    if (error.reason == Reason::Forbidden) error.fix = "grant it with RBAC, or choose another user with --context or --kubeconfig";
    return error;
  }
}

Result<DocumentPtr> RemoteClient::askForObject(std::string method, std::string target, const json::object& body, std::string contentType) {
  Result<json::object> answer =
      ask(std::move(method), std::move(target), body.empty() ? "" : json::serialize(body), std::move(contentType));
  if (!answer) return answer.error();
  return documentOf(*std::move(answer), withOwners_);
}

Result<DocumentPtr> RemoteClient::get(const api::Kind& kind, const api::ObjectName& name) {
  return askForObject("GET", targetOf(kind, name), {});
}

Result<api::Listing> RemoteClient::list(const api::Kind& kind, const std::string& ns, const api::Selectors& selectors) {
  api::Listing listing;
  const Result<std::uint64_t> revision = listInPages(kind, ns, selectors, [&listing](const std::vector<DocumentPtr>& items) {
    listing.items.insert(listing.items.end(), items.begin(), items.end());
  });
  if (!revision) return revision.error();
  listing.revision = *revision;
  return listing;
}

Result<std::uint64_t> RemoteClient::listInPages(const api::Kind& kind, const std::string& ns, const api::Selectors& selectors,
                                                const Page& page) {
  Listed listed;
  const Page both = [&](const std::vector<DocumentPtr>& items) {
    for (const DocumentPtr& item : items) know(listed.objects, *item);
    page(items);
  };
  const Result<std::uint64_t> revision =
      boost::asio::co_spawn(watches_, listPages(http_, access_, credentials_, kind, ns, selectors, both), boost::asio::use_future).get();
  if (!revision) return revision;
  listed.revision = *revision;
  const std::lock_guard lock(mutex_);
  listed_[targetOf(kind, {ns, ""}) + "?" + queryOf(selectors)] = std::move(listed);
  return revision;
}

Result<DocumentPtr> RemoteClient::create(const api::Kind& kind, const std::string& ns, json::object object) {
  object["apiVersion"] = kind.apiVersion();
  object["kind"] = kind.kind;
  return askForObject("POST", targetOf(kind, {ns, ""}), object);
}

Result<DocumentPtr> RemoteClient::update(const api::Kind& kind, const api::ObjectName& name, json::object object) {
  return updateSubresource(kind, name, "", std::move(object));
}

Result<DocumentPtr> RemoteClient::updateStatus(const api::Kind& kind, const api::ObjectName& name, json::object object) {
  return updateSubresource(kind, name, "status", std::move(object));
}

Result<DocumentPtr> RemoteClient::updateSubresource(const api::Kind& kind, const api::ObjectName& name, std::string_view subresource,
                                                    json::object object) {
  object["apiVersion"] = kind.apiVersion();
  object["kind"] = kind.kind;
  return askForObject("PUT", targetOf(kind, name, subresource), object);
}

Result<DocumentPtr> RemoteClient::mergePatch(const api::Kind& kind, const api::ObjectName& name, json::object patch,
                                             std::string_view subresource) {
  return askForObject("PATCH", targetOf(kind, name, subresource), patch, "application/merge-patch+json");
}

Result<void> RemoteClient::remove(const api::Kind& kind, const api::ObjectName& name, const api::DeleteOptions& options) {
  Result<json::object> answer = ask("DELETE", targetOf(kind, name), bodyOf(options));
  if (!answer) return answer.error();
  return {};
}

Result<void> RemoteClient::removeAll(const api::Kind& kind, const std::string& ns, const api::DeleteOptions& options) {
  return remove(kind, {ns, ""}, options);
}

Result<json::object> RemoteClient::createSubresource(const api::Kind& kind, const api::ObjectName& name, std::string_view subresource,
                                                     json::object body) {
  return ask("POST", targetOf(kind, name, subresource), json::serialize(body));
}

Result<std::unique_ptr<api::Watching>> RemoteClient::watch(const api::Kind& kind, const std::string& ns, const api::Selectors& selectors,
                                                           std::uint64_t since, std::function<void(const api::WatchEvent&)> changed) {
  WatchRequest request{kind, ns, selectors, {}, since, std::move(changed)};
  {
    const std::lock_guard lock(mutex_);
    const auto last = listed_.find(targetOf(kind, {ns, ""}) + "?" + queryOf(selectors));
    if (last != listed_.end()) {
      if (last->second.revision == since) request.start = std::move(last->second.objects);
      listed_.erase(last);
    }
  }
  return startWatch(watches_, http_, access_, credentials_, std::move(request));
}

}  // namespace podpass::client
