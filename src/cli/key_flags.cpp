#include "cli/key_flags.h"

#include <cstdlib>
#include <set>

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "http/url.h"

namespace podpass::cli {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr std::size_t kMaxKeyFile = 1u << 20;

Result<std::vector<crypto::KeyPair>> readKeys(const fs::path& file) {
  Result<std::string> text = readFile(file, kMaxKeyFile);
  if (!text) return text.error();
  Result<std::vector<crypto::KeyPair>> keys = crypto::readPemKeys(*text);
  OPENSSL_cleanse(text->data(), text->size());
  if (!keys) return Error{keys.error().reason, file.string() + ": " + keys.error().sentence, keys.error().fix};
  return keys;
}

// The key that the URI names, and nullopt when it names only the token.
Result<std::optional<crypto::KeyPair>> keyInToken(crypto::Pkcs11Token& token) {
  const crypto::Pkcs11Uri& uri = token.uri();
  if (!uri.namesObject()) return std::optional<crypto::KeyPair>();
  Result<crypto::KeyPair> pair = token.keyPair({.label = uri.object, .id = uri.id});
  if (!pair) return pair.error();
  return std::optional(*std::move(pair));
}

// In kube-apiserver's words where it has the flags, too.
Result<void> checkEndpoint(const KeyFlags& flags) {
  const auto refused = [](const char* sentence) { return Error{Reason::BadRequest, sentence, "leave one of them out"}; };
  if (!flags.signingKeyFile.empty())
    return refused(
        "service-account-signing-key-file and service-account-signing-endpoint are mutually exclusive and cannot be set at the same time");
  if (!flags.keyFiles.empty())
    return refused(
        "cannot set mutually exclusive flags `--service-account-key-file` and `--service-account-signing-endpoint` at the same time");
  if (!flags.signingKeyPkcs11.empty())
    return refused("signing-key-pkcs11 and service-account-signing-endpoint are mutually exclusive and cannot be set at the same time");
  if (flags.rotation != "0" || !flags.algorithmForAudience.empty())
    return refused(
        "an external signer chooses its keys itself: signing-key-rotation and signing-algorithm-for-audience are not for "
        "service-account-signing-endpoint");
  if (flags.signingEndpoint.size() > 107 || flags.signingEndpoint.front() == '@')
    return Error{Reason::BadRequest,
                 "service-account-signing-endpoint " + quoted(flags.signingEndpoint.substr(0, 256)) + " is no path of a Unix socket",
                 "give a path of at most 107 bytes"};
  return {};
}

std::vector<fs::path> clearKeyFiles(const fs::path& directory) {
  std::vector<fs::path> files{directory / "signing.key"};
  for (const std::string_view name : crypto::keyTypeNames()) files.push_back(directory / ("signing-" + std::string(name) + ".key"));
  std::erase_if(files, [](const fs::path& file) {
    std::error_code ignored;
    return !fs::exists(file, ignored);
  });
  return files;
}

}  // namespace

Result<std::shared_ptr<crypto::Pkcs11Token>> openPkcs11Token(const std::string& flag, const std::string& uri) {
  const auto refused = [&](const Error& why) { return Error{why.reason, flag + ": " + why.sentence, why.fix, why.cause}; };
  const Result<crypto::Pkcs11Uri> parsed = crypto::parsePkcs11Uri(uri);
  if (!parsed) return refused(parsed.error());
  Result<std::shared_ptr<crypto::Pkcs11Token>> token = crypto::Pkcs11Token::open(*parsed);
  return token ? token : refused(token.error());
}

Result<std::chrono::seconds> parseDuration(std::string_view text) {
  const Error bad{Reason::BadRequest, "not a duration: " + quoted(text.substr(0, 64)), "write 90s, 15m, 1h30m or 30d"};
  if (text == "0") return 0s;
  std::chrono::seconds sum{0};
  while (!text.empty()) {
    std::int64_t number = 0;
    std::size_t digits = 0;
    for (; digits < text.size() && text[digits] >= '0' && text[digits] <= '9' && digits < 9; ++digits)
      number = number * 10 + (text[digits] - '0');
    if (digits == 0 || digits == text.size()) return bad;
    const char unit = text[digits];
    if (unit != 's' && unit != 'm' && unit != 'h' && unit != 'd') return bad;
    sum += std::chrono::seconds(number * (unit == 's' ? 1 : unit == 'm' ? 60 : unit == 'h' ? 3600 : 86400));
    text.remove_prefix(digits + 1);
  }
  if (sum == 0s) return bad;
  return sum;
}

