#include "controllers/controllers.h"

#include <array>

#include "controllers/default_service_account.h"
#include "controllers/garbage_collector.h"
#include "controllers/iam_status.h"
#include "controllers/legacy_token_cleaner.h"
#include "controllers/namespace_termination.h"
#include "controllers/node_lifecycle.h"
#include "controllers/role_aggregation.h"
#include "controllers/root_ca.h"
#include "controllers/scheduler.h"
#include "controllers/token_secret.h"

namespace podpass::controllers {

struct Controllers::Parts {
  Parts(api::Client& client, const Clock& clock, Options options)
      : informers(client),
        defaultServiceAccount(client, clock, informers),
        tokenSecret(client, clock, informers, {options.rootCaPem, options.legacyTokenSecrets, options.signLegacy}),
        rootCa(client, clock, informers, options.rootCaPem),
        namespaceTermination(client, clock, informers),
        garbageCollector(client, clock, informers),
        scheduler(client, clock, informers),
        nodeLifecycle(client, clock, informers),
        roleAggregation(client, clock, informers),
        iamStatus(client, clock, informers, options.account),
        legacyTokenCleaner(client, clock, informers, options.legacyTokenPeriod) {}

  std::array<ControlLoop*, 10> loops() {
    return {&defaultServiceAccount.loop(), &tokenSecret.loop(),      &rootCa.loop(),
            &namespaceTermination.loop(),  &garbageCollector.loop(), &scheduler.loop(),
            &nodeLifecycle.loop(),         &roleAggregation.loop(),  &iamStatus.loop(),
            &legacyTokenCleaner.loop()};
  }

  Informers informers;
  DefaultServiceAccount defaultServiceAccount;
  TokenSecret tokenSecret;
  RootCa rootCa;
  NamespaceTermination namespaceTermination;
  GarbageCollector garbageCollector;
  Scheduler scheduler;
  NodeLifecycle nodeLifecycle;
  RoleAggregation roleAggregation;
  IamStatus iamStatus;
  LegacyTokenCleaner legacyTokenCleaner;
};

Controllers::Controllers(api::Client& client, const Clock& clock, Options options)
    : parts_(std::make_unique<Parts>(client, clock, std::move(options))) {}

Controllers::~Controllers() { stop(); }

Result<void> Controllers::start() {
  if (Result<void> started = parts_->informers.start(); !started) return started;
  for (ControlLoop* loop : parts_->loops()) loop->start();
  return {};
}

void Controllers::stop() {
  parts_->informers.stop();  // first: what a loop does while it stops must not queue more
  for (ControlLoop* loop : parts_->loops()) loop->queue().shutDown();
  for (ControlLoop* loop : parts_->loops()) loop->stop();
}

void Controllers::legacyTokenUsed(const std::string& ns, const std::string& secret) { parts_->legacyTokenCleaner.used(ns, secret); }

}  // namespace podpass::controllers
