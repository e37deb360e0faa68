#include <cstdlib>

#include "token/issued_token.h"

// What can be read is written again byte for byte.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace podpass::token;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const std::optional<TokenRecord> record = decodeRecord(bytes);
  if (!record) return 0;
  std::string again;
  encodeRecord(*record, again);
  if (again != bytes) std::abort();
  if (const auto token = readRecord(*record)) (void)(token->account.uid() + token->bound.uid() + token->node.uid());
  return 0;
}
