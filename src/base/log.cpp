#include "base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "base/text.h"

namespace podpass::log {
namespace {

spdlog::logger& logger() {
  static const auto instance = [] {
    auto made = std::make_shared<spdlog::logger>("podpass", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern("ts=%Y-%m-%dT%H:%M:%S.%eZ level=%l %v", spdlog::pattern_time_type::utc);
    made->flush_on(spdlog::level::info);
    return made;
  }();
  return *instance;
}

void write(spdlog::level::level_enum level, std::string_view message, const Fields& fields) {
  if (!logger().should_log(level)) return;
  std::string line = "msg=" + podpass::quoted(message);
  for (const auto& [key, value] : fields) {
    line.append(1, ' ').append(key).append(1, '=');
    const bool plain = !value.empty() && value.find_first_of(" \"=\\\n\t\r") == std::string::npos;
    line += plain ? value : podpass::quoted(value);
  }
  logger().log(level, spdlog::string_view_t(line));
}

}  // namespace

void setLevel(Level level) {
  constexpr spdlog::level::level_enum kLevels[] = {spdlog::level::debug, spdlog::level::info, spdlog::level::warn, spdlog::level::err};
  logger().set_level(kLevels[static_cast<int>(level)]);
}

void debug(std::string_view message, Fields fields) { write(spdlog::level::debug, message, fields); }
void info(std::string_view message, Fields fields) { write(spdlog::level::info, message, fields); }
void warn(std::string_view message, Fields fields) { write(spdlog::level::warn, message, fields); }
void error(std::string_view message, Fields fields) { write(spdlog::level::err, message, fields); }

std::string chain(const Error& error) {
  std::string text = error.sentence;
  for (const Error* deeper = error.cause.get(); deeper != nullptr; deeper = deeper->cause.get()) text += ": " + deeper->sentence;
  return text;
}

}  // namespace podpass::log
