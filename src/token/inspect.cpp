#include "token/inspect.h"

#include <algorithm>
#include <optional>

#include "base/text.h"

namespace podpass::token {
namespace {

constexpr std::string_view kLegacyPrefix = "kubernetes.io/serviceaccount/";
constexpr std::size_t kMostShown = 64u << 10;
constexpr std::int64_t kLastShownDate = 9'000'000'000;  // the year 2255; nanoseconds since the epoch end soon after

// A claim is a stranger's text: an escape sequence in it must not reach the terminal.
std::string shown(std::string_view text) {
  for (std::size_t at = 0; at < text.size(); ++at) {
    const auto byte = static_cast<unsigned char>(text[at]);
    const bool secondOfC1 = at > 0 && text[at - 1] == '\xc2' && byte >= 0x80 && byte < 0xa0;
    if (byte < 0x20 || byte == 0x7f || secondOfC1) return podpass::quoted(text);
  }
  return std::string(text);
}

// The report for people: a label column, then the values.
class Lines {
 public:
  void add(std::string_view label, std::string_view value) {
    text_ += label;
    text_.append(label.size() < kWidth ? kWidth - label.size() : 1, ' ');
    text_ += value;
    text_ += '\n';
  }
  std::string take() { return std::move(text_); }

 private:
  constexpr static std::size_t kWidth = 12;
  std::string text_;
};

std::int64_t secondsOf(WallTime time) { return std::chrono::floor<std::chrono::seconds>(time.time_since_epoch()).count(); }
bool canBeShown(std::int64_t seconds) { return seconds >= 0 && seconds < kLastShownDate; }
std::string dateOf(std::int64_t seconds) { return rfc3339(WallTime(std::chrono::seconds(seconds))); }

std::string relative(std::int64_t seconds, std::int64_t now) {
  if (seconds == now) return "now";
  const std::string apart = humanDuration(std::chrono::seconds(seconds > now ? seconds - now : now - seconds));
  return seconds > now ? "in " + apart : apart + " ago";
}

// As parseCompactJws does, whatever its letters.
bool isNone(std::string_view alg) {
  std::string lower(alg);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return lower == "none";
}

// An unsigned token (RFC 7519 §6), which the parser of signed ones refuses; nullopt: it is none.
std::optional<jose::UnverifiedJws> unsignedIn(std::string_view compact) {
  const std::size_t first = compact.find('.'), second = compact.find('.', first + 1);
  if (first == std::string_view::npos || second == std::string_view::npos) return std::nullopt;
  const Result<std::string> header = base64UrlDecode(compact.substr(0, first));
  const Result<std::string> payload = base64UrlDecode(compact.substr(first + 1, second - first - 1));
  if (!header || !payload) return std::nullopt;
  Result<json::object> head = jose::parseStrictObject(*header), body = jose::parseStrictObject(*payload);
  if (!head || !body || !isNone(textAt(*head, {"alg"}))) return std::nullopt;
  jose::UnverifiedJws jws;
  jws.alg = textAt(*head, {"alg"});
  jws.kid = textAt(*head, {"kid"});
  jws.header = *std::move(head);
  jws.payload = *std::move(body);
  return jws;
}

struct Reading {
  const jose::UnverifiedJws& jws;
  std::int64_t now;
  const InspectionRequest& request;
  Inspection out = {};
  Lines lines = {};
  bool bound = false, legacy = false;
  std::string expected = {};  // the subject that the private claims stand for
  std::optional<std::int64_t> issued = {}, notBefore = {}, expires = {};

  std::string_view claim(std::string_view name) const { return textAt(jws.payload, {name}); }

  void fail(std::string check, std::string reason) {
    if (!out.failedCheck.empty()) return;  // the first one counts
    out.failedCheck = std::move(check);
    out.reason = std::move(reason);
  }

