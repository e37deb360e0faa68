#include <benchmark/benchmark.h>

#include "base/log.h"
#include "irsa/sigv4.h"
#include "irsa/test_sts.h"

namespace podpass::irsa {
namespace {

// The exchange without the wire: form, token signature, trust policy, credentials. Arg: registered roles.
void assumeRole(benchmark::State& state, std::string_view issuerKey) {
  log::setLevel(log::Level::Error);
  test::Sts sts(issuerKey, static_cast<std::size_t>(state.range(0)));
  const http::Request request = test::Sts::assume("role0", sts.token());
  for (auto _ : state)
    if (sts.ask(request).status != 200) state.SkipWithError("refused");
  state.SetItemsProcessed(state.iterations());
}
void BM_AssumeRoleWithWebIdentity_RS256(benchmark::State& state) { assumeRole(state, jose::test::kRsaPem); }
void BM_AssumeRoleWithWebIdentity_ES256(benchmark::State& state) { assumeRole(state, jose::test::kEcPem); }
BENCHMARK(BM_AssumeRoleWithWebIdentity_RS256)->Arg(1)->Arg(10'000)->Arg(100'000)->UseRealTime();
BENCHMARK(BM_AssumeRoleWithWebIdentity_ES256)->Arg(1)->UseRealTime();

// What every signed call costs: session token opened, secret derived, signature verified.
void BM_VerifySignedCall(benchmark::State& state) {
  const CredentialKeys keys({Secret(std::string(32, 'k'))});
  const Credentials credentials = keys.mint({.account = "000000000000",
                                             .arn = "arn:aws:sts::000000000000:assumed-role/reader/session",
                                             .userId = "AROAEXAMPLEEXAMPLEEXA:session",
                                             .roleName = "reader",
                                             .roleArn = "arn:aws:iam::000000000000:role/reader",
                                             .issuedAt = 1,
                                             .expires = 2});
  http::Request request;
  request.method = "POST";
  request.path = request.target = "/";
  request.body = "Action=GetCallerIdentity&Version=2011-06-15";
  request.headers.add("Content-Type", "application/x-www-form-urlencoded; charset=utf-8");
  request.headers.add("Host", "127.0.0.1:8443");
  request.headers.add("X-Amz-Date", "20260301T120000Z");
  request.headers.add("X-Amz-Security-Token", std::string(credentials.sessionToken.reveal()));
  const std::string start =
      "AWS4-HMAC-SHA256 Credential=" + credentials.accessKeyId +
      "/20260301/eu-west-1/sts/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, Signature=";
  http::Request draft = request;
  draft.headers.add("Authorization", start + "0");
  const Outcome<Signature> unsignedYet = readSignature(draft);
  request.headers.add("Authorization",
                      start + signatureOf(*unsignedYet, canonicalRequest(*unsignedYet, draft), credentials.secretAccessKey));
  for (auto _ : state) {
    const Outcome<Signature> signature = readSignature(request);
    const Result<CredentialKeys::Known> known = keys.find("000000000000", signature->accessKeyId, signature->sessionToken);
    if (!known || !checkSignature(*signature, request, known->secretAccessKey)) state.SkipWithError("refused");
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_VerifySignedCall);

}  // namespace
}  // namespace podpass::irsa
