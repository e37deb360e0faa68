#include "token/issuer_report.h"

#include <bit>
#include <boost/asio/ip/address.hpp>
#include <chrono>
#include <map>

#include "base/text.h"
#include "http/client.h"
#include "http/url.h"
#include "token/issuer_documents.h"

namespace podpass::token {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;
using Severity = Finding::Severity;

constexpr std::chrono::seconds kPatienceOfAws = 5s;
const std::vector<std::string> kClouds = {"AWS", "GCP", "Azure"};

constexpr int kLeastBits = 2048;  // of RSA

// 0: it is no RSA key.
int modulusBits(const json::object& key) {
  const Result<std::string> decoded = base64UrlDecode(textAt(key, {"n"}));
  if (textAt(key, {"kty"}) != "RSA" || !decoded) return 0;
  const std::size_t first = decoded->find_first_not_of('\0');
  if (first == std::string::npos) return 0;
  const auto top = std::bit_width(static_cast<unsigned char>((*decoded)[first]));
  return static_cast<int>((decoded->size() - first - 1) * 8) + static_cast<int>(top);
}

class Examination {
 public:
  Examination(const http::AddressRules& rules, IssuerReport& report, std::string caPem, std::vector<std::string> thumbprints)
      : rules_(rules), report_(report), caPem_(std::move(caPem)), thumbprints_(std::move(thumbprints)) {}

  void run() {
    examineUrl();
    const std::optional<http::Fetched> document = fetch("discovery", discoveryUrl(report_.issuer));
    if (!document) return;
    reach_ = http::reachOf(document->from);
    const std::optional<json::object> parsed = documentIn(*document, "discovery", "the discovery document", {"application/json"});
    if (!parsed) return;
    examineDiscovery(*parsed);
    const std::string uri(textAt(*parsed, {"jwks_uri"}));
    if (uri.empty()) return;
    const std::optional<http::Fetched> jwks = fetch("jwks", uri);
    if (!jwks) return;
    const std::optional<json::object> set = documentIn(*jwks, "jwks", "the JWKS", {"application/json", "application/jwk-set+json"});
    if (!set) return;
    examineKeys(*set);
    examineCache(jwks->headers);
  }

 private:
  void error(const char* check, std::string sentence, std::vector<std::string> by = {}, std::string fix = {}) {
    report_.findings.push_back({Severity::Error, check, std::move(sentence), std::move(by), std::move(fix)});
  }
  void warn(const char* check, std::string sentence, std::string fix = {}) {
    report_.findings.push_back({Severity::Warning, check, std::move(sentence), {}, std::move(fix)});
  }

  void examineUrl() {
    const std::string& url = report_.issuer;
    if (url.find_first_of("?#") != std::string::npos)
      error("url", "the issuer URL has a query or a fragment", {}, "use host and path only");
    const Result<http::Url> parsed = http::parseUrl(url);
    if (!parsed) return error("url", parsed.error().sentence);
    if (!parsed->secure) error("url", "the issuer URL uses plain http", {}, "serve it over https");
    if (parsed->port != (parsed->secure ? "443" : "80"))
      error("url", "the issuer URL names the port " + parsed->port, {"AWS"}, "serve it on port 443");
    if (url.ends_with('/')) warn("url", "the issuer URL ends with a slash: tokens must say it with the slash as well");
    if (url.size() > 255) error("url", "the issuer URL is longer than 255 characters", {"AWS"});
    examineHost(parsed->host);
  }

  void examineHost(const std::string& host) {
    boost::system::error_code failed;
    const auto address = boost::asio::ip::make_address(host, failed);
    const bool loopback = failed ? host == "localhost" : address.is_loopback();
    const bool cluster =
        host.ends_with(".svc") || host.ends_with(".cluster.local") || host.ends_with(".internal") || host.find('.') == std::string::npos;
    if (loopback || (failed && cluster))
      error("reach", "the host " + host + " cannot be reached from the Internet", kClouds,
            "publish the documents where clouds can fetch them, under a public issuer URL");
  }

  std::optional<http::Fetched> fetch(const char* check, const std::string& url) {
    http::FetchOptions options;
    options.maxBody = kMaxIssuerDocument;
    options.caPem = caPem_;
    options.thumbprints = thumbprints_;
    options.timeout = kPatienceOfAws;
    options.allowed = [this](const boost::asio::ip::address& address) { return rules_.mayLeadTo(address, reach_); };
    const SteadyTime before = steady_clock::now();
    Result<http::Fetched> fetched = http::fetch(client_, url, options);
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(steady_clock::now() - before);
    if (!fetched) {
      const bool tls =
          fetched.error().sentence.find("certificate") != std::string::npos || fetched.error().sentence.find("TLS") != std::string::npos;
      error(tls ? "tls" : check, fetched.error().sentence, {}, fetched.error().fix);
      return std::nullopt;
    }
    if (took > kPatienceOfAws / 2) warn(check, url + " took " + std::to_string(took.count()) + " ms; AWS gives up after five seconds");
    if (!caPem_.empty() && url.starts_with("https:") && !std::exchange(publicAsked_, true)) askWithPublicRoots(url, options);
    return *std::move(fetched);
  }

