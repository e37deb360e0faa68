#pragma once

#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>

#include "base/file.h"
#include "base/text.h"
#include "crypto/pkcs11.h"

namespace podpass::crypto::test {

// A SoftHSM token of this test's or benchmark's own, in a directory of its own; what it needs and does not get ends the test. One at a time
// in a process: SoftHSM reads SOFTHSM2_CONF when it is initialised, which is when the first token is opened, and forgets it with the last.
struct SoftHsm {
  std::filesystem::path path = std::filesystem::temp_directory_path() / ("podpass-softhsm-" + randomUuid());
  SoftHsm() {
    std::filesystem::create_directories(path / "tokens");
    write("conf", "directories.tokendir = " + (path / "tokens").string() + "\nobjectstore.backend = file\nlog.level = ERROR\n");
    write("pin", "4321\n");
    ::setenv("SOFTHSM2_CONF", (path / "conf").c_str(), 1);
    makeToken("podpass");
  }
  ~SoftHsm() {
    ::unsetenv("SOFTHSM2_CONF");
    std::filesystem::remove_all(path);
  }
  SoftHsm(const SoftHsm&) = delete;
  SoftHsm& operator=(const SoftHsm&) = delete;

  std::string write(const char* name, std::string_view text, unsigned mode = 0600) const {
    if (!writeFileAtomically(path / name, text, mode)) throw std::runtime_error(std::string("cannot write ") + name);
    return (path / name).string();
  }
  void makeToken(const std::string& label) const {
    run("softhsm2-util --init-token --free --label " + label + " --pin 4321 --so-pin 87654321");
  }
  // pkcs11-tool, logged in.
  void tool(const std::string& words) const {
    run("pkcs11-tool --module " PODPASS_TEST_SOFTHSM " --token-label podpass --login --pin 4321 " + words);
  }
  // A URI's text: `more` are path attributes such as ";object=x".
  [[nodiscard]] std::string uri(const std::string& more = "", const std::string& module = PODPASS_TEST_SOFTHSM) const {
    return "pkcs11:token=podpass" + more + "?module-path=" + module + "&pin-source=" + (path / "pin").string();
  }
  [[nodiscard]] Result<std::shared_ptr<Pkcs11Token>> open(const std::string& more = "",
                                                          const std::string& module = PODPASS_TEST_SOFTHSM) const {
    return Pkcs11Token::open(*parsePkcs11Uri(uri(more, module)));
  }

 private:
  void run(const std::string& command) const {
    const std::string log = (path / "tool.log").string();
    const int status = std::system((command + " >" + log + " 2>&1").c_str());
    if (status != 0) throw std::runtime_error(command + ": " + *readFile(log));
  }
};

}  // namespace podpass::crypto::test
