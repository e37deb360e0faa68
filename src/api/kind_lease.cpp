#include "api/causes.h"
#include "api/fields.h"
#include "api/kinds.h"

namespace podpass::api {

const Kind& leaseKind() {
  static const Kind kind{
      .group = "coordination.k8s.io",
      .version = "v1",
      .kind = "Lease",
      .plural = "leases",
      .singular = "lease",
      .namespaced = true,
      .manyOrBusy = true,
      .doc = "Lease defines a lease concept.",
      .definition = "io.k8s.api.coordination.v1.Lease",
      .fields = {object(
          "spec", 2,
          {text("holderIdentity", 1, "The identity of the holder of the lease."),
           atLeast(1,
                   integer("leaseDurationSeconds", 2, "How long candidates must wait after renewTime before they may acquire the lease.")),
           microTime("acquireTime", 3, "When the lease was acquired."), microTime("renewTime", 4, "When the holder last renewed."),
           atLeast(0, integer("leaseTransitions", 5, "Number of transitions between holders.")),
           text("strategy", 6, "How a coordinated election picks the leader."),
           text("preferredHolder", 7, "Who should become the holder next.")},
          "The specification of the lease.")},
      .columns = {textColumn("Holder", {"spec", "holderIdentity"}), ageColumn()}};
  return kind;
}

}  // namespace podpass::api
