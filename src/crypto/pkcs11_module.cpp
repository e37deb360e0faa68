#include "crypto/pkcs11_module.h"

#include <dlfcn.h>

#include <cstdio>
#include <map>
#include <mutex>

#include "base/text.h"

namespace podpass::crypto {
namespace {

constexpr CK_ULONG kMostSlots = 4096;

struct NamedResult {
  CK_RV result;
  const char* name;
};
#define PODPASS_CKR(name) \
  NamedResult { CKR_##name, "CKR_" #name }
constexpr NamedResult kResults[] = {PODPASS_CKR(HOST_MEMORY),
                                    PODPASS_CKR(SLOT_ID_INVALID),
                                    PODPASS_CKR(GENERAL_ERROR),
                                    PODPASS_CKR(FUNCTION_FAILED),
                                    PODPASS_CKR(ARGUMENTS_BAD),
                                    PODPASS_CKR(CANT_LOCK),
                                    PODPASS_CKR(ATTRIBUTE_SENSITIVE),
                                    PODPASS_CKR(ATTRIBUTE_TYPE_INVALID),
                                    PODPASS_CKR(ATTRIBUTE_VALUE_INVALID),
                                    PODPASS_CKR(DATA_LEN_RANGE),
                                    PODPASS_CKR(DEVICE_ERROR),
                                    PODPASS_CKR(DEVICE_MEMORY),
                                    PODPASS_CKR(DEVICE_REMOVED),
                                    PODPASS_CKR(ENCRYPTED_DATA_INVALID),
                                    PODPASS_CKR(ENCRYPTED_DATA_LEN_RANGE),
                                    PODPASS_CKR(FUNCTION_CANCELED),
                                    PODPASS_CKR(FUNCTION_NOT_SUPPORTED),
                                    PODPASS_CKR(KEY_HANDLE_INVALID),
                                    PODPASS_CKR(KEY_SIZE_RANGE),
                                    PODPASS_CKR(KEY_TYPE_INCONSISTENT),
                                    PODPASS_CKR(KEY_FUNCTION_NOT_PERMITTED),
                                    PODPASS_CKR(MECHANISM_INVALID),
                                    PODPASS_CKR(MECHANISM_PARAM_INVALID),
                                    PODPASS_CKR(OBJECT_HANDLE_INVALID),
                                    PODPASS_CKR(OPERATION_ACTIVE),
                                    PODPASS_CKR(OPERATION_NOT_INITIALIZED),
                                    PODPASS_CKR(PIN_INCORRECT),
                                    PODPASS_CKR(PIN_INVALID),
                                    PODPASS_CKR(PIN_LEN_RANGE),
                                    PODPASS_CKR(PIN_EXPIRED),
                                    PODPASS_CKR(PIN_LOCKED),
                                    PODPASS_CKR(SESSION_CLOSED),
                                    PODPASS_CKR(SESSION_COUNT),
                                    PODPASS_CKR(SESSION_HANDLE_INVALID),
                                    PODPASS_CKR(SESSION_READ_ONLY),
                                    PODPASS_CKR(TEMPLATE_INCOMPLETE),
                                    PODPASS_CKR(TEMPLATE_INCONSISTENT),
                                    PODPASS_CKR(TOKEN_NOT_PRESENT),
                                    PODPASS_CKR(TOKEN_NOT_RECOGNIZED),
                                    PODPASS_CKR(TOKEN_WRITE_PROTECTED),
                                    PODPASS_CKR(USER_ALREADY_LOGGED_IN),
                                    PODPASS_CKR(USER_NOT_LOGGED_IN),
                                    PODPASS_CKR(USER_PIN_NOT_INITIALIZED),
                                    PODPASS_CKR(BUFFER_TOO_SMALL),
                                    PODPASS_CKR(CRYPTOKI_NOT_INITIALIZED)};
#undef PODPASS_CKR

// A field of the standard's: blanks fill it, and nothing ends it.
template <std::size_t Size>
std::string textOf(const unsigned char (&field)[Size]) {
  std::string text(reinterpret_cast<const char*>(field), Size);
  text.erase(text.find_last_not_of(std::string_view(" \0", 2)) + 1);
  return text;
}

// Loading runs the library's constructors and initialising it can't be done twice, so one at a time.
std::mutex loading;
std::map<std::string, std::weak_ptr<Pkcs11Module>> loaded;  // guarded by loading

}  // namespace

std::string pkcs11ResultName(CK_RV result) {
  for (const NamedResult& each : kResults)
    if (each.result == result) return each.name;
  char number[32];
  std::snprintf(number, sizeof number, "CKR 0x%lx", result);
  return number;
}

Result<std::shared_ptr<Pkcs11Module>> Pkcs11Module::load(const std::string& path) {
  const std::lock_guard lock(loading);
  if (std::shared_ptr<Pkcs11Module> present = loaded[path].lock()) return present;
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored))
    return Error{Reason::NotFound, "there is no PKCS#11 module " + path, "install it, or mend module-path"};
  void* const library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);  // never closed: modules leave threads and exit handlers behind
  if (library == nullptr)
    return Error{Reason::BadRequest, "cannot load the PKCS#11 module: " + std::string(::dlerror()), "mend module-path"};
  const auto list = reinterpret_cast<CK_C_GetFunctionList>(::dlsym(library, "C_GetFunctionList"));
  CK_FUNCTION_LIST* functions = nullptr;
  if (list == nullptr || list(&functions) != CKR_OK || functions == nullptr)
    return Error{Reason::BadRequest, path + " is a library, but no PKCS#11 module (it has no C_GetFunctionList)", "mend module-path"};
  std::shared_ptr<Pkcs11Module> module(new Pkcs11Module(path, functions));
  if (const CK_RV result = module->initialize(); result != CKR_OK)
    return Error{Reason::BadRequest, "the PKCS#11 module " + path + " does not get up: " + pkcs11ResultName(result),
                 "look at the module's own configuration and log"};
  loaded[path] = module;
  return module;
}

