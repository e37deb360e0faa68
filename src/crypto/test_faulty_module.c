/* A PKCS#11 module for tests: SoftHSM, with the faults of real tokens on request. */
#include <dlfcn.h>
#include <p11-kit/pkcs11.h>
#include <pthread.h>
#include <string.h>

static CK_FUNCTION_LIST faulty;
static CK_FUNCTION_LIST* real;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
  const char* function;
  CK_RV result;
  int times;
} faults[4];
static unsigned long more_flags;
static int lies;
static long most_sessions = 1000000, sessions, logins;

/* The next `times` calls of `function` answer `result`, and do nothing; "" ends all faults. A removed device forgets who was logged in. */
void podpass_test_fault(const char* function, unsigned long result, int times) {
  pthread_mutex_lock(&lock);
  int at = 0;
  while (at < 3 && faults[at].times > 0 && *function != 0) ++at;
  for (int i = 0; i < 4; ++i)
    if (i == at || *function == 0) faults[i].function = function, faults[i].result = result, faults[i].times = times;
  pthread_mutex_unlock(&lock);
}
long podpass_test_logins(void) { return logins; }
void podpass_test_flags(unsigned long flags) { more_flags = flags; }
void podpass_test_lies(int yes) { lies = yes; }
void podpass_test_sessions(long most) {
  most_sessions = most;
  sessions = 0;
}

static CK_RV fault(const char* function) {
  CK_RV result = CKR_OK;
  pthread_mutex_lock(&lock);
  for (int i = 0; i < 4 && result == CKR_OK; ++i)
    if (faults[i].times > 0 && strcmp(function, faults[i].function) == 0) {
      --faults[i].times;
      result = faults[i].result;
    }
  pthread_mutex_unlock(&lock);
  return result;
}

static CK_RV sign(CK_SESSION_HANDLE session, unsigned char* data, unsigned long size, unsigned char* signature, unsigned long* length) {
  CK_RV result = fault("C_Sign");
  if (result == CKR_DEVICE_REMOVED) real->C_Logout(session);
  if (result == CKR_OK) result = real->C_Sign(session, data, size, signature, length);
  if (result == CKR_OK && lies) signature[*length / 2] ^= 1;
  return result;
}
static CK_RV open_session(CK_SLOT_ID slot, CK_FLAGS flags, void* application, CK_NOTIFY notify, CK_SESSION_HANDLE* session) {
  CK_RV result = fault("C_OpenSession");
  if (result != CKR_OK) return result;
  if (__sync_add_and_fetch(&sessions, 1) > most_sessions) {
    __sync_sub_and_fetch(&sessions, 1);
    return CKR_SESSION_COUNT;
  }
  return real->C_OpenSession(slot, flags, application, notify, session);
}
static CK_RV close_session(CK_SESSION_HANDLE session) {
  __sync_sub_and_fetch(&sessions, 1);
  return real->C_CloseSession(session);
}
static CK_RV login(CK_SESSION_HANDLE session, CK_USER_TYPE user, unsigned char* pin, unsigned long size) {
  ++logins;
  CK_RV result = fault("C_Login");
  return result != CKR_OK ? result : real->C_Login(session, user, pin, size);
}
static CK_RV generate(CK_SESSION_HANDLE session, CK_MECHANISM* mechanism, CK_ATTRIBUTE* open, unsigned long opens, CK_ATTRIBUTE* hidden,
                      unsigned long hiddens, CK_OBJECT_HANDLE* public_half, CK_OBJECT_HANDLE* private_half) {
  CK_RV result = fault("C_GenerateKeyPair");
  return result != CKR_OK ? result : real->C_GenerateKeyPair(session, mechanism, open, opens, hidden, hiddens, public_half, private_half);
}
static CK_RV token_info(CK_SLOT_ID slot, CK_TOKEN_INFO* info) {
  CK_RV result = real->C_GetTokenInfo(slot, info);
  info->flags |= more_flags;
  return result;
}
static CK_RV slot_list(unsigned char present, CK_SLOT_ID* list, unsigned long* count) {
  if (fault("C_GetSlotList") == CKR_OK) return real->C_GetSlotList(present, list, count);
  *count = 0; /* this fault is an empty reader, not a failing module */
  return CKR_OK;
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST** list) {
  CK_C_GetFunctionList get = (CK_C_GetFunctionList)dlsym(dlopen(PODPASS_TEST_SOFTHSM, RTLD_NOW | RTLD_LOCAL), "C_GetFunctionList");
  if (get == 0 || get(&real) != CKR_OK) return CKR_GENERAL_ERROR;
  faulty = *real;
  faulty.C_Sign = sign;
  faulty.C_OpenSession = open_session;
  faulty.C_CloseSession = close_session;
  faulty.C_Login = login;
  faulty.C_GenerateKeyPair = generate;
  faulty.C_GetTokenInfo = token_info;
  faulty.C_GetSlotList = slot_list;
  *list = &faulty;
  return CKR_OK;
}
