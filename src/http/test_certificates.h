#pragma once

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

#include "base/file.h"
#include "http/http.h"

namespace podpass::http {

// A command's standard output.
inline std::string outputOf(const std::string& command) {
  std::FILE* pipe = popen(command.c_str(), "r");
  std::string output;
  char buffer[4096];
  while (std::size_t count = std::fread(buffer, 1, sizeof buffer, pipe)) output.append(buffer, count);
  pclose(pipe);
  return output;
}

// A certificate authority, a server's certificate for localhost and 127.0.0.1, a client's, and one of a stranger; made once.
class Certificates {
 public:
  static const Certificates& get() {
    static const Certificates made;
    return made;
  }
  [[nodiscard]] std::string path(const std::string& name) const { return (directory_ / name).string(); }
  [[nodiscard]] std::string text(const std::string& name) const { return *readFile(directory_ / name); }
  [[nodiscard]] TlsFiles files() const { return {path("server.crt"), path("server.key"), path("ca.crt")}; }

  ~Certificates() { std::filesystem::remove_all(directory_); }

 private:
  Certificates() {
    std::string pattern = (std::filesystem::temp_directory_path() / "podpass-http-XXXXXX").string();
    directory_ = mkdtemp(pattern.data());
    authority("ca", "/CN=test-ca");
    authority("stranger-ca", "/CN=stranger-ca");
    issue("server", "/CN=server", "ca", "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth");
    issue("client", "/O=system:masters/O=team:a/CN=admin", "ca", "extendedKeyUsage=clientAuth");
    issue("stranger", "/O=system:masters/CN=admin", "stranger-ca", "extendedKeyUsage=clientAuth");
  }
  void run(const std::string& command) const { outputOf("cd " + directory_.string() + " && " + command + " 2>>openssl.log"); }
  void authority(const std::string& name, const std::string& subject) const {
    run("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj '" + subject + "' -keyout " + name +
        ".key -out " + name + ".crt");
  }
  void issue(const std::string& name, const std::string& subject, const std::string& by, const std::string& extensions) const {
    std::ofstream(path(name + ".ext")) << extensions << "\n";
    run("openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj '" + subject + "' -keyout " + name + ".key -out " + name +
        ".csr");
    run("openssl x509 -req -days 2 -in " + name + ".csr -CA " + by + ".crt -CAkey " + by + ".key -CAcreateserial -extfile " + name +
        ".ext -out " + name + ".crt");
  }

  std::filesystem::path directory_;
};

}  // namespace podpass::http
