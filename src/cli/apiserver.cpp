#include <cstdio>

#include "base/log.h"
#include "cli/control_plane.h"
#include "cli/stop_signal.h"
#include "cli/verbs.h"

namespace podpass::cli {
namespace {

Result<void> serve(const ControlPlaneFlags& flags) {
  const StopSignal stop;
  const SystemClock clock;
  ControlPlane control(flags, clock);
  if (Result<void> started = control.start(); !started) return started;
  if (Result<void> written = control.writeEndpoints({}); !written) return written;
  std::fputs(control.readyText().c_str(), stdout);
  std::fflush(stdout);
  stop.wait();
  log::info("stopping");
  control.stop();
  return {};
}

}  // namespace

void addApiserver(Command app) {
  auto flags = std::make_shared<ControlPlaneFlags>();
  auto level = std::make_shared<std::string>("info");
  const Command apiserver = app.command("apiserver", "run the API server, its controllers and the issuer, and nothing else");
  flags->addTo(apiserver);
  apiserver.option("--tls-san", flags->moreNames, "more DNS names in the serving certificate; repeat it");
  addLogLevel(apiserver, *level);
  apiserver.runs([flags, level] {
    setLogLevel(*level);
    const Result<void> done = serve(*flags);
    return done ? kYes : refuse(done.error());
  });
}

}  // namespace podpass::cli
