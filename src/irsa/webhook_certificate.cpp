#include "irsa/webhook_certificate.h"

#include "base/text.h"
#include "crypto/certificate.h"

namespace podpass::irsa {
namespace {

constexpr const char* kRenewAfter = "identity.podpass.dev/renew-after";
constexpr const char* kSwitchAfter = "identity.podpass.dev/switch-after";
constexpr const char* kForgetAfter = "identity.podpass.dev/forget-after";
constexpr std::chrono::hours kLife{24 * 365};
constexpr std::string_view kPemEnd = "-----END CERTIFICATE-----\n";

std::string_view moment(const json::object& secret, std::string_view annotation) {
  return textAt(secret, {"metadata", "annotations", annotation});
}

void setMoment(json::object& secret, std::string_view annotation, WallTime when) {
  makeObjectAt(secret, {"metadata", "annotations"})[annotation] = rfc3339(when);
}

// What cannot be read has come.
bool hasCome(const json::object& secret, std::string_view annotation, WallTime now) {
  const std::string_view text = moment(secret, annotation);
  if (text.empty()) return false;
  const Result<WallTime> when = parseRfc3339(text);
  return !when || *when <= now;
}

std::string member(const json::object& secret, std::string_view key) {
  const Result<std::string> decoded = base64Decode(textAt(secret, {"data", key}));
  return decoded ? *decoded : std::string();
}

void setMember(json::object& secret, std::string_view key, std::string_view bytes) {
  makeObjectAt(secret, {"data"})[key] = base64Encode(bytes);
}

std::string firstCertificate(const std::string& pem) {
  const std::size_t end = pem.find(kPemEnd.substr(0, kPemEnd.size() - 1));
  return end == std::string::npos ? std::string() : pem.substr(0, end) + std::string(kPemEnd);
}

struct Issued {
  crypto::IssuedCertificate certificate;
  std::string caPem;
};

Result<Issued> issue(const std::vector<std::string>& names, WallTime now) {
  // Not of one name: two authorities that are trusted at once must be told apart by it.
  const Result<crypto::Authority> authority = crypto::Authority::make("pod identity webhook CA " + rfc3339(now), now);
  if (!authority) return authority.error();
  Result<crypto::IssuedCertificate> issued =
      (*authority).issue({.commonName = names.front(), .dnsNames = names, .forServer = true, .life = kLife}, now);
  if (!issued) return issued.error();
  return Issued{*std::move(issued), (*authority).certificatePem()};
}

Result<std::string> announce(json::object& secret, const std::vector<std::string>& names, WallTime now) {
  Result<Issued> next = issue(names, now);
  if (!next) return next.error();
  setMember(secret, "next.crt", next->certificate.certificatePem);
  setMember(secret, "next.key", next->certificate.keyPem.reveal());
  setMember(secret, "ca.crt", next->caPem + firstCertificate(member(secret, "ca.crt")));
  setMoment(secret, kRenewAfter, now + kLife * 2 / 3);
  setMoment(secret, kSwitchAfter, now + kAnnouncement);
  makeObjectAt(secret, {"metadata", "annotations"}).erase(kForgetAfter);
  return std::string("announced");
}

void switchOver(json::object& secret, WallTime now) {
  json::object& data = makeObjectAt(secret, {"data"});
  data["tls.crt"] = data["next.crt"];
  data["tls.key"] = data["next.key"];
  data.erase("next.crt");
  data.erase("next.key");
  makeObjectAt(secret, {"metadata", "annotations"}).erase(kSwitchAfter);
  setMoment(secret, kForgetAfter, now + kFarewell);
}

}  // namespace

std::optional<WebhookCertificate> certificateIn(const json::object& secret) {
  WebhookCertificate found;
  found.tls.certificatePem = member(secret, "tls.crt");
  found.tls.keyPem = Secret(member(secret, "tls.key"));
  found.caPem = member(secret, "ca.crt");
  if (found.tls.certificatePem.empty() || found.tls.keyPem.reveal().empty()) return std::nullopt;
  if (const std::string_view after = moment(secret, kRenewAfter); !after.empty()) {
    const Result<WallTime> when = parseRfc3339(after);
    found.renewAfter = when ? *when : WallTime{};
  }
  return found;
}

json::object secretOf(const WebhookCertificate& certificate) {
  json::object secret{{"apiVersion", "v1"}, {"kind", "Secret"}, {"type", "kubernetes.io/tls"}};
  if (certificate.renewAfter) setMoment(secret, kRenewAfter, *certificate.renewAfter);
  setMember(secret, "tls.crt", certificate.tls.certificatePem);
  setMember(secret, "tls.key", certificate.tls.keyPem.reveal());
  setMember(secret, "ca.crt", certificate.caPem);
  return secret;
}

Result<json::object> newSecret(const std::vector<std::string>& names, WallTime now) {
  Result<Issued> issued = issue(names, now);
  if (!issued) return issued.error();
  WebhookCertificate certificate;
  certificate.tls.certificatePem = issued->certificate.certificatePem;
  certificate.tls.keyPem = std::move(issued->certificate.keyPem);
  certificate.caPem = std::move(issued->caPem);
  certificate.renewAfter = now + kLife * 2 / 3;
  return secretOf(certificate);
}

Result<std::string> renew(json::object& secret, const std::vector<std::string>& names, bool trusted, WallTime now) {
  const bool announced = !member(secret, "next.crt").empty() && !member(secret, "next.key").empty();
  if (announced && (!trusted || moment(secret, kSwitchAfter).empty())) {  // the time that API servers get begins when they were told
    setMoment(secret, kSwitchAfter, now + kAnnouncement);
    return std::string("announced again");
  }
  if (announced) {
    if (!hasCome(secret, kSwitchAfter, now)) return std::string();
    switchOver(secret, now);
    return std::string("switched");
  }
  if (hasCome(secret, kRenewAfter, now)) return announce(secret, names, now);
  if (!hasCome(secret, kForgetAfter, now)) return std::string();
  setMember(secret, "ca.crt", firstCertificate(member(secret, "ca.crt")));
  makeObjectAt(secret, {"metadata", "annotations"}).erase(kForgetAfter);
  return std::string("settled");
}

}  // namespace podpass::irsa
