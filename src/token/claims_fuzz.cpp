#include <cstdint>
#include <cstdlib>

#include "jose/test_keys.h"
#include "token/inspect.h"
#include "token/verifier.h"

// Claims that we ourselves signed, but of any shape: the verifier answers, names a reason, and gives an identity only to what has a
// subject.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace podpass;
  static const auto key = std::make_shared<const jose::Key>(*jose::makeKey(*crypto::KeyPair::fromPrivatePem(jose::test::kEcPem)));
  static const Snapshot<token::KeyRing> ring(std::make_shared<const token::KeyRing>(std::vector{key}));
  static const FakeClock clock(WallTime(std::chrono::seconds(1'700'000'000)));
  static const token::BoundObjects objects = [](std::string_view, const std::string&, const std::string&) -> Result<DocumentPtr> {
    return std::make_shared<const Document>(Document{json::object{{"metadata", {{"uid", "11111111-2222-4333-8444-555555555555"}}}}, "", 1});
  };
  static const token::Verifier verifier({"https://issuer.example"}, {"https://kubernetes.default.svc"}, ring, objects, clock);
  const Result<std::string> token = jose::signCompact(*key, std::string_view(reinterpret_cast<const char*>(data), size));
  if (!token) return 0;
  const Result<token::Identity> who = verifier.verify(*token, {});
  if (who ? !who->username.starts_with("system:serviceaccount:") : who.error().sentence.empty()) std::abort();
  (void)token::inspect(*token, clock.now());
  return 0;
}
