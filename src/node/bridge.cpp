#include <arpa/inet.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cstring>

#include "node/beneath.h"
#include "node/containerd.h"

namespace podpass::node {

namespace {

// A request of netdevice(7) about one interface.
class Interface {
 public:
  explicit Interface(const std::string& name) : socket_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)), name_(name) {
    name.copy(request_.ifr_name, IFNAMSIZ - 1);
  }
  Result<void> ask(unsigned long what, const char* verb) {
    if (::ioctl(socket_.get(), what, &request_) == 0) return {};
    return systemError(verb, name_);
  }
  Result<void> setAddress(unsigned long what, const std::string& address) {
    sockaddr_in& wanted = reinterpret_cast<sockaddr_in&>(request_.ifr_addr);
    std::memset(&wanted, 0, sizeof(wanted));
    wanted.sin_family = AF_INET;
    ::inet_pton(AF_INET, address.c_str(), &wanted.sin_addr);
    return ask(what, "give an address to");
  }
  Result<void> setUp(bool up) {
    if (Result<void> read = ask(SIOCGIFFLAGS, "look at"); !read) return read;
    request_.ifr_flags = static_cast<short>(up ? request_.ifr_flags | IFF_UP : request_.ifr_flags & ~IFF_UP);
    return ask(SIOCSIFFLAGS, up ? "bring up" : "take down");
  }
  [[nodiscard]] bool has(const std::string& address) {
    if (!ask(SIOCGIFADDR, "look at")) return false;
    in_addr wanted{};
    ::inet_pton(AF_INET, address.c_str(), &wanted);
    return reinterpret_cast<const sockaddr_in&>(request_.ifr_addr).sin_addr.s_addr == wanted.s_addr;
  }
  // SIOCBRADDBR, SIOCBRDELBR
  Result<void> bridge(unsigned long what, const char* verb) {
    if (::ioctl(socket_.get(), what, name_.c_str()) == 0 || (what == SIOCBRADDBR && errno == EEXIST)) return {};
    return systemError(verb, name_);
  }

 private:
  Descriptor socket_;
  std::string name_;
  ifreq request_{};
};

}  // namespace

Result<void> makeBridge(const ContainerdPlaces& places) {
  Interface interface(places.bridge);
  if (Result<void> made = interface.bridge(SIOCBRADDBR, "make the bridge"); !made) return made;
  if (!interface.has(places.gateway)) {
    if (Result<void> given = interface.setAddress(SIOCSIFADDR, places.gateway); !given) return given;
    if (Result<void> given = interface.setAddress(SIOCSIFNETMASK, "255.255.255.0"); !given) return given;
  }
  return interface.setUp(true);
}

void removeBridge(const std::string& bridge) {
  Interface interface(bridge);
  if (interface.setUp(false)) static_cast<void>(interface.bridge(SIOCBRDELBR, "remove the bridge"));
}

}  // namespace podpass::node