  void askWithPublicRoots(const std::string& url, http::FetchOptions options) {
    options.caPem.clear();
    options.thumbprints.clear();
    const Result<http::Fetched> fetched = http::fetch(client_, url, options);
    if (!fetched)
      error("tls", "the certificate leads to no public authority", {"GCP", "Azure"},
            "use a public certificate; AWS accepts a thumbprint, Vault oidc_discovery_ca_pem, GCP an uploaded JWKS");
  }

  std::optional<json::object> documentIn(const http::Fetched& fetched, const char* check, const std::string& what,
                                         std::initializer_list<std::string_view> types) {
    if (fetched.status != 200) {
      error(check, what + " is answered with status " + std::to_string(fetched.status), {},
            "it must be readable without credentials, at this URL and without a redirect");
      return std::nullopt;
    }
    const std::string type(fetched.headers.find("Content-Type").substr(0, fetched.headers.find("Content-Type").find(';')));
    Result<json::object> parsed = jose::parseStrictObject(fetched.body);
    if (!parsed) {
      error(check, what + " is " + (type == "text/html" ? "an HTML page" : parsed.error().sentence));
      return std::nullopt;
    }
    if (std::find(types.begin(), types.end(), type) == types.end())
      warn("content type", what + " is served as " + quoted(type), "serve it as " + std::string(*types.begin()));
    return *std::move(parsed);
  }

  void examineDiscovery(const json::object& document) {
    const std::string issuer(textAt(document, {"issuer"}));
    if (issuer != report_.issuer)
      error("issuer", "the discovery document is for " + quoted(issuer) + ", expected " + quoted(report_.issuer), {},
            issuer == report_.issuer + "/" || issuer + "/" == report_.issuer ? "they differ by the slash at the end" : "");
    const std::string uri(textAt(document, {"jwks_uri"}));
    if (uri.empty()) return error("jwks_uri", "the discovery document has no jwks_uri");
    const Result<http::Url> parsed = http::parseUrl(uri);
    if (!parsed) return error("jwks_uri", "the jwks_uri is no URL: " + parsed.error().sentence);
    if (!parsed->secure) error("jwks_uri", "the jwks_uri " + quoted(uri) + " uses plain http");
    const Result<http::Url> own = http::parseUrl(report_.issuer);
    if (own && own->host != parsed->host) examineHost(parsed->host);
    for (const char* member : {"response_types_supported", "subject_types_supported", "id_token_signing_alg_values_supported"})
      if (arrayAt(document, {member}) == nullptr)
        warn("discovery", std::string("the discovery document has no ") + member, "OpenID Connect Discovery §3 requires it");
  }

  void examineKeys(const json::object& set) {
    const json::array* keys = arrayAt(set, {"keys"});
    if (keys == nullptr || keys->empty()) return error("jwks", "the JWKS has no keys");
    if (keys->size() > kMaxIssuerKeys)
      error("jwks", "the JWKS has " + std::to_string(keys->size()) + " keys", {"AWS"}, "publish at most 100");
    std::map<std::string, int> kids;
    for (const json::value& value : *keys) {
      if (!value.is_object()) {
        error("key", "an entry of the JWKS is not an object");
        continue;
      }
      const json::object& key = value.get_object();
      const std::string kid(textAt(key, {"kid"}));
      if (kid.empty())
        error("key id", "a key has no kid", {"GCP", "Azure"}, "give each key a kid, and name it in the header of tokens");
      else if (++kids[kid] == 2)
        error("key id", "two keys have the kid " + quoted(kid), {}, "give each key a kid of its own");
      examineKey(key, kid.empty() ? "the key without kid" : "the key " + quoted(kid));
    }
    examineAlgorithms();
  }

  void examineKey(const json::object& key, const std::string& name) {
    for (const char* secret : {"d", "p", "q", "k"})
      if (key.contains(secret)) {
        error("key", name + " is published with its private part", {}, "anybody can sign with it: replace the key now");
        break;
      }
    if (textAt(key, {"kty"}) == "oct") return error("key", name + " is a shared secret");
    if (const int bits = modulusBits(key); bits > 0 && bits < kLeastBits)
      return error("key size", name + " has " + std::to_string(bits) + " bits, " + std::to_string(kLeastBits) + " are the least", {},
                   "rotate to a key of 2048 bits or more");
    const Result<jose::Key> parsed = jose::fromJwk(key);
    if (!parsed) return error("key", name + " cannot be used: " + parsed.error().sentence);
    if (parsed->key.bits() > kMaxIssuerKeyBits)
      warn("key size", name + " has " + std::to_string(parsed->key.bits()) + " bits; many relying parties take no more than 4096");
    if (textAt(key, {"alg"}).empty()) warn("algorithm", name + " does not say its alg", "add \"alg\": \"" + parsed->alg + "\"");
    if (textAt(key, {"use"}).empty()) warn("key", name + " does not say its use", "add \"use\": \"sig\"");
    algorithms_.push_back(parsed->alg);
    report_.keys.push_back(parsed->alg + " " + std::to_string(parsed->key.bits()) + " bits, kid " + parsed->kid);
  }

