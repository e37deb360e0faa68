#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string_view>
#include <vector>

#include "base/secret.h"
#include "crypto/pkcs11_module.h"

// Inside crypto/ only.
namespace podpass::crypto {

struct Pkcs11Session {
  CK_FUNCTION_LIST& call;
  CK_SESSION_HANDLE handle;
  std::uint64_t connection;  // object handles that were found under another number are stale
};

// Sessions with one token whose user is logged in: opened when needed, kept, and made anew when the token went away and came back.
// Thread-safe.
class Pkcs11Sessions {
 public:
  // Connects. Unavailable: the token is not there. Forbidden: the PIN is wrong or locked. BadRequest: the URI, the PIN's file or the
  // module.
  static Result<std::shared_ptr<Pkcs11Sessions>> open(Pkcs11Uri uri);
  ~Pkcs11Sessions();
  Pkcs11Sessions(const Pkcs11Sessions&) = delete;
  Pkcs11Sessions& operator=(const Pkcs11Sessions&) = delete;

  enum class Mode { Read, Write };  // Write: objects of the token can be made and destroyed
  using Work = std::function<CK_RV(const Pkcs11Session& session)>;
  // Runs `work` with a session that nobody else has meanwhile; once more, on a new connection, when the first says that the token or the
  // session is gone. `doing` completes "the token cannot …". Waits at most 10 s for a session; how long the module takes is its own affair.
  Result<void> run(std::string_view doing, const Work& work, Mode mode = Mode::Read);

  [[nodiscard]] const Pkcs11Uri& uri() const { return uri_; }

 private:
  Pkcs11Sessions(Pkcs11Uri uri, std::shared_ptr<Pkcs11Module> module) : uri_(std::move(uri)), module_(std::move(module)) {}
  Result<Pkcs11Session> take(Mode mode);
  void give(const Pkcs11Session& session, bool keep);
  void lose(std::uint64_t connection);
  Result<void> connect();
  Result<void> connectNow();
  Result<void> login(CK_SESSION_HANDLE session, CK_FLAGS flags);
  void disconnect();

  const Pkcs11Uri uri_;
  const std::shared_ptr<Pkcs11Module> module_;
  std::mutex mutex_;  // guards all below
  std::condition_variable freed_;
  bool connected_ = false;
  std::uint64_t connection_ = 0;
  CK_SLOT_ID slot_ = 0;
  CK_SESSION_HANDLE root_ = 0;  // keeps the user logged in while no other is open
  std::vector<CK_SESSION_HANDLE> idle_;
  std::size_t open_ = 0, limit_ = 0;
  std::chrono::steady_clock::time_point retryAt_{};
  Error failure_{};      // until retryAt_
  Secret refusedPin_{};  // never tried again: a token locks itself after a few
};

}  // namespace podpass::crypto
