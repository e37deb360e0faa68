#include "irsa/sigv4.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>

#include "api/iam_names.h"
#include "base/text.h"
#include "crypto/aead.h"
#include "http/message.h"

namespace podpass::irsa {
namespace {

constexpr std::string_view kAlgorithm = "AWS4-HMAC-SHA256";
constexpr std::chrono::minutes kTolerance{15};
constexpr std::size_t kMostSignedHeaders = 64;

Refusal incomplete(std::string message) { return {400, "IncompleteSignature", std::move(message), "signature"}; }
Refusal mismatch(std::string message) { return {403, "SignatureDoesNotMatch", std::move(message), "signature"}; }

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (std::size_t end; (end = text.find(separator)) != std::string_view::npos; text.remove_prefix(end + 1))
    parts.push_back(text.substr(0, end));
  parts.push_back(text);
  return parts;
}

// RFC 3986: everything but unreserved characters, and the slash where it separates.
std::string uriEncoded(std::string_view text, bool keepSlash) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string result;
  for (const char c : text) {
    const bool plain =
        (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_' || c == '.' || c == '~';
    if (plain || (c == '/' && keepSlash)) {
      result += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      result += '%';
      result += kHex[byte >> 4];
      result += kHex[byte & 15];
    }
  }
  return result;
}

// ---- reading

struct Parts {
  std::string credential, signedHeaders, signature;
};

Outcome<Parts> readAuthorization(std::string_view header) {
  header = trimmed(header);
  if (!header.starts_with(kAlgorithm) || header.size() == kAlgorithm.size() || header[kAlgorithm.size()] != ' ')
    return incomplete("Authorization header requires existence of the algorithm " + std::string(kAlgorithm) + ".");
  Parts parts;
  for (const std::string_view item : split(header.substr(kAlgorithm.size() + 1), ',')) {
    const std::string_view pair = trimmed(item);
    const std::size_t equals = pair.find('=');
    if (equals == std::string_view::npos)  // never the header itself: AWS shows it, we do not
      return incomplete("'" + std::string(pair.substr(0, 32)) +
                        "' not a valid key=value pair (missing equal-sign) in Authorization header.");
    const std::string_view name = pair.substr(0, equals), value = pair.substr(equals + 1);
    if (name == "Credential")
      parts.credential = value;
    else if (name == "SignedHeaders")
      parts.signedHeaders = value;
    else if (name == "Signature")
      parts.signature = value;
  }
  return parts;
}

bool isAmzDate(std::string_view text) {
  if (text.size() != 16 || text[8] != 'T' || text[15] != 'Z') return false;
  for (const std::size_t i : {0u, 1u, 2u, 3u, 4u, 5u, 6u, 7u, 9u, 10u, 11u, 12u, 13u, 14u})
    if (text[i] < '0' || text[i] > '9') return false;
  return true;
}

std::string amzDate(WallTime time) {
  std::string text = rfc3339(time);  // 2026-03-01T12:00:00Z
  text.erase(std::remove_if(text.begin(), text.end(), [](char c) { return c == '-' || c == ':'; }), text.end());
  return text;
}

Result<WallTime> timeOf(std::string_view date) {
  const std::string text(date);
  return parseRfc3339(text.substr(0, 4) + "-" + text.substr(4, 2) + "-" + text.substr(6, 5) + ":" + text.substr(11, 2) + ":" +
                      text.substr(13));
}

// The scope AKID/day/region/sts/aws4_request.
std::optional<Refusal> readCredential(std::string_view credential, Signature& signature) {
  const std::vector<std::string_view> scope = split(credential, '/');
  if (scope.size() != 5) return incomplete("Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term");
  signature.accessKeyId = scope[0];
  signature.day = scope[1];
  signature.region = scope[2];
  const auto region = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; };
  if (scope[2].empty() || scope[2].size() > 32 || !std::all_of(scope[2].begin(), scope[2].end(), region))
    return mismatch("Credential should be scoped to a valid region, not '" + std::string(scope[2].substr(0, 32)) + "'. ");
  if (scope[3] != "sts") return mismatch("Credential should be scoped to correct service: 'sts'. ");
  if (scope[4] != "aws4_request") return mismatch("Credential should be scoped with a valid terminator: 'aws4_request'. ");
  return std::nullopt;
}

