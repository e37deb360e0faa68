#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "base/clock.h"
#include "http/http.h"
#include "irsa/credentials.h"
#include "irsa/sts_directory.h"
#include "irsa/sts_refusal_log.h"
#include "irsa/sts_request.h"
#include "irsa/sts_session.h"

namespace podpass::irsa {

// AWS's Security Token Service over the query protocol: AssumeRoleWithWebIdentity, AssumeRole, GetCallerIdentity, GetSessionToken (spec
// irsa.md §2). Every check is made for real and in AWS's order; the client hears AWS's sentence, the refusal log the reason.
// handle() is called on the connections' event loops and is thread-safe; signatures are verified on the relying party's pool.
class StsService {
 public:
  StsService(std::shared_ptr<const CredentialKeys> keys, const StsDirectory& directory, token::RelyingParty& relyingParty,
             StsRefusalLog& refusals, const Clock& clock)
      : keys_(std::move(keys)), directory_(directory), relyingParty_(relyingParty), refusals_(refusals), clock_(clock) {}

  http::asio::awaitable<http::Response> handle(std::shared_ptr<const http::Request> request, Arrival arrival = {});

 private:
  struct Call;  // one request on its way
  using Answer = Outcome<http::Response>;

  http::asio::awaitable<Answer> answer(std::shared_ptr<Call> call);
  http::asio::awaitable<Answer> assumeRoleWithWebIdentity(std::shared_ptr<Call> call);
  Answer assumeRole(Call& call) const;
  Answer getCallerIdentity(Call& call) const;
  Answer getSessionToken(Call& call) const;

  static ConditionKeys keysOf(const Call& call, const AssumeRequest& assume);
  Outcome<Session> authenticate(Call& call) const;
  // Whether the session still counts: its role exists, is the same one, and did not revoke it.
  Outcome<std::monostate> checkLive(const Session& session) const;

  std::shared_ptr<const CredentialKeys> keys_;
  const StsDirectory& directory_;
  token::RelyingParty& relyingParty_;
  StsRefusalLog& refusals_;
  const Clock& clock_;
  std::atomic<int> running_ = 0;
};

}  // namespace podpass::irsa
