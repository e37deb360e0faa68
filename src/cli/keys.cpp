#include <signal.h>

#include <atomic>
#include <cstdio>
#include <thread>

#include "api/codec.h"
#include "base/file.h"
#include "base/text.h"
#include "cli/key_flags.h"
#include "cli/table_text.h"
#include "cli/verbs.h"
#include "client/remote_client.h"
#include "jose/jws.h"
#include "token/key_encryption.h"

// `podpass keys`: the key ring of an API server, looked at and changed through its SigningKey objects.
namespace podpass::cli {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

constexpr auto kRewrapLimit = 60s;
constexpr auto kRepublish = 60s;  // while watching: also when nothing was heard

struct KeysOptions {
  client::AccessChoice access = {};
  std::string output = "text", algorithm = {}, key = {}, directory = {}, issuer = {}, kekFile = {}, newKekFile = {}, kekPkcs11 = {},
              object = {};
  bool yes = false, watch = false;
};

const api::Kind& kind() { return *api::findKind("identity.podpass.dev", "v1", "signingkeys"); }

using Run = std::function<Result<int>(client::RemoteClient& client, const KeysOptions& options)>;

int withClient(const KeysOptions& options, const Run& run) {
  Result<client::Access> access = client::findAccess(options.access);
  if (!access) return refuse(access.error());
  client::RemoteClient client(*std::move(access));
  const Result<int> status = run(client, options);
  return status ? *status : refuse(status.error());
}

std::string stateOf(const json::object& key) {
  const std::string_view state = textAt(key, {"status", "state"});
  return state.empty() ? "Pending" : std::string(state);
}

Result<std::vector<json::object>> signingKeys(api::Client& client) {
  const Result<api::Listing> listing = client.list(kind(), "", {});
  if (!listing) return listing.error();
  std::vector<json::object> keys;
  for (const DocumentPtr& item : listing->items) keys.push_back(item->value);
  return keys;
}

// The active key that was activated last: what signs by default.
const json::object* signer(const std::vector<json::object>& keys) {
  const json::object* found = nullptr;
  for (const json::object& key : keys)
    if (stateOf(key) == "Active" &&
        (found == nullptr || textAt(key, {"status", "activatedTime"}) > textAt(*found, {"status", "activatedTime"})))
      found = &key;
  return found;
}

Result<int> list(client::RemoteClient& client, const KeysOptions& options) {
  const Result<std::vector<json::object>> keys = signingKeys(client);
  if (!keys) return keys.error();
  if (options.output != "text") {
    json::array items(keys->begin(), keys->end());
    const json::object all{{"apiVersion", "v1"}, {"kind", "List"}, {"items", std::move(items)}};
    std::fputs(options.output == "json" ? (json::serialize(all) + "\n").c_str() : api::toYaml(all).c_str(), stdout);
    return kYes;
  }
  std::vector<std::vector<std::string>> rows{{"NAME", "KID", "ALGORITHM", "STATE", "TOKENS", "TOKENS UNTIL", "HELD BY"}};
  std::string messages;
  for (const json::object& key : *keys) {
    const auto text = [&](std::initializer_list<std::string_view> path) {
      const std::string_view found = textAt(key, path);
      return found.empty() ? std::string("-") : std::string(found);
    };
    const std::string heldBy = booleanAt(key, {"status", "verifyOnly"}) ? "others" : text({"status", "heldBy"});
    rows.push_back({text({"metadata", "name"}), text({"status", "kid"}), text({"spec", "algorithm"}), stateOf(key),
                    std::to_string(integerAt(key, {"status", "liveTokens"})), text({"status", "tokensUntil"}),
                    heldBy == "-" ? "podpass" : heldBy});
    if (const std::string_view message = textAt(key, {"status", "message"}); !message.empty())
      messages += std::string(textAt(key, {"metadata", "name"})) + ": " + std::string(message) + "\n";
  }
  std::fputs((tableText(rows) + messages).c_str(), stdout);
  return kYes;
}

// Who creates a SigningKey has asked for a rotation: the server does the rest.
Result<int> rotate(client::RemoteClient& client, const KeysOptions& options) {
  const Result<std::vector<json::object>> keys = signingKeys(client);
  if (!keys) return keys.error();
  for (const json::object& key : *keys)
    if (stateOf(key) == "Published" && (options.algorithm.empty() || textAt(key, {"spec", "algorithm"}) == options.algorithm))
      return Error{Reason::Conflict,
                   "a rotation is under way: " + std::string(textAt(key, {"metadata", "name"})) + " is published and will sign soon",
                   "wait for it, or revoke it"};
  const json::object* current = signer(*keys);
  const std::string algorithm = !options.algorithm.empty() ? options.algorithm
                                : current == nullptr       ? "RS256"
                                                           : std::string(textAt(*current, {"spec", "algorithm"}));
  std::string prefix = algorithm + "-";
  for (char& c : prefix) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  json::object metadata{{"generateName", prefix}};
  json::object spec{{"algorithm", algorithm}};
  if (!options.object.empty()) spec["object"] = options.object;
  json::object object{
      {"apiVersion", "identity.podpass.dev/v1"}, {"kind", "SigningKey"}, {"metadata", std::move(metadata)}, {"spec", std::move(spec)}};
  const Result<DocumentPtr> made = client.create(kind(), "", std::move(object));
  if (!made) return made.error();
  std::printf(
      "signing key %s is being made; it is published first, signs when every relying party can have seen it, and the one before\n"
      "verifies until its last token has expired. Nothing has to be restarted. See: podpass keys list\n",
      std::string(textAt((*made)->value, {"metadata", "name"})).c_str());
  return kYes;
}

Result<int> revoke(client::RemoteClient& client, const KeysOptions& options) {
  const Result<std::vector<json::object>> keys = signingKeys(client);
  if (!keys) return keys.error();
  const auto found = std::find_if(keys->begin(), keys->end(), [&](const json::object& key) {
    return textAt(key, {"status", "kid"}) == options.key || textAt(key, {"metadata", "name"}) == options.key;
  });
  if (found == keys->end())
    return Error{Reason::NotFound, "there is no signing key " + quoted(options.key.substr(0, 256)), "see: podpass keys list"};
  const std::string name(textAt(*found, {"metadata", "name"})), state = stateOf(*found), until(textAt(*found, {"status", "tokensUntil"}));
  if (state == "Retired") {
    std::printf("%s is retired already: nothing verifies with it\n", name.c_str());
    return kYes;
  }
  const std::int64_t alive = integerAt(*found, {"status", "liveTokens"});
  std::string account = "revoking " + name + " (" + state + ") at once:\n";
  account += "  - every token it signed is refused by this issuer, " + std::to_string(alive) + " that live now" +
             (until.empty() ? std::string() : "; the longest would have lived until " + until) + "\n";
  account += "  - token Secrets that it signed are refused until they are made anew: delete them, or empty their data.token\n";
  account += "  - relying parties that keep the old JWKS accept its tokens until their copy is too old (--jwks-max-age)\n";
  if (state == "Active")
    account +=
        "  - another key signs at once; relying parties that do not look again for an unknown kid refuse its tokens for as long\n"
        "  - pods get new tokens when theirs is due (80 % of its life); restart what cannot wait\n";
  std::fputs(account.c_str(), options.yes ? stdout : stderr);
  if (!options.yes) return Error{Reason::BadRequest, "nothing was done", "repeat it with --yes"};
  json::object patch{{"spec", json::object{{"revoked", true}}}};
  const Result<DocumentPtr> done = client.mergePatch(kind(), {"", name}, std::move(patch));
  if (!done) return done.error();
  std::printf("%s is revoked\n", name.c_str());
  return kYes;
}

Result<std::string> document(const client::Access& access, client::Credentials& credentials, const std::string& path) {
  http::FetchOptions options;
  options.caPem = access.caPem;
  options.serverName = access.serverName;
  options.insecure = access.insecure;
  options.clientCertificatePem = access.clientCertificatePem;
  options.clientKeyPem = access.clientKeyPem;
  Result<Secret> bearer = credentials.bearer();
  if (!bearer) return bearer.error();
  options.bearer = *std::move(bearer);
  Result<http::Fetched> fetched = http::fetch(access.server + path, options);
  if (!fetched) return fetched.error();
  if (fetched->status != 200)
    return Error{Reason::Unavailable, access.server + path + " answered " + std::to_string(fetched->status),
                 "it needs the right to get that path"};
  return std::move(fetched->body);
}

struct Published {
  bool changed = false;
  std::string jwksUri;
};

// The issuer that tokens name now: the discovery document at the root may be another's, if that has the server's own host.
Result<std::string> signingIssuer(const client::Access& access, client::Credentials& credentials) {
  const Result<std::string> told = document(access, credentials, "/openid/v1/revocations");
  if (!told) return told.error();
  const Result<json::object> parsed = jose::parseStrictObject(*told);
  if (!parsed) return parsed.error();
  return std::string(textAt(*parsed, {"issuer"}));
}

// The static site of an issuer: the keys first, so that no reader of the document finds none.
Result<Published> publishTo(const fs::path& directory, const std::string& issuerUrl, const client::Access& access,
                            client::Credentials& credentials) {
  const Result<std::string> discovery = document(access, credentials, "/.well-known/openid-configuration");
  if (!discovery) return discovery.error();
  const Result<std::string> jwks = document(access, credentials, "/openid/v1/jwks");
  if (!jwks) return jwks.error();
  Result<json::object> config = jose::parseStrictObject(*discovery);
  const Result<std::vector<jose::Key>> keys = jose::parseJwks(*jwks);
  if (!config) return config.error();
  if (!keys) return keys.error();
  if (keys->empty())
    return Error{Reason::Unavailable, "the server publishes no keys; what is in " + directory.string() + " was left as it is"};
  const Result<std::string> signs = issuerUrl.empty() ? signingIssuer(access, credentials) : issuerUrl;
  if (!signs) return signs.error();
  (*config)["issuer"] = *signs;
  std::string issuer = *signs;
  while (issuer.ends_with('/')) issuer.pop_back();
  // What --jwks-uri says stays; the API server's own path becomes a name that every web server gives a JSON type.
  if (textAt(*config, {"jwks_uri"}).ends_with("/openid/v1/jwks")) (*config)["jwks_uri"] = issuer + "/keys.json";
  Published published{.jwksUri = std::string(textAt(*config, {"jwks_uri"}))};
  const std::pair<fs::path, std::string> files[] = {{directory / "keys.json", *jwks},
                                                    {directory / ".well-known" / "openid-configuration", json::serialize(*config)}};
  for (const auto& [file, text] : files) {
    if (const Result<std::string> present = readFile(file); present && *present == text) continue;
    if (Result<void> made = makeDirectories(file.parent_path(), 0755); !made) return made.error();
    if (Result<void> written = writeFileAtomically(file, text, 0644); !written) return written.error();
    published.changed = true;
  }
  return published;
}

// Waits for SIGINT or SIGTERM, which are blocked in every thread that is made afterwards.
class Interrupted {
 public:
  Interrupted() {
    sigemptyset(&set_);
    sigaddset(&set_, SIGINT);
    sigaddset(&set_, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set_, nullptr);
  }
  // True when a signal came within `limit`.
  bool within(std::chrono::milliseconds limit) const {
    const timespec wait{.tv_sec = limit.count() / 1000, .tv_nsec = (limit.count() % 1000) * 1'000'000};
    return sigtimedwait(&set_, nullptr, &wait) > 0;
  }