std::optional<Refusal> readParts(const Parts& parts, Signature& signature) {
  std::string missing;
  const auto need = [&](const std::string& value, std::string_view name) {
    if (value.empty()) missing += (missing.empty() ? "" : " ") + ("Authorization header requires '" + std::string(name) + "' parameter.");
  };
  need(parts.credential, "Credential");
  need(parts.signature, "Signature");
  need(parts.signedHeaders, "SignedHeaders");
  if (signature.amzDate.empty())
    missing +=
        (missing.empty() ? "" : " ") + std::string("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.");
  if (!missing.empty()) return incomplete(missing);
  if (!isAmzDate(signature.amzDate)) return incomplete("Date must be in ISO-8601 'basic format': 20260301T120000Z");
  if (std::optional<Refusal> refused = readCredential(parts.credential, signature)) return refused;
  if (signature.day != signature.amzDate.substr(0, 8))
    return mismatch("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '" +
                    signature.day.substr(0, 16) + "' != '" + signature.amzDate.substr(0, 8) + "', from '" + signature.amzDate + "'.");
  signature.hex = parts.signature;
  for (const std::string_view each : split(parts.signedHeaders, ';')) signature.signedHeaders.push_back(api::lowered(each));
  if (signature.signedHeaders.size() > kMostSignedHeaders) return incomplete("SignedHeaders lists too many headers.");
  return std::nullopt;
}

Outcome<Signature> readQuery(const http::Request& request) {
  Signature signature;
  signature.inQuery = true;
  if (request.parameter("X-Amz-Algorithm") != kAlgorithm) return incomplete("X-Amz-Algorithm must be " + std::string(kAlgorithm) + ".");
  const Parts parts{request.parameter("X-Amz-Credential").value_or(""), request.parameter("X-Amz-SignedHeaders").value_or(""),
                    request.parameter("X-Amz-Signature").value_or("")};
  signature.amzDate = request.parameter("X-Amz-Date").value_or("");
  const std::string life = request.parameter("X-Amz-Expires").value_or("");
  long seconds = 0;
  const auto [end, failed] = std::from_chars(life.data(), life.data() + life.size(), seconds);
  if (failed != std::errc() || end != life.data() + life.size() || seconds < 1 || seconds > 604800)
    return incomplete("X-Amz-Expires must be a number between 1 and 604800.");
  signature.life = std::chrono::seconds(seconds);
  signature.sessionToken = Secret(request.parameter("X-Amz-Security-Token").value_or(""));
  if (std::optional<Refusal> refused = readParts(parts, signature)) return *std::move(refused);
  return signature;
}

// ---- the canonical request

std::string decoded(std::string_view text) { return http::percentDecoded(text, true).value_or(std::string(text)); }

std::string canonicalQuery(const http::Request& request) {
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const std::string_view item : split(request.query, '&')) {
    if (item.empty()) continue;
    const std::size_t equals = item.find('=');
    const std::string name = decoded(item.substr(0, equals));
    if (name == "X-Amz-Signature") continue;
    const std::string value = equals == std::string_view::npos ? "" : decoded(item.substr(equals + 1));
    pairs.emplace_back(uriEncoded(name, false), uriEncoded(value, false));
  }
  std::sort(pairs.begin(), pairs.end());
  std::string query;
  for (const auto& [name, value] : pairs) query += (query.empty() ? "" : "&") + name + "=" + value;
  return query;
}

std::string canonicalValue(const http::Headers& headers, const std::string& name) {
  std::string joined;
  bool first = true;
  for (const std::string_view value : headers.findAll(name)) {
    if (!first) joined += ',';
    first = false;
    bool blank = false;
    for (const char c : trimmed(value)) {
      const bool isBlank = c == ' ' || c == '\t';
      if (!isBlank || !blank) joined += isBlank ? ' ' : c;
      blank = isBlank;
    }
  }
  return joined;
}

bool isSigned(const Signature& signature, std::string_view name) {
  return std::find(signature.signedHeaders.begin(), signature.signedHeaders.end(), name) != signature.signedHeaders.end();
}

