#pragma once

#include <p11-kit/pkcs11.h>

#include <memory>
#include <string>

#include "base/result.h"
#include "crypto/pkcs11_uri.h"

// Inside crypto/ only: PKCS#11's own types stay behind crypto/pkcs11.h.
namespace podpass::crypto {

// "CKR_PIN_LOCKED"; the number for what has no name here.
std::string pkcs11ResultName(CK_RV result);

// A PKCS#11 module (OASIS PKCS#11 2.40 §5), loaded and initialised once in the process however many open it. Thread-safe, and asks the
// module to be.
class Pkcs11Module {
 public:
  // NotFound: no such file. BadRequest: it is no shared object, no PKCS#11 module, or does not get up.
  static Result<std::shared_ptr<Pkcs11Module>> load(const std::string& path);
  ~Pkcs11Module();
  Pkcs11Module(const Pkcs11Module&) = delete;
  Pkcs11Module& operator=(const Pkcs11Module&) = delete;

  [[nodiscard]] CK_FUNCTION_LIST& call() const { return *functions_; }

  struct Slot {
    CK_SLOT_ID id = 0;
    CK_TOKEN_INFO token{};
    std::string label = {};
  };
  // The one slot whose token is as the URI says. Unavailable: there is none, now. BadRequest: there are several.
  Result<Slot> slotOf(const Pkcs11Uri& uri);

 private:
  Pkcs11Module(std::string path, CK_FUNCTION_LIST* functions) : path_(std::move(path)), functions_(functions) {}
  CK_RV initialize();
  CK_RV slots(std::vector<CK_SLOT_ID>& ids);

  std::string path_;
  CK_FUNCTION_LIST* functions_;
  bool ours_ = false;  // we initialised it, and finalise it
};

}  // namespace podpass::crypto
