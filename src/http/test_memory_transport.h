#pragma once

#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <cstring>
#include <utility>

#include "http/connection.h"

namespace podpass::http {

// A connection without a socket, for tests and fuzz targets: the server has said what it was fed, and reads everything unless it is
// `stuck`.
class MemoryTransport final : public Transport {
 public:
  // `piece`: so many bytes are read at a time.
  MemoryTransport(const asio::any_io_executor& executor, std::size_t piece) : executor_(executor), piece_(piece), changed_(executor) {}

  void feed(std::string_view bytes) {
    said_ += bytes;
    changed_.wake();
  }
  void hangUp() {
    ended_ = true;
    changed_.wake();
  }
  void beStuck(bool stuck) {
    stuck_ = stuck;
    changed_.wake();
  }
  [[nodiscard]] const std::string& written() const { return written_; }

  asio::awaitable<Moved> read(char* data, std::size_t size) override {
    co_await asio::post(executor_, asio::use_awaitable);  // so that whoever writes has his turn
    while (said_.empty() && !ended_ && !closed_) co_await changed_.wait();
    if (closed_) co_return Moved(asio::error::operation_aborted, 0);
    if (said_.empty()) co_return Moved(asio::error::eof, 0);
    const std::size_t count = std::min({said_.size(), size, piece_});
    std::memcpy(data, said_.data(), count);
    said_.erase(0, count);
    co_return Moved(boost::system::error_code(), count);
  }
  asio::awaitable<Moved> write(const char* data, std::size_t size) override {
    while (stuck_ && !closed_) co_await changed_.wait();
    if (closed_) co_return Moved(asio::error::operation_aborted, 0);
    written_.append(data, size);
    co_return Moved(boost::system::error_code(), size);
  }
  asio::awaitable<void> finish(bool) override {
    close();
    co_return;
  }
  void cancel() override { close(); }
  void close() override {
    closed_ = true;
    changed_.wake();
  }
  [[nodiscard]] asio::any_io_executor executor() override { return executor_; }

 private:
  asio::any_io_executor executor_;
  std::size_t piece_;
  Wakeup changed_;  // wakes both who reads and who writes
  std::string said_, written_;
  bool stuck_ = false, ended_ = false, closed_ = false;
};

}  // namespace podpass::http
