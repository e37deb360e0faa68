#pragma once

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "base/clock.h"

// What the server's and the client's side of HTTP/2 have in common: nghttp2's objects, and the patience with frames that cost their sender
// nothing. For http2.cpp and client_http2.cpp only.
namespace podpass::http {

struct CallbacksFree {
  void operator()(nghttp2_session_callbacks* callbacks) const { nghttp2_session_callbacks_del(callbacks); }
};
struct OptionFree {
  void operator()(nghttp2_option* option) const { nghttp2_option_del(option); }
};
struct SessionFree {
  void operator()(nghttp2_session* session) const { nghttp2_session_del(session); }
};
using Http2Callbacks = std::unique_ptr<nghttp2_session_callbacks, CallbacksFree>;
using Http2Option = std::unique_ptr<nghttp2_option, OptionFree>;
using Http2Session = std::unique_ptr<nghttp2_session, SessionFree>;

// Leads what nghttp2 tells to the members of the same names of the `Side` that is the session's user data; null: no memory.
template <class Side>
Http2Callbacks http2Callbacks() {
  nghttp2_session_callbacks* callbacks = nullptr;
  if (nghttp2_session_callbacks_new(&callbacks) != 0) return nullptr;
  nghttp2_session_callbacks_set_on_begin_headers_callback(
      callbacks, [](nghttp2_session*, const nghttp2_frame* frame, void* side) { return static_cast<Side*>(side)->beginHeaders(*frame); });
  nghttp2_session_callbacks_set_on_header_callback(
      callbacks, [](nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name, std::size_t nameSize, const std::uint8_t* value,
                    std::size_t valueSize, std::uint8_t, void* side) {
        return static_cast<Side*>(side)->header(*frame, {reinterpret_cast<const char*>(name), nameSize},
                                                {reinterpret_cast<const char*>(value), valueSize});
      });
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
      callbacks, [](nghttp2_session*, std::uint8_t, std::int32_t id, const std::uint8_t* data, std::size_t size, void* side) {
        return static_cast<Side*>(side)->data(id, {reinterpret_cast<const char*>(data), size});
      });
  nghttp2_session_callbacks_set_on_frame_recv_callback(
      callbacks, [](nghttp2_session*, const nghttp2_frame* frame, void* side) { return static_cast<Side*>(side)->received(*frame); });
  nghttp2_session_callbacks_set_on_frame_send_callback(
      callbacks, [](nghttp2_session*, const nghttp2_frame* frame, void* side) { return static_cast<Side*>(side)->sent(*frame); });
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, [](nghttp2_session*, std::int32_t id, std::uint32_t code, void* side) {
    return static_cast<Side*>(side)->closed(id, code);
  });
  return Http2Callbacks(callbacks);
}

// nghttp2 copies both; they live until then.
inline nghttp2_nv http2Header(std::string_view name, std::string_view value) {
  const auto bytes = [](std::string_view text) { return reinterpret_cast<std::uint8_t*>(const_cast<char*>(text.data())); };
  return {bytes(name), bytes(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
}

inline std::string lowerCase(std::string name) {
  for (char& c : name)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return name;
}

// Frames that cost the other side nothing and us something: RST_STREAM, PING, SETTINGS, PRIORITY, empty DATA. It has a thousand at once and
// a hundred a second; Go's client sends RST_STREAM and PING for each watch that it ends.
constexpr double kNuisanceBurst = 1000;
constexpr double kNuisancePerSecond = 100;

class NuisanceBudget {
 public:
  [[nodiscard]] bool spend() {
    const SteadyTime now = std::chrono::steady_clock::now();
    const double seconds = std::chrono::duration<double>(now - refilled_).count();
    refilled_ = now;
    left_ = std::min(kNuisanceBurst, left_ + seconds * kNuisancePerSecond) - 1;
    return left_ >= 0;
  }

 private:
  double left_ = kNuisanceBurst;
  SteadyTime refilled_ = std::chrono::steady_clock::now();
};

}  // namespace podpass::http
