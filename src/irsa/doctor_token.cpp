#include "irsa/doctor_token.h"

#include <algorithm>
#include <array>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>
#include <ctime>

#include "api/iam_names.h"
#include "base/log.h"
#include "base/text.h"
#include "irsa/mend.h"
#include "irsa/sts_session.h"
#include "irsa/web_identity.h"
#include "token/issuer_documents.h"
#include "token/issuer_report.h"
#include "token/relying_party.h"

namespace podpass::irsa {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

constexpr std::array<std::string_view, 12> kTokenChecks = {"claims", "time",      "issuer",   "clock",    "discovery", "jwks",
                                                           "kid",    "signature", "provider", "audience", "role",      "trust-policy"};
constexpr std::chrono::seconds kClockTolerance = 60s;

std::string listed(const std::vector<std::string>& all) {
  std::string text;
  for (const std::string& each : all) text += (text.empty() ? "" : ", ") + quoted(each);
  return text.empty() ? "none" : text;
}

// When an HTTP Date header says it is (RFC 9110 §5.6.7).
std::optional<WallTime> timeIn(std::string_view date) {
  std::tm parts{};
  const char* const end = ::strptime(std::string(date).c_str(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
  if (end == nullptr) return std::nullopt;
  return WallTime(std::chrono::seconds(::timegm(&parts)));
}

// One token on its way.
class Walk {
 public:
  Walk(const std::string& token, const TokenCase& about, Diagnosis& diagnosis) : token_(token), about_(about), out_(diagnosis) {}

  void run() {
    Result<token::PresentedToken> parsed = token::parseToken(token_);
    if (!parsed) {
      out_.broken("claims", "no token that can be read", log::chain(parsed.error()), about_.source.another);
      return skipTokenChecks("time", "the token cannot be read", out_);
    }
    presented_ = *std::move(parsed);
    findProvider();
    examineClaims();
    examineTime();
    examineIssuer();
    examineKeys();
    examineProvider();
    examineAudience();
    examineRole();
  }

 private:
  void findProvider() {
    issuer_.url = presented_.issuer;
    issuer_.caPem = about_.issuerCa;
    issuer_.plainLoopback = !about_.iam.aws;
    if (!about_.iam.providers) return;
    for (const DocumentPtr& each : *about_.iam.providers)
      if (textAt(each->value, {"spec", "url"}) == presented_.issuer) {
        registered_ = each;
        const std::string ca = issuer_.caPem;
        issuer_ = issuerOf(each->value);
        issuer_.plainLoopback = !about_.iam.aws;
        if (issuer_.caPem.empty() && issuer_.thumbprints.empty()) issuer_.caPem = ca;
        return;
      }
  }

  void examineClaims() {
    const json::object& claims = presented_.jws.payload;
    const std::string podUid(textAt(claims, {"kubernetes.io", "pod", "uid"}));
    const std::string found =
        "sub " + quoted(presented_.subject) + ", aud " + listed(presented_.audiences) + ", iss " + quoted(presented_.issuer);
    const TokenSource& source = about_.source;
    if (!source.subject.empty() && presented_.subject != source.subject)
      return out_.broken("claims", found, "the token is of " + quoted(presented_.subject) + ", the pod runs as " + quoted(source.subject),
                         source.another);
    if (!source.podUid.empty() && !podUid.empty() && podUid != source.podUid)
      return out_.broken("claims", found, "the token is bound to the pod with uid " + podUid + ", this one has " + source.podUid,
                         source.another);
    out_.ok("claims", found);
  }

  void examineTime() {
    token::TrustedIssuer any;
    any.url = presented_.issuer;
    any.algorithms = {presented_.jws.alg};
    const Result<void> good = token::checkClaims(presented_, any, about_.clock.now());
    const std::string found = "expires " + rfc3339(WallTime(std::chrono::seconds(presented_.expires)));
    inTime_ = static_cast<bool>(good);
    if (good) return out_.ok("time", found);
    Mend mend = about_.source.another;
    mend.text = "read the file anew at each use, as it is renewed in place; " + (mend.text.empty() ? "get a new token" : mend.text);
    out_.broken("time", found, good.error().sentence, std::move(mend));
  }

  [[nodiscard]] http::FetchOptions trust() const {
    http::FetchOptions options;
    options.maxBody = token::kMaxIssuerDocument;
    options.caPem = issuer_.caPem;
    options.thumbprints = issuer_.thumbprints;
    options.timeout = 5s;
    return options;
  }

  void examineIssuer() {
    const std::string& url = presented_.issuer;
    if (const Result<void> usable = token::checkIssuerUrl(url, issuer_.plainLoopback); !usable) {
      out_.broken("issuer", quoted(url), usable.error().sentence,
                  {"run the issuer under an https:// URL that relying parties can reach", {}});
      return skipDocuments("the issuer's URL cannot be used");
    }
    const Result<http::Fetched> fetched = http::fetch(client_, token::discoveryUrl(url), trust());
    if (!fetched) {
      out_.broken("issuer", quoted(url), fetched.error().sentence, mendForUnreachable(fetched.error()));
      return skipDocuments("the issuer cannot be reached");
    }
    report_ = token::examineIssuer(rules_, url, issuer_.caPem, issuer_.thumbprints);
    if (const token::Finding* bad = complaint({"url", "reach", "tls"}))
      out_.broken("issuer", quoted(url), bad->sentence, {bad->fix, {}});
    else
      out_.ok("issuer", url + " answers");
    examineClock(fetched->headers.find("Date"));
    examineDocuments(fetched->status);
  }

  void skipDocuments(const std::string& why) {
    reached_ = false;
    for (const char* id : {"clock", "discovery", "jwks"}) out_.skipped(id, why);
  }

  // Not the issuer but what the provider believes of it is the mend when it was reached and its certificate was refused.
  Mend mendForUnreachable(const Error& error) const {
    const auto shown = std::find_if(error.causes.begin(), error.causes.end(),
                                    [](const Cause& cause) { return cause.reason == http::kCertificateRefused; });
    if (shown == error.causes.end() || shown->message.empty() || !registered_)
      return {error.fix.empty() ? "make the issuer reachable for relying parties, or correct where it is published" : error.fix, {}};
    const std::string name(textAt(registered_->value, {"metadata", "name"})), top = shown->message;
    const std::string text = "if the chain that the issuer shows is its own, let the provider " + quoted(name) +
                             " trust it by the thumbprint of its topmost certificate";
    if (about_.iam.aws)
      return {text, "aws iam update-open-id-connect-provider-thumbprint --open-id-connect-provider-arn " +
                        shellQuoted(api::providerArn(about_.iam.account, presented_.issuer)) + " --thumbprint-list " + shellQuoted(top)};
    const json::object patch{{"spec", json::object{{"thumbprints", json::array{top}}}}};
    return {text,
            "kubectl patch oidcproviders.iam.podpass.dev " + shellQuoted(name) + " --type=merge -p " + shellQuoted(json::serialize(patch))};
  }

  void examineClock(std::string_view date) {
    const std::optional<WallTime> theirs = timeIn(date);
    if (!theirs) return out_.skipped("clock", "the issuer's answers say no time");
    const auto apart = std::chrono::duration_cast<std::chrono::seconds>(about_.clock.now() - *theirs);
    const std::string found = "this machine's clock and the issuer's are " + std::to_string(std::abs(apart.count())) + " s apart";
    if (std::chrono::abs(apart) <= kClockTolerance) return out_.ok("clock", found);
    out_.broken("clock", found,
                std::string("this machine's clock is ") + (apart > 0s ? "ahead" : "behind") + ": tokens end, or begin, at the wrong time",
                {"set the clocks of both machines by NTP", "timedatectl set-ntp true"});
  }

  // The first finding under one of these names for which a token is refused where this one goes.
  [[nodiscard]] const token::Finding* complaint(std::initializer_list<std::string_view> checks) const {
    for (const token::Finding& each : report_.findings) {
      const bool named = std::find(checks.begin(), checks.end(), each.check) != checks.end();
      const bool aws = std::find(each.refusedBy.begin(), each.refusedBy.end(), "AWS") != each.refusedBy.end();
      const bool plain =
          (each.check == "url" || each.check == "jwks_uri") && each.refusedBy.empty();  // the relying party decides what is allowed
      if (named && each.severity == token::Finding::Severity::Error &&
          (about_.iam.aws ? each.refusedBy.empty() || aws : each.refusedBy.empty() && !plain))
        return &each;
    }
    return nullptr;
  }

  void examineDocuments(int status) {
    const std::string url = token::discoveryUrl(presented_.issuer);
    if (const token::Finding* bad = complaint({"discovery", "issuer", "jwks_uri"})) {
      Mend mend{bad->fix, {}};
      if (status == 401 || status == 403)
        mend = {"let everybody read the issuer's documents, as relying parties ask without credentials; they hold public keys only",
                "kubectl create clusterrolebinding anonymous-issuer-discovery --clusterrole=system:service-account-issuer-discovery "
                "--group=system:unauthenticated"};
      out_.broken("discovery", url, bad->sentence, std::move(mend));
      return out_.skipped("jwks", "the discovery document cannot be used");
    }
    out_.ok("discovery", url);
    if (const token::Finding* bad = complaint({"jwks", "key"}))
      out_.broken("jwks", std::to_string(report_.keys.size()) + " keys", bad->sentence, {bad->fix, {}});
    else
      out_.ok("jwks", std::to_string(report_.keys.size()) + (report_.keys.size() == 1 ? " key" : " keys"));
  }

  // The relying party's own answer, as STS gets it; it was already said whether audience and time are good.
  [[nodiscard]] Result<token::VerifiedToken> verified() const {
    asio::thread_pool pool(1);
    token::RelyingParty party(pool, about_.clock);
    token::TrustedIssuer issuer = issuer_;
    issuer.audiences.clear();
    if (Result<void> trusted = party.trust({issuer}); !trusted) return trusted.error();
    Result<token::VerifiedToken> result;
    asio::io_context here(1);
    asio::co_spawn(here, party.verify(token_),
                   [&result](std::exception_ptr, Result<token::VerifiedToken> got) { result = std::move(got); });
    here.run();
    return result;
  }

  void examineKeys() {
    const std::string kid = presented_.jws.kid.empty() ? "no kid" : "kid " + quoted(presented_.jws.kid);
    const auto skip = [this](const std::string& why) {
      out_.skipped("kid", why);
      out_.skipped("signature", why);
    };
    if (!reached_ || out_.find("discovery")->finding == Finding::Broken) return skip("the issuer's keys could not be fetched");
    if (!inTime_) return skip("the token is out of time: its key may be gone by right");
    const Result<token::VerifiedToken> good = verified();
    const std::optional<token::Refusal> refused = good ? std::nullopt : token::refusalOf(good.error());
    const std::string check = good ? "" : refused ? refused->check : "discovery";
    Mend renew = about_.source.another;
    renew.text = "the key was retired, or is not published yet: get a new token, or publish the issuer's keys anew (podpass keys publish)";
    if (check == "discovery") {
      if (out_.find("jwks")->finding == Finding::Ok)
        out_.checks.back() = Check{"jwks", Finding::Broken, kid, good.error().sentence, {good.error().fix, {}}};
      return skip("the issuer's keys could not be used");
    }
    if (check == "key id" || check == "algorithm") {
      out_.broken("kid", kid, good.error().sentence, std::move(renew));
      return out_.skipped("signature", "there is no key to check it with");
    }
    out_.ok("kid", kid + ", " + presented_.jws.alg);
    if (good)
      out_.ok("signature", "made by that key");
    else
      out_.broken("signature", kid, good.error().sentence, about_.source.another);
  }

  void examineProvider() {
    const IamView& iam = about_.iam;
    if (!iam.providers) return out_.unknown("provider", "list oidcproviders.iam.podpass.dev", iam.providers.error());
    const std::string account = accountOfRole(about_.role);
    if (!account.empty() && account != iam.account && registered_ && about_.source.forRole)
      return out_.broken("provider", quoted(textAt(registered_->value, {"metadata", "name"})) + " in account " + iam.account,
                         "the role is of the account " + account + ", where this provider is not registered: that is " + iam.account,
                         about_.source.forRole(withAccount(about_.role, iam.account)));
    if (registered_) return out_.ok("provider", provider().arn);
    out_.broken("provider", "registered are " + listed(urls()), "no provider has the url " + quoted(presented_.issuer) + nearestProvider(),
                providerCreated());
  }

  static std::string withAccount(std::string arn, const std::string& account) { return arn.replace(arn.find(":iam::") + 6, 12, account); }

  [[nodiscard]] std::vector<std::string> urls() const {
    std::vector<std::string> all;
    for (const DocumentPtr& each : *about_.iam.providers) all.emplace_back(textAt(each->value, {"spec", "url"}));
    return all;
  }

  [[nodiscard]] std::string nearestProvider() const {
    const auto bare = [](std::string_view url) {
      std::string text = api::lowered(api::withoutScheme(url));
      while (text.ends_with('/')) text.pop_back();
      return text;
    };
    const auto host = [&bare](std::string_view url) { return bare(url).substr(0, bare(url).find('/')); };
    for (const std::string& url : urls())
      if (bare(url) == bare(presented_.issuer))
        return "; " + quoted(url) + " differs by scheme, case or the slash at the end, and it must be the same to the letter";
    for (const std::string& url : urls())
      if (host(url) == host(presented_.issuer)) return "; " + quoted(url) + " has the same host and another path or port";
    return {};
  }

  [[nodiscard]] Mend providerCreated() const {
    const std::string text = "register the issuer, exactly as the tokens name it";
    const std::string audience = presented_.audiences.front();
    if (about_.iam.aws)
      return {text, "aws iam create-open-id-connect-provider --url " + shellQuoted(presented_.issuer) + " --client-id-list " +
                        shellQuoted(audience)};
    std::string name;
    for (const char c : api::lowered(api::withoutScheme(presented_.issuer)))
      name += (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ? c : '-';
    name = "issuer-" + name.substr(0, 200);
    while (name.ends_with('-')) name.pop_back();
    json::object spec{{"url", presented_.issuer}, {"clientIDs", json::array{audience}}};
    if (!about_.issuerCa.empty()) spec["caBundle"] = base64Encode(about_.issuerCa);
    return {text, applyCommand({{"apiVersion", "iam.podpass.dev/v1"},
                                {"kind", "OIDCProvider"},
                                {"metadata", json::object{{"name", name}}},
                                {"spec", std::move(spec)}})};
  }

  // The one registered, or what it would be once it is.
  [[nodiscard]] Provider provider() const {
    if (registered_) return providerOf(registered_->value, about_.iam.account);
    return {"", presented_.issuer, api::providerArn(about_.iam.account, presented_.issuer), presented_.audiences};
  }

  void examineAudience() {
    if (!about_.iam.providers) return out_.skipped("audience", "the providers could not be read");
    if (!registered_) return out_.skipped("audience", "no provider says which audiences it takes");
    const std::vector<std::string> taken = provider().clientIds;
    const std::string azp(textAt(presented_.jws.payload, {"azp"}));
    const auto isTaken = [&taken](const std::string& each) { return std::find(taken.begin(), taken.end(), each) != taken.end(); };
    if (std::any_of(presented_.audiences.begin(), presented_.audiences.end(), isTaken) || (!azp.empty() && isTaken(azp)))
      return out_.ok("audience", listed(presented_.audiences));
    const std::string why = "the token is for " + listed(presented_.audiences) + ", the provider takes " + listed(taken);
    if (!taken.empty() && about_.source.forAudience)
      return out_.broken("audience", listed(presented_.audiences), why, about_.source.forAudience(taken.front()));
    const json::array patch{json::object{{"op", "add"}, {"path", "/spec/clientIDs/-"}, {"value", presented_.audiences.front()}}};
    out_.broken("audience", listed(presented_.audiences), why,
                {"add the token's audience to the provider's client ids",
                 about_.iam.aws ? "aws iam add-client-id-to-open-id-connect-provider --open-id-connect-provider-arn " +
                                      shellQuoted(provider().arn) + " --client-id " + shellQuoted(presented_.audiences.front())
                                : "kubectl patch oidcproviders.iam.podpass.dev " + shellQuoted(provider().name) + " --type=json -p " +
                                      shellQuoted(json::serialize(patch))});
  }

  void examineRole() {
    if (checkRoleArn(about_.role)) {
      out_.skipped("role", "it is not known which role is asked for");
      return out_.skipped("trust-policy", "there is no role");
    }
    AssumeRequest assume;
    assume.roleArn = about_.role;
    assume.sessionName = "doctor";
    Outcome<TrustRequest> trust = webIdentityTrust(presented_.jws.payload, provider(), requestKeys(assume, about_.clock.now()), assume);
    if (!trust) {
      out_.skipped("role", "the token's claims are refused before");
      return out_.broken("trust-policy", quoted(presented_.subject), trust.refusal().reason, about_.source.another);
    }
    trust->keys.erase("sts:RoleSessionName");  // the program's to choose
    examineTrust(about_.role, *trust, about_.iam, about_.source.forRole, out_);
  }

  const std::string& token_;
  const TokenCase& about_;
  Diagnosis& out_;
  token::PresentedToken presented_;
  token::TrustedIssuer issuer_;
  DocumentPtr registered_;  // the provider of the token's issuer; null: none
  token::IssuerReport report_;
  const http::AddressRules rules_;  // who wrote the token decides what is fetched
  http::Client client_{http::ClientOptions{.allowed = [this](const auto& address) { return rules_.allows(address); }}};
  bool inTime_ = false, reached_ = true;
};

}  // namespace

void examineToken(const std::string& token, const TokenCase& about, Diagnosis& diagnosis) { Walk(token, about, diagnosis).run(); }

void skipTokenChecks(std::string_view first, const std::string& why, Diagnosis& diagnosis) {
  const auto from = std::find(kTokenChecks.begin(), kTokenChecks.end(), first);
  for (auto each = from; each != kTokenChecks.end(); ++each) diagnosis.skipped(std::string(*each), why);
}

}  // namespace podpass::irsa