 private:
  sigset_t set_{};
};

Result<int> publish(client::RemoteClient& client, const KeysOptions& options) {
  const fs::path directory = options.directory;
  client::Credentials credentials(client.access());
  const Result<Published> first = publishTo(directory, options.issuer, client.access(), credentials);
  if (!first) return first.error();
  std::printf(
      "%s holds .well-known/openid-configuration for the root of the issuer's URL, and keys.json for %s; both are application/json\n",
      options.directory.c_str(), first->jwksUri.c_str());
  std::fflush(stdout);
  return kYes;
}

// Looks on until it is told to stop; an outage of the server is waited out, as the site stands by itself.
int publishAndWatch(const KeysOptions& options) {
  const Interrupted interrupted;  // before any thread is made
  Result<client::Access> access = client::findAccess(options.access);
  if (!access) return refuse(access.error());
  client::RemoteClient client(*std::move(access));
  client::Credentials credentials(client.access());
  if (const Result<int> first = publish(client, options); !first) return refuse(first.error());
  std::atomic<bool> changed = false;
  std::unique_ptr<api::Watching> watching;
  SteadyTime last = std::chrono::steady_clock::now();
  while (!interrupted.within(200ms)) {
    if (!watching) {
      const Result<api::Listing> listing = client.list(kind(), "", {});
      Result<std::unique_ptr<api::Watching>> watch =
          listing ? client.watch(kind(), "", {}, listing->revision, [&changed](const api::WatchEvent&) { changed = true; })
                  : Result<std::unique_ptr<api::Watching>>(listing.error());
      if (watch) watching = *std::move(watch);
    }
    if (!changed.exchange(false) && std::chrono::steady_clock::now() - last < kRepublish) continue;
    last = std::chrono::steady_clock::now();
    const Result<Published> done = publishTo(options.directory, options.issuer, client.access(), credentials);
    if (!done) std::fprintf(stderr, "warning: %s; what was published stays\n", done.error().sentence.c_str());
    if (done && done->changed) std::printf("published\n"), std::fflush(stdout);
  }
  return kYes;
}

Secret joined(const Secret& first, const Secret& second) {
  std::string both;
  both.reserve(first.reveal().size() + second.reveal().size());  // or growing would leave copies behind
  both.append(first.reveal()).append(second.reveal());
  Secret kept(both);
  OPENSSL_cleanse(both.data(), both.size());
  return kept;
}

// A key file's text, ending in a newline; a bare key becomes a line.
Secret asLines(std::string text) {
  if (text.size() == 32) {
    std::string digits = hexLower(text);
    text.swap(digits);
    OPENSSL_cleanse(digits.data(), digits.size());
  }
  const Secret lines(text), newline(text.ends_with('\n') ? "" : "\n");
  OPENSSL_cleanse(text.data(), text.size());
  return joined(lines, newline);
}

// Puts a new key at the head of the server's key-encryption key file, waits until everything is sealed under it, and takes the old ones
// out.
Result<int> rewrap(client::RemoteClient& client, const KeysOptions& options) {
  Result<std::string> present = readFile(options.kekFile, 64u << 10);
  if (!present) return present.error();
  std::shared_ptr<crypto::Pkcs11Token> token;
  if (!options.kekPkcs11.empty()) {
    Result<std::shared_ptr<crypto::Pkcs11Token>> opened = openPkcs11Token("--kek-pkcs11", options.kekPkcs11);
    if (!opened) return opened.error();
    token = *std::move(opened);
  }
  if (!token && present->starts_with("wrapped:") && options.newKekFile.empty())
    return Error{Reason::BadRequest, options.kekFile + " is wrapped by a PKCS#11 token, and the new key would lie in the clear",
                 "give the server's --kek-pkcs11; or a key in the clear by --new-kek-file"};
  const Result<Secret> made = token::newKekLine(token.get());
  if (!made) return made.error();
  Result<std::string> given =
      options.newKekFile.empty() ? Result<std::string>(std::string(made->reveal())) : readFile(options.newKekFile, 64u << 10);
  if (!given) return given.error();
  const Secret before = asLines(*std::move(present)), after = asLines(*std::move(given));
  Result<crypto::Envelope> next = token::readKeks(after.reveal(), token.get());
  if (!next) return Error{next.error().reason, "the new key: " + next.error().sentence, next.error().fix};
  const Secret both = joined(after, before);
  if (Result<void> written = writeFileAtomically(options.kekFile, both.reveal(), 0600); !written) return written.error();
  const SteadyTime end = std::chrono::steady_clock::now() + kRewrapLimit;
  const Result<std::vector<json::object>> telling = signingKeys(client);
  if (!telling) return telling.error();
  if (std::none_of(telling->begin(), telling->end(), [](const json::object& key) { return textAt(key, {"status", "sealedBy"}) != ""; })) {
    std::printf(
        "the new key %s seals from now on; no signing key is here to tell when all Secrets are sealed under it, so the old ones stay in "
        "%s\n",
        next->current().c_str(), options.kekFile.c_str());
    return kYes;
  }
  for (std::size_t waiting = 1; waiting > 0;) {
    const Result<std::vector<json::object>> keys = signingKeys(client);
    if (!keys) return keys.error();
    waiting = 0;
    for (const json::object& key : *keys)
      if (stateOf(key) != "Retired" && !booleanAt(key, {"status", "verifyOnly"}) && textAt(key, {"status", "sealedBy"}) != next->current())
        ++waiting;
    if (waiting > 0 && std::chrono::steady_clock::now() > end)
      return Error{
          Reason::Timeout,
          std::to_string(waiting) + " signing keys are not sealed under the new key yet; the file holds both keys, and nothing is lost",
          "is " + options.kekFile + " the file that the server reads? See its log"};
    if (waiting > 0) std::this_thread::sleep_for(200ms);
  }
  if (Result<void> written = writeFileAtomically(options.kekFile, after.reveal(), 0600); !written) return written.error();
  std::printf("Secrets and signing keys are sealed under the key %s; the old ones are gone from %s\n", next->current().c_str(),
              options.kekFile.c_str());
  return kYes;
}

// As this issuer makes them: a SHA-256 in base64url, whose first character is a dash for one key in 64.
bool isKid(const std::string& word) {
  const Result<std::string> digest = base64UrlDecode(word);
  return digest && digest->size() == 32;
}

Command addKeysVerb(Command keys, const std::shared_ptr<KeysOptions>& options, const char* name, const char* what, Run run) {
  const Command verb = keys.command(name, what);
  verb.runs([options, run] { return options->watch ? publishAndWatch(*options) : withClient(*options, run); });
  verb.option("--kubeconfig", options->access.kubeconfig, "as kubectl's");
  verb.option("--context", options->access.context, "as kubectl's");
  return verb;
}

}  // namespace

