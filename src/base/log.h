#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"

// Logs are logfmt on stderr, one event a line, in the past tense, values as keys:
//   ts=… level=info msg="key rotated" kid=Yu1mgf… err="…"
// Keys are the same everywhere: ns name uid kind rev kid jti aud user verb code took_ms err. Never a token, key or Secret value.
// Thread-safe.
namespace podpass::log {

enum class Level { Debug, Info, Warn, Error };
using Fields = std::initializer_list<std::pair<std::string_view, std::string>>;

void setLevel(Level level);
void debug(std::string_view message, Fields fields = {});
void info(std::string_view message, Fields fields = {});
void warn(std::string_view message, Fields fields = {});
void error(std::string_view message, Fields fields = {});
// The sentence of an error followed by those of its causes.
std::string chain(const Error& error);

}  // namespace podpass::log