  void signature() {
    std::string word = "not checked";
    if (isNone(jws.alg)) {
      word = "none";
      fail("algorithm", "the token is unsigned (alg " + podpass::quoted(jws.alg) + "), so anybody may have written it");
    } else if (request.keys != nullptr) {
      word = "bad";
      const jose::Key* named = nullptr;
      bool sameAlgorithm = false, good = false;
      for (const jose::Key& key : *request.keys) {
        if (!jws.kid.empty() && key.kid != jws.kid) continue;
        named = &key;
        sameAlgorithm = sameAlgorithm || jose::isFor(key, jws.alg);
        good = good || jose::verifies(key, jws);
      }
      if (named == nullptr)
        fail("key id", "none of the issuer's " + std::to_string(request.keys->size()) + " keys has the key id " + podpass::quoted(jws.kid));
      else if (!sameAlgorithm)
        fail("algorithm", "the token says " + podpass::quoted(jws.alg) + ", its key signs with " + named->alg);
      else if (!good)
        fail("signature", "the signature was not made by the issuer's key over this header and payload");
      if (named == nullptr) word = "not checked: unknown key";
      if (good) word = "good";
    }
    out.report["signature"] = word;
    const bool noted = !request.note.empty() && word != "none";
    if (noted) out.report["note"] = request.note;
    lines.add("signature", noted ? word + ": " + request.note : word);
  }

  void kind() {
    legacy = claim("iss") == "kubernetes/serviceaccount";
    bound = !legacy && objectAt(jws.payload, {"kubernetes.io"}) != nullptr;
    const std::string_view name = legacy ? "legacy" : bound ? "bound" : "other";
    out.report["kind"] = name;
    out.report["header"] = jws.header;
    out.report["claims"] = jws.payload;
    lines.add("kind", legacy  ? "legacy service account token (of a Secret)"
                      : bound ? "bound service account token"
                              : "JWT of another kind");
    lines.add("issuer", shown(claim("iss")));
  }

  void subject() {
    const std::string prefix(kLegacyPrefix);
    const auto agreed = [&](std::string_view ns, std::string_view name) {
      expected = "system:serviceaccount:" + std::string(ns) + ":" + std::string(name);
    };
    if (bound)
      agreed(textAt(jws.payload, {"kubernetes.io", "namespace"}), textAt(jws.payload, {"kubernetes.io", "serviceaccount", "name"}));
    if (legacy) agreed(claim(prefix + "namespace"), claim(prefix + "service-account.name"));
    out.report["subject"] = claim("sub");
    lines.add("subject", shown(claim("sub")));
    if (!expected.empty() && claim("sub") != expected)
      fail("claims", "the subject is " + podpass::quoted(claim("sub")) + ", the private claims are those of " + podpass::quoted(expected));
  }

  void audiences() {
    json::array all;
    const json::value* aud = jws.payload.if_contains("aud");
    if (aud != nullptr && aud->is_string()) all.push_back(*aud);
    if (aud != nullptr && aud->is_array()) all = aud->get_array();
    bool forAsked = request.audience.empty();
    std::string_view label = "for";
    for (const json::value& each : all) {
      const bool isText = each.is_string();
      if (!isText) fail("claims", "the claim aud holds something that is not a string");
      forAsked = forAsked || (isText && std::string_view(each.get_string()) == request.audience);
      lines.add(std::exchange(label, ""), isText ? shown(each.get_string()) : "(not a string)");
    }
    if (aud != nullptr && !aud->is_string() && !aud->is_array()) fail("claims", "the claim aud is neither a string nor a list");
    if (all.empty()) lines.add("for", "no audience named: the API server's own");
    out.report["audiences"] = std::move(all);
    wrongAudience = !forAsked;
  }

  void boundObject(json::object& refs, std::string_view& label, std::string_view what, std::string_view name, std::string_view uid) {
    if (name.empty() && uid.empty()) return;
    json::object ref{{"name", name}};
    if (!uid.empty()) ref["uid"] = uid;
    refs[what] = std::move(ref);
    std::string line = std::string(what) + " " + shown(name);
    if (!uid.empty()) line += " (uid " + shown(uid) + ")";
    lines.add(std::exchange(label, ""), line);
  }

  void boundObjects() {
    json::object refs;
    std::string_view label = "bound to";
    if (bound) {
      const json::object& claims = *objectAt(jws.payload, {"kubernetes.io"});
      for (const std::string_view what : {"serviceaccount", "pod", "secret", "node"})
        boundObject(refs, label, what, textAt(claims, {what, "name"}), textAt(claims, {what, "uid"}));
    }
    if (legacy) {
      const std::string prefix(kLegacyPrefix);
      boundObject(refs, label, "serviceaccount", claim(prefix + "service-account.name"), claim(prefix + "service-account.uid"));
      boundObject(refs, label, "secret", claim(prefix + "secret.name"), "");
    }
    out.report["boundTo"] = std::move(refs);
  }

