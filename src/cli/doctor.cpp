#include <CLI/CLI.hpp>

#include "cli/verbs.h"

namespace podpass::cli {

void addDoctor(CLI::App& app, Chosen& chosen) {
  CLI::App* doctor = app.add_subcommand("doctor", "find out why something was refused, and the mend");
  doctor->require_subcommand(1);
  addDoctorIssuer(*doctor, chosen);
  addDoctorMigration(*doctor, chosen);
  addDoctorRequest(*doctor, chosen);
  addDoctorPod(*doctor, chosen);
  addDoctorToken(*doctor, chosen);
}

}  // namespace podpass::cli
