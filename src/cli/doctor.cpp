#include "cli/verbs.h"

namespace podpass::cli {

void addDoctor(Command app) {
  const Command doctor = app.command("doctor", "find out why something was refused, and the mend");
  addDoctorIssuer(doctor);
  addDoctorMigration(doctor);
  addDoctorRequest(doctor);
  addDoctorPod(doctor);
  addDoctorToken(doctor);
}

}  // namespace podpass::cli
