#include <cstdint>
#include <cstdlib>

#include "irsa/sts_answer.h"
#include "irsa/sts_request.h"
#include "irsa/sts_session.h"

// Input: an STS form body. Properties: what is accepted keeps the limits, and every refusal becomes an answer without raw markup in it.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace podpass;
  using namespace podpass::irsa;
  http::Request request;
  request.method = "POST";
  request.body.assign(reinterpret_cast<const char*>(data), size);
  const Outcome<Parameters> parameters = readParameters(request);
  for (const bool webIdentity : {true, false}) {
    if (!parameters) break;
    const Outcome<AssumeRequest> assume = readAssumeRole(*parameters, webIdentity);
    if (assume) {
      if (assume->sessionName.size() > 64 || !isSessionName(assume->sessionName) || assume->tags.size() > 50) std::abort();
      (void)checkRoleArn(assume->roleArn);
      (void)packedPolicySize(*assume);
    } else {
      const http::Response response = errorAnswer(assume.refusal(), "id");
      const std::size_t start = response.body->find("<Message>") + 9;
      if (response.body->substr(start, response.body->find("</Message>") - start).find('<') != std::string::npos) std::abort();
    }
  }
  (void)(parameters && readGetSessionToken(*parameters));
  return 0;
}
