#include "node/nat_rules.h"

#include "node/program.h"

namespace podpass::node {

using namespace std::chrono_literals;

namespace {

using Words = std::vector<std::string>;

bool nat(const char* action, const std::string& chain, const Words& rule = {}) {
  Words command{programPath("iptables"), "-w", "5", "-t", "nat", action, chain};
  command.insert(command.end(), rule.begin(), rule.end());
  return runs(command, "/dev/null", 10s);
}

bool make(const std::string& chain, const Words& rule) { return nat("-C", chain, rule) || nat("-A", chain, rule); }

void removeAll(const std::string& chain, const Words& rule) {
  for (int turn = 0; turn < 8 && nat("-D", chain, rule); ++turn) continue;
}

// One rule for all pods: the bridge plugin would make a chain for each, with seven runs of iptables in the way of each start.
Words masquerade(const ContainerdPlaces& places) {
  return {"-s", places.subnet, "!", "-d", places.subnet, "-m", "comment", "--comment", "podpass " + places.bridge, "-j", "MASQUERADE"};
}

// To a chain of the bridge's name, because that can be found and emptied without knowing the port of whoever made it.
Words toCredentials(const ContainerdPlaces& places) {
  return {"-i", places.bridge, "-d", "169.254.170.23/32", "-p", "tcp", "--dport", "80", "-j", places.bridge};
}

void removeCredentials(const ContainerdPlaces& places) {
  removeAll("PREROUTING", toCredentials(places));
  if (nat("-F", places.bridge)) nat("-X", places.bridge);
}

bool addCredentials(const ContainerdPlaces& places, unsigned short port) {
  if (!nat("-F", places.bridge) && !nat("-N", places.bridge)) return false;
  const Words there{"-p", "tcp", "-j", "DNAT", "--to-destination", places.gateway + ":" + std::to_string(port)};
  return nat("-A", places.bridge, there) && make("PREROUTING", toCredentials(places));
}

}  // namespace

bool addNatRules(const ContainerdPlaces& places, unsigned short credentialsPort) {
  const bool masquerading = make("POSTROUTING", masquerade(places));
  if (credentialsPort != 0) return addCredentials(places, credentialsPort) && masquerading;
  removeCredentials(places);
  return masquerading;
}

void removeNatRules(const ContainerdPlaces& places) {
  removeAll("POSTROUTING", masquerade(places));
  removeCredentials(places);
}

}  // namespace podpass::node
