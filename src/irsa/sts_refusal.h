#pragma once

#include <string>
#include <string_view>
#include <variant>

#include "base/document.h"

namespace podpass::irsa {

// What STS answers instead of credentials: AWS's code and message for programs (spec irsa.md §2.5), and beside it the truth.
struct Refusal {
  int status = 400;
  std::string code;           // "AccessDenied"
  std::string message;        // AWS's text
  std::string check = {};     // which link broke: "audience", "trust policy"; also in the header x-podpass-reason
  std::string reason = {};    // for the log, the Event and doctor; empty: the message says it all
  std::string fix = {};       // empty: nothing better than the reason can be said
  json::object verdict = {};  // the trust policy's reckoning; empty when it was not reached
};

inline Refusal validationError(std::string message) { return {400, "ValidationError", std::move(message), "parameters"}; }
inline Refusal throttled() { return {400, "Throttling", "Rate exceeded", "throttling"}; }
inline Refusal internalFailure() { return {500, "InternalFailure", "The request processing has failed because of an unknown error."}; }
inline Refusal serviceUnavailable() {
  return {503, "ServiceUnavailable", "The request has failed due to a temporary failure of the server."};
}

// A T or a Refusal.
template <class T>
class [[nodiscard]] Outcome {
 public:
  Outcome() : state_(internalFailure()) {}
  Outcome(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Outcome(Refusal refusal) : state_(std::in_place_index<1>, std::move(refusal)) {}
  explicit operator bool() const { return state_.index() == 0; }
  T& operator*() { return std::get<0>(state_); }
  const T& operator*() const { return std::get<0>(state_); }
  T* operator->() { return &std::get<0>(state_); }
  const T* operator->() const { return &std::get<0>(state_); }
  [[nodiscard]] const Refusal& refusal() const { return std::get<1>(state_); }

 private:
  std::variant<T, Refusal> state_;
};

// The beginning of a text in UTF-8, at most so many bytes and never half a character.
inline std::string_view beginning(std::string_view utf8, std::size_t most) {
  if (utf8.size() <= most) return utf8;
  while (most > 0 && (static_cast<unsigned char>(utf8[most]) & 0xc0u) == 0x80u) --most;
  return utf8.substr(0, most);
}

}  // namespace podpass::irsa
