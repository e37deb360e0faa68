#include "irsa/credentials.h"

#include "api/iam_names.h"
#include "base/document.h"
#include "base/file.h"
#include "base/text.h"
#include "crypto/aead.h"

namespace podpass::irsa {
namespace {

constexpr std::size_t kMostToken = 16u << 10;

// One master, many purposes: nothing learnt for one helps with another.
Secret derived(const Secret& master, std::string_view purpose, std::string_view of) {
  return Secret(crypto::hmacSha256(master.reveal(), std::string(purpose) + '\0' + std::string(of)));
}

Secret secretKey(const Secret& master, const std::string& accessKeyId) {
  return Secret(base64Encode(derived(master, "secret access key", accessKeyId).reveal().substr(0, 30)));  // 30 bytes are 40 characters
}

std::string administratorKeyId(const Secret& master, const std::string& account) {
  return api::awsIdentifier("AKIA", derived(master, "administrator", account).reveal(), 16);
}

json::object toJson(const Session& session) {
  json::object claims{{"acc", session.account},  {"arn", session.arn},      {"uid", session.userId}, {"role", session.roleName},
                      {"rarn", session.roleArn}, {"iat", session.issuedAt}, {"exp", session.expires}};
  if (!session.sourceIdentity.empty()) claims["src"] = session.sourceIdentity;
  if (session.chained) claims["chain"] = true;
  json::object tags;
  for (const auto& [key, value] : session.tags) tags[key] = value;
  if (!tags.empty()) claims["tags"] = std::move(tags);
  json::array transitive;
  for (const std::string& each : session.transitiveTags) transitive.emplace_back(each);
  if (!transitive.empty()) claims["trans"] = std::move(transitive);
  return claims;
}

Session fromJson(const json::object& claims) {
  Session session{.account = std::string(textAt(claims, {"acc"})),
                  .arn = std::string(textAt(claims, {"arn"})),
                  .userId = std::string(textAt(claims, {"uid"})),
                  .roleName = std::string(textAt(claims, {"role"})),
                  .roleArn = std::string(textAt(claims, {"rarn"})),
                  .issuedAt = integerAt(claims, {"iat"}),
                  .expires = integerAt(claims, {"exp"}),
                  .sourceIdentity = std::string(textAt(claims, {"src"}))};
  session.chained = booleanAt(claims, {"chain"});
  if (const json::object* tags = objectAt(claims, {"tags"}))
    for (const auto& tag : *tags) session.tags[std::string(tag.key())] = std::string(tag.value().get_string());
  if (const json::array* transitive = arrayAt(claims, {"trans"}))
    for (const json::value& each : *transitive) session.transitiveTags.emplace_back(each.get_string());
  return session;
}

Session administratorOf(const std::string& account, const std::string& accessKeyId) {
  return {.account = account,
          .arn = "arn:aws:iam::" + account + ":user/administrator",
          .userId = api::awsIdentifier("AIDA", sha256(accessKeyId), 17),
          .roleName = {},
          .roleArn = {}};
}

}  // namespace

Result<std::shared_ptr<const CredentialKeys>> CredentialKeys::openOrMake(const std::filesystem::path& file) {
  Result<std::string> text = readFile(file, 4096);
  if (!text && text.error().reason == Reason::NotFound) {
    const std::string fresh = base64Encode(randomBytes(crypto::kAeadKey)) + "\n";
    if (Result<void> written = writeFileAtomically(file, fresh, 0600); !written) return written.error();
    text = fresh;
  }
  if (!text) return text.error();
  std::vector<Secret> masters;
  for (std::size_t start = 0; start < text->size();) {
    const std::size_t end = std::min(text->find('\n', start), text->size());
    const std::string line = text->substr(start, end - start);
    start = end + 1;
    if (line.empty()) continue;
    const Result<std::string> key = base64Decode(line);
    if (!key || key->size() != crypto::kAeadKey)
      return Error{Reason::Invalid, file.string() + " does not hold 32 bytes in base64 on each line",
                   "restore it; or remove it, which ends all sessions"};
    masters.emplace_back(*key);
  }
  if (masters.empty()) return Error{Reason::Invalid, file.string() + " holds no key", "remove it, which ends all sessions"};
  return std::make_shared<const CredentialKeys>(std::move(masters));
}

Credentials CredentialKeys::mint(const Session& session) const {
  const Secret& master = masters_.front();
  Credentials credentials;
  credentials.accessKeyId = api::awsIdentifier("ASIA", randomBytes(10), 16);
  credentials.secretAccessKey = secretKey(master, credentials.accessKeyId);
  // A key for each token, so that the token belongs to its access key and random nonces never wear one key out.
  const Secret key = derived(master, "session token", credentials.accessKeyId);
  credentials.sessionToken =
      Secret(base64Encode(crypto::encrypted(key.reveal(), json::serialize(toJson(session)), credentials.accessKeyId)));
  return credentials;
}

Credentials CredentialKeys::administrator(const std::string& account) const {
  const std::string id = administratorKeyId(masters_.front(), account);
  return {id, secretKey(masters_.front(), id), {}};
}

Result<CredentialKeys::Known> CredentialKeys::find(const std::string& account, const std::string& accessKeyId,
                                                   const Secret& sessionToken) const {
  const Error unknown{Reason::Unauthorized, "the access key was not made by this STS, or the session token belongs to another"};
  if (accessKeyId.size() != 20 || sessionToken.reveal().size() > kMostToken) return unknown;
  if (sessionToken.empty()) {
    for (const Secret& master : masters_)
      if (accessKeyId == administratorKeyId(master, account))
        return Known{administratorOf(account, accessKeyId), secretKey(master, accessKeyId)};
    return unknown;
  }
  const Result<std::string> sealed = base64Decode(sessionToken.reveal());
  if (!sealed) return unknown;
  for (const Secret& master : masters_) {
    const std::optional<Secret> claims = crypto::decrypted(derived(master, "session token", accessKeyId).reveal(), *sealed, accessKeyId);
    if (!claims) continue;
    boost::system::error_code failed;
    const json::value parsed = json::parse(claims->reveal(), failed);
    if (failed || !parsed.is_object()) return unknown;
    return Known{fromJson(parsed.get_object()), secretKey(master, accessKeyId)};
  }
  return unknown;
}

}  // namespace podpass::irsa