Pkcs11Module::~Pkcs11Module() {
  if (ours_) functions_->C_Finalize(nullptr);
}

CK_RV Pkcs11Module::initialize() {
  CK_C_INITIALIZE_ARGS arguments{};
  arguments.flags = CKF_OS_LOCKING_OK;
  const CK_RV result = functions_->C_Initialize(&arguments);
  if (result == CKR_OK) ours_ = true;
  return result == CKR_CRYPTOKI_ALREADY_INITIALIZED ? CKR_OK : result;
}

CK_RV Pkcs11Module::slots(std::vector<CK_SLOT_ID>& ids) {
  for (int attempt = 0; attempt < 3; ++attempt) {  // a token may come between the two calls
    CK_ULONG count = 0;
    CK_RV result = functions_->C_GetSlotList(CK_TRUE, nullptr, &count);
    if (result != CKR_OK) return result;
    ids.resize(std::min(count, kMostSlots));
    count = ids.size();
    result = functions_->C_GetSlotList(CK_TRUE, ids.data(), &count);
    if (result == CKR_BUFFER_TOO_SMALL) continue;
    ids.resize(std::min<std::size_t>(count, ids.size()));
    return result;
  }
  return CKR_BUFFER_TOO_SMALL;
}

Result<Pkcs11Module::Slot> Pkcs11Module::slotOf(const Pkcs11Uri& uri) {
  std::vector<CK_SLOT_ID> ids;
  CK_RV result = slots(ids);
  if (result == CKR_CRYPTOKI_NOT_INITIALIZED && initialize() == CKR_OK) result = slots(ids);  // somebody else finalised it
  if (result != CKR_OK) return Error{Reason::Unavailable, "the PKCS#11 module " + path_ + " lists no slots: " + pkcs11ResultName(result)};
  const auto fits = [](const std::string& asked, const std::string& found) { return asked.empty() || asked == found; };
  std::vector<Slot> found;
  std::string others;
  for (const CK_SLOT_ID id : ids) {
    Slot slot{.id = id};
    if (functions_->C_GetTokenInfo(id, &slot.token) != CKR_OK || (slot.token.flags & CKF_TOKEN_INITIALIZED) == 0) continue;
    slot.label = textOf(slot.token.label);
    if (fits(uri.token, slot.label) && fits(uri.serial, textOf(slot.token.serialNumber)) && fits(uri.model, textOf(slot.token.model)) &&
        fits(uri.manufacturer, textOf(slot.token.manufacturerID)) && (!uri.slot || *uri.slot == id))
      found.push_back(slot);
    else
      others += (others.empty() ? "" : ", ") + quoted(slot.label);
  }
  if (found.size() == 1) return std::move(found.front());
  if (found.empty())
    return Error{Reason::Unavailable,
                 "there is no PKCS#11 token " + pkcs11Path(uri) + (others.empty() ? "; the module has none" : "; the module has " + others),
                 "connect it, or mend the URI; a module may need its configuration (SOFTHSM2_CONF, for instance) in podpass's environment"};
  return Error{Reason::BadRequest, std::to_string(found.size()) + " PKCS#11 tokens fit " + pkcs11Path(uri), "add serial= to the URI"};
}

}  // namespace podpass::crypto
