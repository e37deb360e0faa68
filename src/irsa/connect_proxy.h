#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "http/http.h"

// For AWS clients that have no endpoint setting (CLI 2.9, boto3 1.26 and older in the implicit exchange): with HTTPS_PROXY they ask this
// CONNECT proxy (RFC 9110 §9.3.6) for STS's host names and reach podpass's STS instead; every other host is refused (spec irsa.md §9).
namespace podpass::irsa {

// Global and regional: sts.amazonaws.com, sts.eu-west-1.amazonaws.com, … The STS that answers has a certificate for all of them.
const std::vector<std::string>& stsHostNames();

// The tunnels that are open, so that the server behind the proxy knows who speaks to it. Thread-safe.
class Tunnels {
 public:
  // The client whose tunnel comes from `remote`; `remote` itself when none does.
  [[nodiscard]] std::string clientOf(const std::string& remote) const;

  // A tunnel from `local`, as long as this lives.
  class Entry {
   public:
    Entry(Tunnels& tunnels, std::string local, const std::string& client);
    ~Entry();
    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;

   private:
    Tunnels& tunnels_;
    std::string local_;
    std::shared_ptr<const std::string> client_;
  };

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<const std::string>> clients_;  // by our end of the tunnel
};

// Answers CONNECT to one of stsHostNames(), port 443, by relaying to the TLS server on 127.0.0.1:`stsPort`; 403 to other hosts, 405 to
// other methods. A tunnel that nobody uses for five minutes ends. `tunnels` outlives the server that the handler is given to.
http::Handler connectProxy(unsigned short stsPort, Tunnels& tunnels);

}  // namespace podpass::irsa