  // A relying party needs one key that it can use; tokens signed with the others are refused there.
  void examineAlgorithms() {
    const std::pair<const char*, std::vector<std::string>> accepted[] = {
        {"AWS", {"RS256", "RS384", "RS512", "ES256", "ES384", "ES512"}}, {"GCP", {"RS256", "ES256"}}, {"Azure", {"RS256"}}};
    for (const std::string& alg : std::set<std::string>(algorithms_.begin(), algorithms_.end())) {
      std::vector<std::string> refusing;
      for (const auto& [party, known] : accepted)
        if (std::find(known.begin(), known.end(), alg) == known.end()) refusing.emplace_back(party);
      if (!refusing.empty())
        error("algorithm", "tokens signed with " + alg + " are refused", std::move(refusing), "sign with RS256 for them");
      if (alg != "RS256") warn("algorithm", "Vault accepts " + alg + " only when jwt_supported_algs names it");
    }
  }

  void examineCache(const http::Headers& headers) {
    const std::string_view control = headers.find("Cache-Control");
    if (control.empty())
      warn("cache", "the JWKS says nothing of how long it may be kept",
           "send Cache-Control: max-age, and wait that long before signing with a new key");
    else if (control.find("no-store") != std::string_view::npos || control.find("no-cache") != std::string_view::npos)
      warn("cache", "the JWKS may not be kept: relying parties ask for it again and again");
    else if (const std::size_t at = control.find("max-age=");
             at != std::string_view::npos && std::strtoll(control.data() + at + 8, nullptr, 10) > 86400)
      warn("cache", "the JWKS may be kept for more than a day: a new key is not seen for that long", "let it be kept for an hour");
  }

  http::Client client_;
  const http::AddressRules& rules_;
  http::Reach reach_ = http::Reach::Machine;  // of who has led us to what is fetched next: first of all the user
  IssuerReport& report_;
  std::string caPem_;
  std::vector<std::string> thumbprints_;
  std::vector<std::string> algorithms_;
  bool publicAsked_ = false;
};

}  // namespace

bool IssuerReport::good() const {
  return std::none_of(findings.begin(), findings.end(), [](const Finding& finding) { return finding.severity == Severity::Error; });
}

json::object IssuerReport::toJson() const {
  json::array all;
  for (const Finding& finding : findings) {
    json::object one{
        {"severity", finding.severity == Severity::Error ? "error" : "warning"}, {"check", finding.check}, {"message", finding.sentence}};
    if (finding.severity == Severity::Error) {
      json::array by;
      for (const std::string& party : finding.refusedBy) by.emplace_back(party);
      if (by.empty()) by.emplace_back("everybody");
      one["refusedBy"] = std::move(by);
    }
    if (!finding.fix.empty()) one["fix"] = finding.fix;
    all.push_back(std::move(one));
  }
  json::array shown;
  for (const std::string& key : keys) shown.emplace_back(key);
  return {{"issuer", issuer}, {"good", good()}, {"keys", std::move(shown)}, {"findings", std::move(all)}};
}

std::string IssuerReport::text() const {
  std::string text = "issuer " + issuer + "\n";
  for (const std::string& key : keys) text += "  key: " + key + "\n";
  for (const Finding& finding : findings) {
    std::string by;
    for (const std::string& party : finding.refusedBy) by += (by.empty() ? "" : ", ") + party;
    const bool bad = finding.severity == Severity::Error;
    text += std::string(bad ? "error" : "warning") + " (" + finding.check + "): " + finding.sentence + "\n";
    if (bad) text += "  refused by: " + (by.empty() ? "everybody" : by) + "\n";
    if (!finding.fix.empty()) text += "  fix: " + finding.fix + "\n";
  }
  return text + (findings.empty() ? "nothing to complain about\n" : "");
}

IssuerReport examineIssuer(const http::AddressRules& rules, const std::string& url, const std::string& caPem,
                           const std::vector<std::string>& thumbprints) {
  IssuerReport report{url, {}, {}};
  Examination(rules, report, caPem, thumbprints).run();
  return report;
}

}  // namespace podpass::token
