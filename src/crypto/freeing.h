#pragma once

namespace podpass::crypto {

// Deleter of what OpenSSL made: std::unique_ptr<BIO, Freeing<BIO_free_all>>.
template <auto Free>
struct Freeing {
  template <class T>
  void operator()(T* thing) const {
    Free(thing);
  }
};

}  // namespace podpass::crypto
