#pragma once

#include <string>

#include "base/document.h"
#include "cli/command.h"

// One file per verb: each adds its command to `app`. The options live in the function that the command runs.
namespace podpass::cli {

void addUp(Command app);
void addApiserver(Command app);
void addKeys(Command app);
void addWebhook(Command app);
void addNode(Command app);
void addToken(Command app);
void addTokenCreate(Command token);  // subcommands of token
void addTokenVerify(Command token);
void addTokens(Command app);
void addSts(Command app);
void addSigner(Command app);
void addVerify(Command app);
void addDoctor(Command app);
void addDoctorIssuer(Command doctor);  // subcommands of doctor
void addDoctorMigration(Command doctor);
void addDoctorRequest(Command doctor);
void addDoctorToken(Command doctor);
void addDoctorPod(Command doctor);
void addCompletion(Command app);

// Prints the error's chain and its fix to standard error; kNo.
int refuse(const Error& error);
// The document on standard output, as `output` says: json or yaml.
void print(const json::object& document, const std::string& output);
// -o: json, yaml, and what `output` holds, which is the default.
void addOutput(Command verb, std::string& output);
// --log-level and its words: debug, info, warn, error.
void addLogLevel(Command verb, std::string& level);
void setLogLevel(const std::string& level);
// A token comes from a file or, as "-", standard input; never from argv, which every user of the machine can read and shells remember.
Result<std::string> readToken(const std::string& file);
// What is wrong with the argument that names the file; "" when nothing is. What may be a token is not repeated.
std::string tokenFileProblem(const std::string& file);

}  // namespace podpass::cli
