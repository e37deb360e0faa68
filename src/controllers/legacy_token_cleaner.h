#pragma once

#include <chrono>

#include "controllers/control_loop.h"
#include "controllers/informer.h"

namespace podpass::controllers {

// Tells since when the use of legacy tokens is tracked, writes down when one was used, and ends those that nobody uses (spec tokens.md
// §8.4, KEP-2799). A token Secret that was not used for `period` is first marked invalid, which the label's removal undoes, and deleted
// after another period. Nothing is cleaned before tracking has run for a period and a day. Only Secrets that a service account lists,
// and that no pod mounts, are touched.
class LegacyTokenCleaner {
 public:
  LegacyTokenCleaner(api::Client& client, const Clock& clock, Informers& informers, std::chrono::hours period);
  [[nodiscard]] ControlLoop& loop() { return loop_; }
  // The token of this Secret was used today. Thread-safe; the label is written later, by the loop.
  void used(const std::string& ns, const std::string& secret) { loop_.queue().add("used " + ns + "/" + secret); }

 private:
  Result<void> visit(const std::string& task);
  Result<void> track();
  Result<void> noteUse(const api::ObjectName& name);
  Result<void> clean();
  Result<void> cleanOne(const json::object& secret, const std::string& before);
  [[nodiscard]] bool isCandidate(const json::object& secret, const std::string& before) const;

  api::Client& client_;
  const Clock& clock_;
  Informer& secrets_;
  Informer& accounts_;
  Informer& pods_;
  Informer& configMaps_;
  const std::chrono::hours period_;
  ControlLoop loop_;
};

}  // namespace podpass::controllers
