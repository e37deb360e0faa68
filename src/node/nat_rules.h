#pragma once

#include "node/containerd.h"

// What iptables' nat table does for the pods of one bridge. Every rule names the bridge, so that several on one machine keep apart. Needs
// root; idempotent.
namespace podpass::node {

// Pods reach beyond this machine, and, when `credentialsPort` is not 0, that port of their gateway at 169.254.170.23:80, the address of EKS
// Pod Identity's agent. The address exists nowhere: the rule stands for it, so bridges share it without a conflict, and CNI's bridge
// plugin, which refuses a bridge that has a second address, sees none. Replaces what a killed predecessor left. False: iptables failed.
bool addNatRules(const ContainerdPlaces& places, unsigned short credentialsPort);
void removeNatRules(const ContainerdPlaces& places);  // what is not there is fine

}  // namespace podpass::node
