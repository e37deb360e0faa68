#pragma once

#include <condition_variable>
#include <thread>

#include "api/client.h"
#include "irsa/webhook.h"

// Keeps the webhook's sources current from an API server: all service accounts, and, when asked, the
// ConfigMap pod-identity-webhook and podpass's own kinds.
namespace podpass::irsa {

// Follows the objects of one kind on a thread of its own: a list, a watch from there, and both again after `relist`, or with growing pauses
// when the server is away. A kind that the server does not have has no objects; it is asked for again now and then, because its
// CustomResourceDefinition may come later. Ends when it is destroyed.
class Following {
 public:
  struct Pauses {
    std::chrono::milliseconds first{100}, longest{30'000};  // after failures, doubled each time
    std::chrono::milliseconds absent{60'000};
    std::chrono::milliseconds relist{6 * 3'600'000};  // against whatever a watch has missed
  };
  struct Handlers {
    // A list, in pages; a first page begins anew, because the list before may have failed half-way. On the client's thread.
    std::function<void(const std::vector<DocumentPtr>& items, bool first)> page;
    std::function<void()> complete;                       // there are no others
    std::function<void(const api::WatchEvent&)> changed;  // on the client's thread
  };
  Following(api::Client& client, const api::Kind& kind, std::string ns, api::Selectors selectors, Handlers handlers, Pauses pauses);
  ~Following();
  Following(const Following&) = delete;
  Following& operator=(const Following&) = delete;
  // Once a list was complete, or the kind was known not to be there.
  [[nodiscard]] bool synced() const { return synced_; }

 private:
  void run();
  Result<void> listAndWatch();
  bool sleep(std::chrono::milliseconds time);  // false: it is over

  api::Client& client_;
  const api::Kind& kind_;
  std::string ns_;
  api::Selectors selectors_;
  Handlers handlers_;
  Pauses pauses_;
  std::atomic<bool> synced_{false};
  std::unique_ptr<api::Watching> watching_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool over_ = false;
  std::thread thread_;
};

class ClusterWatch {
 public:
  // `configMapNamespace` empty: the ConfigMap is not read. `ownKinds`: TokenInjections and PodIdentityAssociations are, which a cluster has
  // whose API server is podpass, or where their CustomResourceDefinitions were applied.
  ClusterWatch(api::Client& client, WebhookSources& sources, const AwsSettings& settings, const std::string& configMapNamespace,
               bool ownKinds, Following::Pauses pauses = {});

  [[nodiscard]] bool synced() const;
  // For the webhook's live reads.
  static LiveReads::Read reader(api::Client& client, const AwsSettings& settings);

 private:
  std::vector<std::unique_ptr<Following>> followed_;
};

// What a read was for, in words ("list serviceaccounts in shop"), and why it failed.
struct Unread {
  std::string what;
  Error error;
};
// Fills the sources once, as far as they decide over the service accounts of one namespace. What could not be read is told; kinds that the
// server does not have are no trouble.
std::vector<Unread> readSources(api::Client& client, WebhookSources& sources, const AwsSettings& settings, const std::string& ns,
                                const std::string& configMapNamespace);

}  // namespace podpass::irsa
