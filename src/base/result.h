#pragma once

#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

// Result and Error: the one way in which a failure crosses a room's border.
namespace podpass {

// Why something failed, for machines. The names are those of Kubernetes' Status reasons (metav1.StatusReason);
// server/status.cpp is the one place where they become HTTP codes.
enum class Reason {
  Internal,
  BadRequest,
  Unauthorized,
  Forbidden,
  NotFound,
  MethodNotAllowed,
  NotAcceptable,
  UnsupportedMediaType,
  AlreadyExists,
  Conflict,
  Expired,          // 410: a resource version or continue token that is too old
  RequestTooLarge,  // 413
  Invalid,          // 422
  TooManyRequests,  // 429
  ServerTimeout,    // 500 with "try again"
  Timeout,          // 504
  Unavailable,      // 503: we could not find out
};

// One entry of Status.details.causes.
struct Cause {
  std::string field;                         // path in the object: "spec.containers[0].image"
  std::string message;                       // "Required value"
  std::string reason = "FieldValueInvalid";  // FieldValueRequired, FieldValueNotSupported, …
};

// The object that a Status is about (Status.details).
struct Subject {
  std::string group = {};
  std::string kind = {};  // the plural resource, except for Invalid: there the Kind
  std::string name = {};
  std::string uid = {};
};

struct Error {
  Reason reason = Reason::Internal;         // for machines
  std::string sentence;                     // for people: expected and found; never a token or a key
  std::string fix = {};                     // what the reader can do; empty when nothing
  std::shared_ptr<const Error> cause = {};  // next deeper, for the log and `doctor`
  std::vector<Cause> causes = {};           // Status.details.causes
  Subject about = {};                       // Status.details
  int retryAfterSeconds = 0;                // 0: not said
};

// A T or an Error. A default-constructed Result is an Internal error, as asio's co_spawn wants a T().
template <class T>
class [[nodiscard]] Result {
 public:
  Result() : state_(Error{}) {}
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  explicit operator bool() const { return state_.index() == 0; }
  const T& operator*() const& { return std::get<0>(state_); }
  T& operator*() & { return std::get<0>(state_); }
  T&& operator*() && { return std::get<0>(std::move(state_)); }
  const T* operator->() const { return &std::get<0>(state_); }
  T* operator->() { return &std::get<0>(state_); }
  const Error& error() const { return std::get<1>(state_); }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : failed_(true), error_(std::move(error)) {}

  explicit operator bool() const { return !failed_; }
  const Error& error() const { return error_; }

 private:
  bool failed_ = false;
  Error error_;
};

}  // namespace podpass