void KeyFlags::addTo(Command verb) {
  verb.option("--issuer,--service-account-issuer", issuers,
              "issuer URL written into tokens; given again, tokens of those issuers are accepted too; default: the API server's own URL");
  verb.option("--jwks-uri,--service-account-jwks-uri", jwksUri, "where the discovery document says the keys are; default: the API server");
  verb.option("--service-account-signing-endpoint", signingEndpoint,
              "Unix socket of an external signer (Kubernetes' ExternalJWTSigner): it signs, and says which keys verify");
  addKeysTo(verb);
}

void KeyFlags::addKeysTo(Command verb) {
  const std::vector<std::string> names(crypto::keyTypeNames().begin(), crypto::keyTypeNames().end());
  verb.option("--signing-key-algorithm", algorithm, "what tokens are signed with; EdDSA is verified by few").oneOf(names).showDefault();
  verb.option("--signing-algorithm-for-audience", algorithmForAudience, "AUDIENCE=ALGORITHM: another one for this audience; repeatable");
  verb.option("--signing-key-rotation", rotation, "make a new signing key so often (30d); 0: only when asked").showDefault();
  verb.option("--jwks-max-age", jwksMaxAge, "how long others may keep the public keys, and so how long a new key is shown before it signs")
      .showDefault();
  verb.option("--kek-file", kekFile,
              "key-encryption key for signing keys and Secrets; default: the systemd credential podpass-kek, or kek in the data directory");
  verb.option("--kek-pkcs11", kekPkcs11,
              "PKCS#11 URI of an AES key: the key-encryption key lies in its file wrapped under it, and opens nothing without the token");
  verb.option("--signing-key-pkcs11", signingKeyPkcs11,
              "PKCS#11 URI of a token: new signing keys are made there and never leave it; with object= or id=, the key that signs first");
  verb.option("--service-account-signing-key-file", signingKeyFile, "take over this private key: it signs until the next rotation");
  verb.option("--service-account-key-file", keyFiles, "accept tokens signed with the keys in this PEM file too; repeatable");
}

Result<token::SigningKeys::Settings> KeyFlags::settings() const {
  Result<crypto::KeyType> standard = crypto::keyTypeNamed(algorithm);
  if (!standard) return standard.error();
  token::SigningKeys::Settings settings{.algorithms = {.standard = *standard}};
  for (const std::string& text : algorithmForAudience) {
    Result<std::pair<std::string, crypto::KeyType>> choice = token::parseAudienceAlgorithm(text);
    if (!choice) return choice.error();
    settings.algorithms.forAudience.insert(*std::move(choice));
  }
  const Result<std::chrono::seconds> every = parseDuration(rotation), cacheLife = parseDuration(jwksMaxAge);
  if (!every) return every.error();
  if (!cacheLife) return cacheLife.error();
  if (*every != 0s && *every < *cacheLife)
    return Error{Reason::BadRequest, "--signing-key-rotation " + rotation + " is shorter than --jwks-max-age " + jwksMaxAge,
                 "a key must be seen by all before it signs"};
  settings.every = *every;
  settings.cacheLife = *cacheLife;
  if (!signingEndpoint.empty()) {
    if (Result<void> alone = checkEndpoint(*this); !alone) return alone.error();
    settings.signs = false;
    return settings;
  }
  if (!signingKeyPkcs11.empty()) {
    bool edwards = *standard == crypto::KeyType::Ed25519;
    for (const auto& [audience, type] : settings.algorithms.forAudience) edwards = edwards || type == crypto::KeyType::Ed25519;
    if (edwards) return Error{Reason::BadRequest, "a PKCS#11 token holds RSA and EC keys here, not EdDSA", "choose another algorithm"};
    Result<std::shared_ptr<crypto::Pkcs11Token>> token = openPkcs11Token("--signing-key-pkcs11", signingKeyPkcs11);
    if (!token) return token.error();
    settings.token = *std::move(token);
    const Result<std::optional<crypto::KeyPair>> named = keyInToken(*settings.token);
    if (!named) return named.error();
    if (*named && !signingKeyFile.empty())
      return Error{Reason::BadRequest, "--service-account-signing-key-file and --signing-key-pkcs11 both name the key that signs first",
                   "leave object= and id= out of the URI: then the next rotation makes its key in the token"};
    if (*named && (*named)->type() && algorithm == "RS256") settings.algorithms.standard = *(*named)->type();
  }
  if (signingKeyFile.empty()) return settings;
  Result<std::vector<crypto::KeyPair>> taken = readKeys(signingKeyFile);  // what is taken over says what comes next
  if (!taken) return taken.error();
  if (!taken->front().hasPrivate())
    return Error{Reason::BadRequest, signingKeyFile + " holds no private key", "give the private key's file"};
  if (const std::optional<crypto::KeyType> type = taken->front().type(); type && algorithm == "RS256") settings.algorithms.standard = *type;
  return settings;
}