  std::optional<std::int64_t> date(json::object& times, std::string_view name, std::string_view label, const json::value* value) {
    if (value == nullptr) return std::nullopt;
    std::optional<std::int64_t> seconds;
    if (value->is_int64()) seconds = value->get_int64();
    if (value->is_double() && value->get_double() >= 0 && value->get_double() < static_cast<double>(kLastShownDate))
      seconds = static_cast<std::int64_t>(value->get_double());
    if (!seconds || !canBeShown(*seconds)) {
      fail("claims", "the claim " + std::string(name) + " is not a date between 1970 and 2255");
      lines.add(label, "(not a date)");
      return std::nullopt;
    }
    times[name] = json::object{{"time", dateOf(*seconds)}, {"relative", relative(*seconds, now)}};
    lines.add(label, dateOf(*seconds) + "  (" + relative(*seconds, now) + ")");
    return seconds;
  }

  void times() {
    json::object all;
    const json::object* claims = objectAt(jws.payload, {"kubernetes.io"});
    issued = date(all, "iat", "issued", jws.payload.if_contains("iat"));
    notBefore = date(all, "nbf", "not before", jws.payload.if_contains("nbf"));
    date(all, "warnafter", "warn after", claims != nullptr ? claims->if_contains("warnafter") : nullptr);
    expires = date(all, "exp", "expires", jws.payload.if_contains("exp"));
    if (expires) {
      const std::int64_t left = std::max<std::int64_t>(*expires - now, 0);
      std::string line = left == 0 ? "nothing" : humanDuration(std::chrono::seconds(left));
      if (issued && *issued < *expires) line += " of " + humanDuration(std::chrono::seconds(*expires - *issued));
      all["secondsLeft"] = left;
      lines.add("left", line);
    } else if (!jws.payload.contains("exp")) {
      lines.add("expires", "never");
      if (bound) fail("claims", "a bound token must have an expiry, and this one has none");
    }
    out.report["times"] = std::move(all);
    if (notBefore && now < *notBefore)
      fail("time", "the token is not valid before " + dateOf(*notBefore) + " (" + relative(*notBefore, now) + ")");
    if (expires && now > *expires) fail("time", "the token expired at " + dateOf(*expires) + " (" + relative(*expires, now) + ")");
    if (wrongAudience) fail("audience", "the token is not for " + podpass::quoted(request.audience));
  }

  void verdict() {
    out.verified = request.keys != nullptr && out.failedCheck.empty();
    const std::string word = !out.failedCheck.empty() ? "refused: " + out.failedCheck + ": " + out.reason
                             : out.verified           ? "good"
                                                      : "readable; the signature was not checked, so nothing above is proven";
    lines.add("verdict", word);
    out.report["verified"] = out.verified;
    out.report["failedCheck"] = out.failedCheck;
    out.report["reason"] = out.reason;
    out.text = lines.take();
  }

  Inspection read() {
    kind();
    lines.add("key", (jws.kid.empty() ? "no key id" : shown(jws.kid)) + "  (" + shown(jws.alg) + ")");
    if (!claim("jti").empty()) lines.add("id", shown(claim("jti")));
    signature();
    subject();
    audiences();
    boundObjects();
    times();
    verdict();
    return std::move(out);
  }

  bool wrongAudience = false;
};

Inspection unreadable(const Error& error) {
  Inspection out;
  out.failedCheck = "form";
  out.reason = error.sentence;
  out.report = {
      {"kind", "unreadable"}, {"signature", "not checked"}, {"verified", false}, {"failedCheck", "form"}, {"reason", error.sentence}};
  Lines lines;
  lines.add("kind", "not a token that can be read");
  lines.add("verdict", "refused: form: " + error.sentence);
  out.text = lines.take();
  return out;
}

}  // namespace

Inspection inspect(std::string_view compactToken, WallTime now, const InspectionRequest& request) {
  const Result<jose::UnverifiedJws> jws = jose::parseCompactJws(compactToken);
  if (jws) return Reading{*jws, secondsOf(now), request}.read();
  const std::optional<jose::UnverifiedJws> plain = compactToken.size() <= kMostShown ? unsignedIn(compactToken) : std::nullopt;
  return plain ? Reading{*plain, secondsOf(now), request}.read() : unreadable(jws.error());
}

}  // namespace podpass::token
