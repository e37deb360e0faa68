#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <string>

#include "base/document.h"
#include "base/result.h"
#include "http/http.h"

namespace podpass::faults {

// Where a fault can come between a request and its answer.
enum class Place { APIServer, STS, Webhook, ContainerCredentials };

// A Fault object, and how often it has struck. Thread-safe.
class Fault {
 public:
  explicit Fault(const json::object& object);

  // Whether this request, which came there, is to be answered by the fault: counts it.
  bool strikes(Place place, const http::Request& request);
  // What the real failure would answer. ConnectionClosed: the connection ends.
  [[nodiscard]] http::Response answer(Place place, const http::Request& request) const;
  // The JWKS changed by JWKSStale: one key that signs nothing, in the same answer.
  [[nodiscard]] bool changesAnswer() const { return type == "JWKSStale"; }
  [[nodiscard]] http::Response changed(http::Response response) const;
  [[nodiscard]] bool slow() const { return answer_ == "Slow"; }
  // Whether relying parties hold keys that hide it, or that it left behind.
  [[nodiscard]] bool isAboutKeys() const { return type == "IssuerDown" || type == "JWKSStale" || type == "KeyRevoked"; }
  [[nodiscard]] std::int64_t requests() const;  // that it answered
  [[nodiscard]] bool over() const { return times_ != 0 && requests() == times_; }

  const std::string name, uid, type;
  const std::chrono::seconds since;  // the epoch, when it was created
  const std::chrono::seconds skew;   // of ClockSkew
  const Place clock;                 // whose it is: APIServer or STS
  const std::string done;            // KeyRevoked: what an earlier run wrote down
 private:
  [[nodiscard]] bool concerns(Place place, const http::Request& request) const;

  const std::string answer_;
  const std::int64_t percent_, times_;
  std::shared_ptr<const std::string> staleJwks_;
  std::atomic<std::int64_t> asked_{0}, answered_{0};
};

// The object of `--fault TYPE[=VALUE]`: ClockSkew=SECONDS, STSThrottling=PERCENT, …Down=ANSWER. BadRequest: it cannot be read.
Result<json::object> faultOf(std::string_view argument);

}  // namespace podpass::faults
