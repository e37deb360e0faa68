#pragma once

#include <openssl/crypto.h>

#include <string_view>
#include <vector>

namespace podpass {

// A value that is never shown: no operator<<, no formatter. reveal() is easy to search for. Tokens, private keys, Secret
// data and Authorization headers are Secrets from the first byte read.
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string_view value) : bytes_(value.begin(), value.end()) {}
  Secret(Secret&&) = default;  // takes the buffer; a moved std::string would leave a short value behind
  Secret& operator=(Secret&&) = default;
  Secret(const Secret&) = default;
  Secret& operator=(const Secret&) = default;
  ~Secret() {
    if (!bytes_.empty()) OPENSSL_cleanse(bytes_.data(), bytes_.size());
  }
  [[nodiscard]] std::string_view reveal() const { return {bytes_.data(), bytes_.size()}; }
  [[nodiscard]] bool empty() const { return bytes_.empty(); }
  friend bool operator==(const Secret& a, const Secret& b) {  // the time tells the length only
    return a.bytes_.size() == b.bytes_.size() && CRYPTO_memcmp(a.bytes_.data(), b.bytes_.data(), a.bytes_.size()) == 0;
  }

 private:
  std::vector<char> bytes_;
};

}  // namespace podpass
