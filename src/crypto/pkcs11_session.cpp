#include "crypto/pkcs11_session.h"

#include <sys/stat.h>

#include "base/file.h"
#include "base/text.h"

namespace podpass::crypto {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kMostSessions = 32;
constexpr auto kPause = 1s;  // between two attempts to connect
constexpr auto kWait = 10s;  // for a session
constexpr std::size_t kMaxPin = 255;

// What is mended by a new connection. GENERAL_ERROR and DEVICE_ERROR are what modules say when a token vanished under them.
bool isLost(CK_RV result) {
  constexpr CK_RV kLost[] = {CKR_SESSION_HANDLE_INVALID, CKR_SESSION_CLOSED,     CKR_DEVICE_REMOVED,           CKR_TOKEN_NOT_PRESENT,
                             CKR_USER_NOT_LOGGED_IN,     CKR_KEY_HANDLE_INVALID, CKR_OBJECT_HANDLE_INVALID,    CKR_SLOT_ID_INVALID,
                             CKR_DEVICE_ERROR,           CKR_GENERAL_ERROR,      CKR_CRYPTOKI_NOT_INITIALIZED, CKR_TOKEN_NOT_RECOGNIZED};
  return std::find(std::begin(kLost), std::end(kLost), result) != std::end(kLost);
}

Result<Secret> readPin(const std::string& file) {
  Result<std::string> text = readFile(file, kMaxPin + 2);
  if (!text) return Error{text.error().reason, "the PIN of the PKCS#11 token: " + text.error().sentence, "mend pin-source in the URI"};
  std::string_view pin = *text;
  while (!pin.empty() && (pin.back() == '\n' || pin.back() == '\r')) pin.remove_suffix(1);
  Secret secret(pin);
  OPENSSL_cleanse(text->data(), text->size());
  struct stat status {};
  if (::stat(file.c_str(), &status) == 0 && (status.st_mode & 0077u) != 0)
    return Error{Reason::BadRequest, "the PIN in " + file + " can be read by others", "chmod 600 " + file};
  if (secret.empty()) return Error{Reason::BadRequest, "there is no PIN in " + file, "write the user's PIN into it"};
  return secret;
}

}  // namespace

Result<std::shared_ptr<Pkcs11Sessions>> Pkcs11Sessions::open(Pkcs11Uri uri) {
  if (uri.modulePath.empty())
    return Error{Reason::BadRequest, "the PKCS#11 URI " + pkcs11Path(uri) + " names no module",
                 "add ?module-path=/…/module.so, such as /usr/lib/softhsm/libsofthsm2.so"};
  Result<std::shared_ptr<Pkcs11Module>> module = Pkcs11Module::load(uri.modulePath);
  if (!module) return module.error();
  std::shared_ptr<Pkcs11Sessions> sessions(new Pkcs11Sessions(std::move(uri), *std::move(module)));
  const std::lock_guard lock(sessions->mutex_);
  if (Result<void> connected = sessions->connect(); !connected) return connected.error();
  return sessions;
}

Pkcs11Sessions::~Pkcs11Sessions() {
  if (connected_) disconnect();
}

Result<void> Pkcs11Sessions::run(std::string_view doing, const Work& work, Mode mode) {
  CK_RV result = CKR_OK;
  for (int attempt = 0; attempt < 2; ++attempt) {
    const Result<Pkcs11Session> session = take(mode);
    if (!session) return session.error();
    result = work(*session);
    give(*session, result == CKR_OK && mode == Mode::Read);
    if (result == CKR_OK) return {};
    if (!isLost(result)) break;
    lose(session->connection);
  }
  return Error{isLost(result) ? Reason::Unavailable : Reason::Internal,
               "the PKCS#11 token " + quoted(uri_.token) + " cannot " + std::string(doing) + ": " + pkcs11ResultName(result)};
}

Result<Pkcs11Session> Pkcs11Sessions::take(Mode mode) {
  std::unique_lock lock(mutex_);
  const auto end = std::chrono::steady_clock::now() + kWait;
  for (int lost = 0;;) {
    if (!connected_)
      if (Result<void> made = connect(); !made) return made.error();
    if (mode == Mode::Read && !idle_.empty()) {
      const CK_SESSION_HANDLE handle = idle_.back();
      idle_.pop_back();
      return Pkcs11Session{module_->call(), handle, connection_};
    }
    if (open_ < limit_) {
      CK_SESSION_HANDLE handle = 0;
      const CK_FLAGS flags = CKF_SERIAL_SESSION | (mode == Mode::Write ? CKF_RW_SESSION : 0);
      const CK_RV result = module_->call().C_OpenSession(slot_, flags, nullptr, nullptr, &handle);
      if (result == CKR_OK) {
        ++open_;
        return Pkcs11Session{module_->call(), handle, connection_};
      }
      if (result == CKR_SESSION_COUNT && open_ > 0) {
        limit_ = open_;  // that is how many the token has
      } else if (isLost(result) && lost++ == 0) {
        disconnect();
        continue;
      } else {
        return Error{Reason::Unavailable, "the PKCS#11 token " + quoted(uri_.token) + " opens no session: " + pkcs11ResultName(result)};
      }
    }
    if (freed_.wait_until(lock, end) == std::cv_status::timeout)
      return Error{Reason::Unavailable, "all sessions of the PKCS#11 token " + quoted(uri_.token) + " were busy for 10 s"};
  }
}

