#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "api/client.h"
#include "base/clock.h"

namespace podpass::node {

// Tells which pods are to be looked at again because a Secret or ConfigMap that their volumes show has changed: one single-object watch for
// each object that at least one pod refers to, which is also all that a node may watch. A watch that failed, or is five minutes old (it may
// have ended unheard), is made anew at the next follow(). Thread-safe.
class ObjectWatches {
 public:
  // `changed` gets a pod's uid, runs on the API client's thread, and must not block or call back.
  ObjectWatches(api::Client& client, const Clock& clock, std::function<void(const std::string& podUid)> changed);
  ~ObjectWatches();
  ObjectWatches(const ObjectWatches&) = delete;
  ObjectWatches& operator=(const ObjectWatches&) = delete;
  // From now on the pod refers to these objects ("secrets/NS/NAME", Volumes::objects) and no others. Blocks on the API for new ones.
  void follow(const std::string& podUid, const std::vector<std::string>& objects);
  void forget(const std::string& podUid) { follow(podUid, {}); }
  [[nodiscard]] std::size_t size() const;  // watches now

 private:
  struct Watch;
  void begin(const std::string& object, const std::shared_ptr<Watch>& watch);

  api::Client& client_;
  const Clock& clock_;
  std::function<void(const std::string&)> changed_;
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Watch>> watches_;  // by object
};

}  // namespace podpass::node
