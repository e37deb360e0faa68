#pragma once

#include <functional>
#include <string>

#include "base/document.h"

namespace CLI {
class App;
}

// One file per verb: each adds its subcommand to `app` and, when the user chose it, leaves in `chosen` what is to be run. The options live
// in that function. What runs answers with the exit status.
namespace podpass::cli {

constexpr int kYes = 0, kNo = 1, kUsage = 2;
using Chosen = std::function<int()>;

void addUp(CLI::App& app, Chosen& chosen);
void addApiserver(CLI::App& app, Chosen& chosen);
void addKeys(CLI::App& app, Chosen& chosen);
void addWebhook(CLI::App& app, Chosen& chosen);
void addNode(CLI::App& app, Chosen& chosen);
void addToken(CLI::App& app, Chosen& chosen);
void addTokenCreate(CLI::App& token, Chosen& chosen);  // subcommands of token
void addTokenVerify(CLI::App& token, Chosen& chosen);
void addTokens(CLI::App& app, Chosen& chosen);
void addSts(CLI::App& app, Chosen& chosen);
void addSigner(CLI::App& app, Chosen& chosen);
void addVerify(CLI::App& app, Chosen& chosen);
void addDoctor(CLI::App& app, Chosen& chosen);
void addDoctorIssuer(CLI::App& doctor, Chosen& chosen);  // subcommands of doctor
void addDoctorMigration(CLI::App& doctor, Chosen& chosen);
void addDoctorRequest(CLI::App& doctor, Chosen& chosen);
void addDoctorToken(CLI::App& doctor, Chosen& chosen);
void addDoctorPod(CLI::App& doctor, Chosen& chosen);
void addCompletion(CLI::App& app, Chosen& chosen);

// Prints the error's chain and its fix to standard error; kNo.
int refuse(const Error& error);
// The document on standard output, as `output` says: json or yaml.
void print(const json::object& document, const std::string& output);
// --log-level and its words: debug, info, warn, error.
void addLogLevel(CLI::App& verb, std::string& level);
void setLogLevel(const std::string& level);
// A token comes from a file or, as "-", standard input; never from argv, which every user of the machine can read and shells remember.
Result<std::string> readToken(const std::string& file);
// What is wrong with the argument that names the file; "" when nothing is. What may be a token is not repeated.
std::string tokenFileProblem(const std::string& file);

}  // namespace podpass::cli
