#include <cstdio>

#include "base/file.h"
#include "base/log.h"
#include "cli/key_flags.h"
#include "cli/stop_signal.h"
#include "cli/verbs.h"
#include "store/sqlite_store.h"
#include "token/signer_service.h"

// `podpass signer`: the keys of a key ring, for a kube-apiserver that has none.
namespace podpass::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kHistory = 1000;  // changes kept for watches

struct SignerFlags {
  std::string dataDir, listen, issuer, longest = "365d";
  KeyFlags keys = {};
};

Result<void> serve(const SignerFlags& flags) {
  const StopSignal stop({SIGUSR1});
  const SystemClock clock;
  const fs::path directory = fs::absolute(flags.dataDir);
  const Result<std::chrono::seconds> longest = parseDuration(flags.longest);
  if (!longest) return longest.error();
  if (*longest < std::chrono::minutes(10) || *longest > std::chrono::seconds(std::int64_t{1} << 32))
    return Error{Reason::BadRequest, "--max-token-expiration " + flags.longest + " is not between 10 minutes and 2^32 seconds",
                 "write 24h or 365d"};
  if (Result<void> made = makeDirectories(directory, 0700); !made) return made;
  const Result<token::SigningKeys::Settings> settings = flags.keys.settings();
  if (!settings) return settings.error();
  const Result<std::unique_ptr<token::KeyEncryption>> encryption = flags.keys.openKeyEncryption(directory);
  if (!encryption) return encryption.error();
  const Result<std::unique_ptr<Store>> store = openSqliteStore((directory / "store").string(), kHistory, (*encryption)->atRest());
  if (!store) return store.error();
  token::SigningKeys keys(**store, **encryption, clock, *settings);
  if (Result<void> opened = flags.keys.open(keys, directory); !opened) return opened;
  if (Result<void> started = keys.start(); !started) return started;
  const fs::path socket = flags.listen.empty() ? directory / "signer.sock" : fs::absolute(flags.listen);
  token::SignerService service(keys, clock, {.socket = socket, .maxTokenLife = *longest, .issuer = flags.issuer});
  if (Result<void> started = service.start(); !started) return started;
  std::printf("podpass signer is ready at %s\n  kube-apiserver: --service-account-signing-endpoint=%s\n  rotate:         kill -USR1 %d\n",
              socket.c_str(), socket.c_str(), static_cast<int>(::getpid()));
  std::fflush(stdout);
  while (stop.wait() == SIGUSR1) {
    const Result<void> asked = keys.rotate();
    if (asked)
      log::info("rotation asked for");
    else
      log::warn("rotation not begun", {{"err", log::chain(asked.error())}});
  }
  log::info("stopping");
  service.stop();
  keys.stop();
  return {};
}

}  // namespace

void addSigner(Command app) {
  auto flags = std::make_shared<SignerFlags>();
  auto level = std::make_shared<std::string>("info");
  const Command signer = app.command(
      "signer",
      "sign service account tokens for a kube-apiserver (--service-account-signing-endpoint, 1.32 and later), or another podpass");
  signer.option("--data-dir", flags->dataDir, "where the keys are kept, sealed; not that of another podpass").required();
  signer.option("--listen", flags->listen, "path of the Unix socket, 0600; default: signer.sock in the data directory");
  signer.option("--only-issuer", flags->issuer, "sign only claims of this issuer; default: any");
  signer.option("--max-token-expiration", flags->longest, "longest life of a token; the API server asks for no more, and is given no more")
      .showDefault();
  flags->keys.addKeysTo(signer);
  addLogLevel(signer, *level);
  signer.runs([flags, level] {
    setLogLevel(*level);
    const Result<void> done = serve(*flags);
    return done ? kYes : refuse(done.error());
  });
}

}  // namespace podpass::cli