// A session of a connection that was lost is forgotten, not closed: its number may be another's by now.
void Pkcs11Sessions::give(const Pkcs11Session& session, bool keep) {
  const std::lock_guard lock(mutex_);
  if (!connected_ || session.connection != connection_) return;
  if (keep) {
    idle_.push_back(session.handle);
  } else {
    module_->call().C_CloseSession(session.handle);
    --open_;
  }
  freed_.notify_one();
}

void Pkcs11Sessions::lose(std::uint64_t connection) {
  const std::lock_guard lock(mutex_);
  if (connected_ && connection == connection_) disconnect();
}

void Pkcs11Sessions::disconnect() {
  for (const CK_SESSION_HANDLE handle : idle_) module_->call().C_CloseSession(handle);
  module_->call().C_CloseSession(root_);
  idle_.clear();
  open_ = 0;
  connected_ = false;
  freed_.notify_all();
}

// A token that is away is looked for once a second, not by every signature.
Result<void> Pkcs11Sessions::connect() {
  const auto now = std::chrono::steady_clock::now();
  if (now < retryAt_) return failure_;
  Result<void> made = connectNow();
  if (!made) {
    failure_ = made.error();
    retryAt_ = now + kPause;
  }
  return made;
}

Result<void> Pkcs11Sessions::connectNow() {
  const Result<Pkcs11Module::Slot> slot = module_->slotOf(uri_);
  if (!slot) return slot.error();
  CK_SESSION_HANDLE root = 0;
  const CK_RV result = module_->call().C_OpenSession(slot->id, CKF_SERIAL_SESSION, nullptr, nullptr, &root);
  if (result != CKR_OK)
    return Error{Reason::Unavailable, "the PKCS#11 token " + quoted(slot->label) + " opens no session: " + pkcs11ResultName(result)};
  if (Result<void> in = login(root, slot->token.flags); !in) {
    module_->call().C_CloseSession(root);
    return in;
  }
  slot_ = slot->id;
  root_ = root;
  open_ = 0;
  limit_ = kMostSessions;
  ++connection_;
  connected_ = true;
  return {};
}

Result<void> Pkcs11Sessions::login(CK_SESSION_HANDLE session, CK_FLAGS flags) {
  if (uri_.pinSource.empty()) {
    if ((flags & CKF_LOGIN_REQUIRED) == 0) return {};
    return Error{Reason::BadRequest, "the PKCS#11 token " + quoted(uri_.token) + " wants a PIN", "add pin-source=FILE to the URI"};
  }
  const Result<Secret> pin = readPin(uri_.pinSource);
  if (!pin) return pin.error();
  const auto refused = [&](const std::string& why, const char* fix) {
    return Error{Reason::Forbidden, "the PKCS#11 token " + quoted(uri_.token) + " " + why, fix};
  };
  const char* const unlock = "set a new user PIN with the security officer's";
  if ((flags & CKF_USER_PIN_LOCKED) != 0) return refused("has locked its user's PIN", unlock);
  if ((flags & CKF_USER_PIN_FINAL_TRY) != 0)
    return refused("would lock itself after one more wrong PIN, so none is tried",
                   "log in once with the right one, by the token's own tool");
  if (!refusedPin_.empty() && refusedPin_ == *pin)
    return refused("has refused the PIN in " + uri_.pinSource + " before, and it is not tried twice", "write the right PIN into that file");
  const std::string_view text = pin->reveal();
  const CK_RV result = module_->call().C_Login(session, CKU_USER, reinterpret_cast<unsigned char*>(const_cast<char*>(text.data())),
                                               static_cast<CK_ULONG>(text.size()));
  if (result == CKR_OK || result == CKR_USER_ALREADY_LOGGED_IN) return {};
  if (result == CKR_PIN_INCORRECT || result == CKR_PIN_INVALID || result == CKR_PIN_LEN_RANGE) {
    refusedPin_ = *pin;
    return refused("refuses the PIN in " + uri_.pinSource + ": " + pkcs11ResultName(result), "write the right PIN into that file");
  }
  if (result == CKR_PIN_LOCKED) return refused("has locked its user's PIN", unlock);
  if (isLost(result))
    return Error{Reason::Unavailable, "the PKCS#11 token " + quoted(uri_.token) + " went away: " + pkcs11ResultName(result)};
  return refused("lets nobody in: " + pkcs11ResultName(result), "look at the token with its own tool: has its user a PIN?");
}

}  // namespace podpass::crypto