Result<std::unique_ptr<token::KeyEncryption>> KeyFlags::openKeyEncryption(const fs::path& dataDirectory) const {
  std::shared_ptr<crypto::Pkcs11Token> token;
  if (!kekPkcs11.empty()) {
    Result<std::shared_ptr<crypto::Pkcs11Token>> opened = openPkcs11Token("--kek-pkcs11", kekPkcs11);
    if (!opened) return opened.error();
    token = *std::move(opened);
  }
  if (!kekFile.empty()) return token::KeyEncryption::open(kekFile, false, std::move(token));
  std::error_code ignored;
  const char* credentials = std::getenv("CREDENTIALS_DIRECTORY");  // systemd: LoadCredentialEncrypted=podpass-kek
  if (credentials != nullptr && fs::exists(fs::path(credentials) / "podpass-kek", ignored))
    return token::KeyEncryption::open(fs::path(credentials) / "podpass-kek", false, std::move(token));
  return token::KeyEncryption::open(dataDirectory / "kek", true, std::move(token));
}

Result<void> KeyFlags::open(token::SigningKeys& keys, const fs::path& dataDirectory) const {
  const std::vector<fs::path> clear = clearKeyFiles(dataDirectory);
  std::vector<fs::path> files = clear;
  if (!signingKeyFile.empty()) files.emplace_back(signingKeyFile);
  for (const fs::path& file : files) {
    Result<std::vector<crypto::KeyPair>> pairs = readKeys(file);
    if (!pairs) return pairs.error();
    if (Result<void> kept = keys.adopt(pairs->front()); !kept) return kept;
  }
  if (keys.token()) {
    const Result<std::optional<crypto::KeyPair>> named = keyInToken(*keys.token());
    if (!named) return named.error();
    if (*named)
      if (Result<void> kept = keys.adopt(**named); !kept) return kept;
  }
  for (const std::string& file : keyFiles) {
    Result<std::vector<crypto::KeyPair>> pairs = readKeys(file);
    if (!pairs) return pairs.error();
    for (const crypto::KeyPair& pair : *pairs) {
      const Result<crypto::KeyPair> half = crypto::KeyPair::fromPublicDer(pair.publicDer());  // verification only, whatever the file holds
      if (!half) return half.error();
      if (Result<void> kept = keys.adopt(*half); !kept) return kept;
    }
  }
  if (Result<void> opened = keys.open(); !opened) return opened;
  for (const fs::path& file : clear) {
    std::error_code failed;
    if (!fs::remove(file, failed)) return Error{Reason::Internal, "cannot remove " + file.string() + ", whose key is kept sealed now"};
    log::info("signing key moved into the store", {{"name", file.filename().string()}});
  }
  return {};
}

Result<std::vector<std::string>> KeyFlags::acceptedIssuers(const std::string& own) const {
  if (!jwksUri.empty()) {
    const Result<http::Url> parsed = http::parseUrl(jwksUri);  // as relying parties will
    const std::string shown = quoted(jwksUri.substr(0, 256)), fix = "give the https URL at which everybody finds the keys";
    if (!parsed) return Error{Reason::BadRequest, "service-account-jwks-uri cannot be used: " + parsed.error().sentence, fix};
    if (!parsed->secure)
      return Error{Reason::BadRequest, "service-account-jwks-uri requires https scheme, parsed as: " + jwksUri.substr(0, 256), fix};
    if (jwksUri.find('#') != std::string::npos)
      return Error{Reason::BadRequest, "service-account-jwks-uri " + shown + " has a fragment, which no server sees", fix};
  }
  std::set<std::string> seen;
  for (const std::string& issuer : issuers) {
    if (issuer.empty()) return Error{Reason::BadRequest, "service-account-issuer should not be an empty string", "give a URL"};
    if (!seen.insert(issuer).second)
      return Error{Reason::BadRequest, "service-account-issuer " + quoted(issuer) + " is already specified", "give each issuer once"};
    if (issuer == "kubernetes/serviceaccount")
      return Error{Reason::BadRequest, "the issuer " + quoted(issuer) + " is that of legacy tokens", "choose another"};
  }
  return issuers.empty() ? std::vector{own} : issuers;
}

}  // namespace podpass::cli
