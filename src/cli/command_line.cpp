#include "cli/command_line.h"

#include <cstdio>
#include <filesystem>
#include <iostream>

#include "api/codec.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "cli/verbs.h"

namespace podpass::cli {
namespace {

constexpr const char* kVersion = "podpass 0.1.0";

void addVersion(Command app) {
  app.version(kVersion);
  app.command("version", "print the version").runs([] {
    std::puts(kVersion);
    return kYes;
  });
}

constexpr const char* kNotInArguments =
    "arguments can be read by everybody on this machine, and stay in the shell's history: give the token in a file or on standard input";

// Whether a word is a compact JWS, whole or cut: the part before its first dot is the base64url of a JSON object. Also behind `--flag=`.
bool holdsToken(std::string_view word) {
  if (const std::size_t equals = word.find('='); word.starts_with('-') && equals != std::string_view::npos) word.remove_prefix(equals + 1);
  const std::size_t dot = word.find('.');
  if (dot == std::string_view::npos) return false;
  const Result<std::string> header = base64UrlDecode(word.substr(0, dot));
  return header && header->starts_with('{');
}

}  // namespace

std::string tokenFileProblem(const std::string& file) {
  std::error_code ignored;
  if (file == "-" || std::filesystem::exists(file, ignored) || std::count(file.begin(), file.end(), '.') != 2) return {};
  return std::string("there is no such file, and it looks like a token; ") + kNotInArguments;
}

int refuse(const Error& error) {
  std::fprintf(stderr, "error: %s\n", log::chain(error).c_str());
  if (!error.fix.empty()) std::fprintf(stderr, "  fix: %s\n", error.fix.c_str());
  return kNo;
}

void print(const json::object& document, const std::string& output) {
  std::fputs((output == "json" ? json::serialize(document) + "\n" : api::toYaml(document)).c_str(), stdout);
}

void addOutput(Command verb, std::string& output) {
  verb.option("-o,--output", output, output + ", json or yaml").oneOf({output, "json", "yaml"}).showDefault();
}

void addLogLevel(Command verb, std::string& level) {
  verb.option("--log-level", level, "debug, info, warn or error").oneOf({"debug", "info", "warn", "error"}).showDefault();
}

void setLogLevel(const std::string& level) {
  log::setLevel(level == "debug"   ? log::Level::Debug
                : level == "warn"  ? log::Level::Warn
                : level == "error" ? log::Level::Error
                                   : log::Level::Info);
}

Result<std::string> readToken(const std::string& file) {
  std::string text;
  if (file == "-") {
    text.assign(std::istreambuf_iterator<char>(std::cin), {});
  } else {
    Result<std::string> read = readFile(file, 1u << 20);
    if (!read) return read.error();
    text = *std::move(read);
  }
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) text.pop_back();
  if (text.empty()) return Error{Reason::BadRequest, "there is no token to look at", "give a file, or pipe the token in"};
  return text;
}

int run(int count, char** words) {
  // before the parser, which repeats what it does not expect
  for (int i = 1; i < count; ++i)
    if (holdsToken(words[i])) {
      refuse(Error{Reason::BadRequest, std::string("an argument is a token; ") + kNotInArguments, "podpass token inspect < FILE"});
      return kUsage;
    }
  const CommandLine line("podpass", "podpass: Kubernetes workload identity as one program");
  for (const auto add : {addUp, addApiserver, addWebhook, addNode, addKeys, addToken, addTokens, addSts, addSigner, addVerify, addDoctor,
                         addCompletion, addVersion})
    add(line.root());
  return line.run({words + std::min(count, 1), words + count});
}

}  // namespace podpass::cli