void addKeys(Command app) {
  auto options = std::make_shared<KeysOptions>();
  const Command keys = app.command("keys", "look at and change the keys that sign tokens");
  addOutput(addKeysVerb(keys, options, "list", "the signing keys, their states, and how long their tokens live", list), options->output);
  const Command rotating = addKeysVerb(keys, options, "rotate", "change to a new signing key, online and without a refused token", rotate);
  rotating.option("--algorithm", options->algorithm, "of the new key; default: the present one's");
  rotating.option("--object", options->object,
                  "label of a key in the server's PKCS#11 token (--signing-key-pkcs11) to change to, instead of a new one");
  const Command revoking = addKeysVerb(keys, options, "revoke", "end a key at once, and all tokens that it signed", revoke);
  revoking.option("key", options->key, "its kid or name").required();
  revoking.takesDashed(isKid);
  revoking.flag("--yes", options->yes, "do it; without, only what would break is told");
  const Command publishing = addKeysVerb(keys, options, "publish", "write the issuer's documents for a bucket or any web server", publish);
  publishing.option("directory", options->directory, "").required();
  publishing.option("--issuer", options->issuer, "one of the issuers that the server accepts; default: the one that tokens name now");
  publishing.flag("--watch", options->watch, "keep them fresh until told to stop");
  const Command rewrapping =
      addKeysVerb(keys, options, "rewrap", "replace the key-encryption key and seal everything anew, online", rewrap);
  rewrapping.option("kek-file", options->kekFile, "the file that the server reads (--kek-file, or kek in its data directory)").required();
  rewrapping.option("--new-kek-file", options->newKekFile, "the new key; default: one is made");
  rewrapping.option("--kek-pkcs11", options->kekPkcs11, "the server's --kek-pkcs11: the new key is wrapped under that AES key");
}

}  // namespace podpass::cli