// What is not signed could have been changed on the way.
std::optional<Refusal> unsignedHeader(const Signature& signature, const http::Request& request) {
  const auto must = [](const std::string& name) { return mismatch("'" + name + "' must be a 'SignedHeader' in the AWS Request."); };
  if (!isSigned(signature, "host")) return must("Host");
  if (!signature.inQuery && !isSigned(signature, "x-amz-date") && !isSigned(signature, "date")) return must("X-Amz-Date");
  for (const http::Header& header : request.headers.all()) {
    const std::string name = api::lowered(header.name);
    if (name.starts_with("x-amz-") && !isSigned(signature, name)) return must(name);
  }
  return std::nullopt;
}

}  // namespace

Outcome<Signature> readSignature(const http::Request& request) {
  const std::string_view header = request.headers.find("Authorization");
  if (header.empty() && request.parameter("X-Amz-Algorithm")) return readQuery(request);
  if (header.empty()) return Refusal{403, "MissingAuthenticationToken", "Request is missing Authentication Token", "signature"};
  Outcome<Parts> parts = readAuthorization(header);
  if (!parts) return parts.refusal();
  Signature signature;
  signature.amzDate = request.headers.has("X-Amz-Date") ? request.headers.find("X-Amz-Date") : request.headers.find("Date");
  signature.sessionToken = Secret(request.headers.find("X-Amz-Security-Token"));
  if (std::optional<Refusal> refused = readParts(*parts, signature)) return *std::move(refused);
  return signature;
}

Outcome<std::monostate> checkTime(const Signature& signature, WallTime now) {
  const Result<WallTime> time = timeOf(signature.amzDate);
  if (!time) return incomplete("Date must be in ISO-8601 'basic format': 20260301T120000Z");
  const WallTime oldest =
      now - (signature.inQuery ? std::chrono::duration_cast<WallTime::duration>(signature.life) : WallTime::duration(kTolerance));
  if (*time < std::chrono::floor<std::chrono::seconds>(oldest)) {
    const std::string allowance = signature.inQuery ? std::to_string(signature.life.count()) + " s" : "15 min";
    return mismatch("Signature expired: " + signature.amzDate + " is now earlier than " + amzDate(oldest) + " (" + amzDate(now) + " - " +
                    allowance + ".)");
  }
  if (*time > now + kTolerance)
    return mismatch("Signature not yet current: " + signature.amzDate + " is still later than " + amzDate(now + kTolerance) + " (" +
                    amzDate(now) + " + 15 min.)");
  return std::monostate{};
}

std::string canonicalRequest(const Signature& signature, const http::Request& request) {
  const std::string_view path = std::string_view(request.target).substr(0, request.target.find('?'));
  std::string text = request.method + "\n" + (path.empty() ? "/" : uriEncoded(path, true)) + "\n" + canonicalQuery(request) + "\n";
  std::string names;
  for (const std::string& name : signature.signedHeaders) {
    text += name + ":" + canonicalValue(request.headers, name) + "\n";
    names += (names.empty() ? "" : ";") + name;
  }
  return text + "\n" + names + "\n" + hexLower(sha256(request.body));
}

std::string signatureOf(const Signature& signature, const std::string& canonical, const Secret& secretAccessKey) {
  const std::string scope = signature.day + "/" + signature.region + "/sts/aws4_request";
  const std::string toSign = std::string(kAlgorithm) + "\n" + signature.amzDate + "\n" + scope + "\n" + hexLower(sha256(canonical));
  const Secret first("AWS4" + std::string(secretAccessKey.reveal()));
  std::string key = crypto::hmacSha256(first.reveal(), signature.day);
  for (const std::string_view part : {std::string_view(signature.region), std::string_view("sts"), std::string_view("aws4_request")})
    key = crypto::hmacSha256(key, part);
  return hexLower(crypto::hmacSha256(key, toSign));
}

Outcome<std::monostate> checkSignature(const Signature& signature, const http::Request& request, const Secret& secretAccessKey) {
  if (std::optional<Refusal> refused = unsignedHeader(signature, request)) return *std::move(refused);
  const std::string_view sentHash = request.headers.find("X-Amz-Content-Sha256");
  const bool bodyFits = sentHash.empty() || sentHash == hexLower(sha256(request.body));  // UNSIGNED-PAYLOAD is not for STS
  const Secret expected(signatureOf(signature, canonicalRequest(signature, request), secretAccessKey));
  if (bodyFits && expected == Secret(signature.hex)) return std::monostate{};
  return mismatch(
      "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing "
      "method. Consult the service documentation for details.");
}

}  // namespace podpass::irsa
