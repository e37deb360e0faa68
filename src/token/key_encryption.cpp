#include "token/key_encryption.h"

#include <sys/stat.h>

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"

namespace podpass::token {
namespace {

constexpr std::string_view kWrapped = "wrapped:";
constexpr std::string_view kPlace = "podpass kek";

std::optional<std::string> fromHex(std::string_view text) {
  if (text.size() != 64 || text.find_first_not_of("0123456789abcdefABCDEF") != std::string_view::npos) return std::nullopt;
  std::string bytes;
  bytes.reserve(text.size() / 2);  // or growing would leave copies behind
  for (std::size_t i = 0; i < text.size(); i += 2) bytes += static_cast<char>(std::stoi(std::string(text.substr(i, 2)), nullptr, 16));
  return bytes;
}

Result<Secret> unwrapped(std::string_view line, crypto::Pkcs11Token* token) {
  if (token == nullptr) return Error{Reason::BadRequest, "is wrapped by a PKCS#11 token, and none is given", "give --kek-pkcs11 URI"};
  const Result<std::string> wrapped = base64UrlDecode(line.substr(kWrapped.size()));
  if (!wrapped) return Error{Reason::BadRequest, "is no base64url after " + std::string(kWrapped), "restore it from a backup"};
  Result<Secret> kek = token->unwrap(*wrapped, kPlace);
  if (!kek) return Error{kek.error().reason, "is not unwrapped: " + kek.error().sentence, kek.error().fix, kek.error().cause};
  return kek;
}

Result<Secret> parseKek(std::string_view line, crypto::Pkcs11Token* token) {
  if (line.starts_with(kWrapped)) return unwrapped(line, token);
  std::optional<std::string> bytes = fromHex(line);
  if (!bytes)
    if (Result<std::string> decoded = base64Decode(line); decoded && decoded->size() == 32) bytes = *std::move(decoded);
  if (bytes) {
    Secret kek(*bytes);
    OPENSSL_cleanse(bytes->data(), bytes->size());
    return kek;
  }
  return Error{Reason::BadRequest, "is no key of 32 bytes in hexadecimal or base64", "make one: openssl rand -hex 32"};
}

Result<std::vector<Secret>> parseKeks(std::string_view text, crypto::Pkcs11Token* token) {
  if (text.size() == 32) return std::vector{Secret(text)};
  std::vector<Secret> keks;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
    if (line.empty() || line.front() == '#') continue;
    Result<Secret> kek = parseKek(line, token);
    if (!kek)
      return Error{kek.error().reason, "line " + std::to_string(number) + " " + kek.error().sentence, kek.error().fix, kek.error().cause};
    keks.push_back(*std::move(kek));
  }
  return keks;
}

}  // namespace

Result<crypto::Envelope> readKeks(std::string_view text, crypto::Pkcs11Token* token) {
  const Result<std::vector<Secret>> keks = parseKeks(text, token);
  return keks ? crypto::Envelope::of(*keks) : Result<crypto::Envelope>(keks.error());
}

namespace {

// As ssh does: a key that others can read protects nothing.
Result<void> checkMode(const std::filesystem::path& file) {
  struct stat status {};
  if (::stat(file.c_str(), &status) != 0 || (status.st_mode & 0077u) == 0) return {};
  return Error{Reason::BadRequest, "the key-encryption key " + file.string() + " can be read by others", "chmod 600 " + file.string()};
}

Result<std::string> readText(const std::filesystem::path& file) {
  Result<std::string> text = readFile(file, 64u << 10);
  if (!text) return text.error();
  if (Result<void> good = checkMode(file); !good) return good.error();
  return text;
}

// Takes the text, and leaves nothing of it in memory.
Result<crypto::Envelope> envelopeIn(const std::filesystem::path& file, std::string text, crypto::Pkcs11Token* token) {
  Result<crypto::Envelope> envelope = readKeks(text, token);
  const bool clear = token != nullptr && text.find(kWrapped) != 0;
  OPENSSL_cleanse(text.data(), text.size());
  if (!envelope)
    return Error{envelope.error().reason, file.string() + ": " + envelope.error().sentence, envelope.error().fix, envelope.error().cause};
  if (clear)
    log::warn("key-encryption key lies in the clear beside its token; wrap it with: podpass keys rewrap --kek-pkcs11 URI FILE",
              {{"file", file.string()}});
  return envelope;
}

}  // namespace

Result<Secret> newKekLine(crypto::Pkcs11Token* token) {
  std::string bytes = randomBytes(32), digits = token == nullptr ? hexLower(bytes) : std::string(), line;
  line.reserve(digits.size() + 1);  // or growing would leave copies behind
  line.append(digits).push_back('\n');
  const Secret key(bytes), clear(line);
  for (std::string* text : {&bytes, &digits, &line}) OPENSSL_cleanse(text->data(), text->size());
  if (token == nullptr) return clear;
  const Result<std::string> wrapped = token->wrap(key, kPlace);
  if (!wrapped) return wrapped.error();
  return Secret(std::string(kWrapped) + base64UrlEncode(*wrapped) + "\n");
}

std::unique_ptr<KeyEncryption> KeyEncryption::of(crypto::Envelope envelope) {
  auto made = std::make_unique<KeyEncryption>();
  made->current_ = std::make_shared<Snapshot<crypto::Envelope>>(std::make_shared<const crypto::Envelope>(std::move(envelope)));
  return made;
}

Result<std::unique_ptr<KeyEncryption>> KeyEncryption::open(std::filesystem::path file, bool make,
                                                           std::shared_ptr<crypto::Pkcs11Token> token) {
  std::error_code ignored;
  if (make && !std::filesystem::exists(file, ignored)) {
    const Result<Secret> line = newKekLine(token.get());
    if (!line) return line.error();
    if (Result<void> written = writeFileAtomically(file, line->reveal(), 0600); !written) return written.error();
  }
  Result<std::string> text = readText(file);
  if (!text) return text.error();
  std::string digest = sha256(*text);
  Result<crypto::Envelope> envelope = envelopeIn(file, *std::move(text), token.get());
  if (!envelope) return envelope.error();
  std::unique_ptr<KeyEncryption> made = of(*std::move(envelope));
  made->file_ = std::move(file);
  made->token_ = std::move(token);
  made->seen_ = std::move(digest);
  return made;
}

Result<bool> KeyEncryption::reload() {
  if (file_.empty()) return false;
  Result<std::string> text = readText(file_);
  if (!text) return text.error();
  std::string digest = sha256(*text);
  if (digest == seen_) {
    OPENSSL_cleanse(text->data(), text->size());
    return false;
  }
  Result<crypto::Envelope> envelope = envelopeIn(file_, *std::move(text), token_.get());
  if (!envelope) return envelope.error();
  seen_ = std::move(digest);
  const std::shared_ptr<const crypto::Envelope> before = current_->load();
  inFile_ = std::make_shared<const crypto::Envelope>(*std::move(envelope));
  // Whoever replaces the file, rather than adding to it, must not lose what is sealed under the key that was in it.
  auto both = std::make_shared<const crypto::Envelope>(inFile_->opening(*before));
  const bool anew = both->current() != before->current() || both->size() != inFile_->size();
  current_->store(std::move(both));
  return anew;
}

void KeyEncryption::settle() {
  if (inFile_) current_->store(std::exchange(inFile_, nullptr));
}

AtRest KeyEncryption::atRest() const {
  using Keks = std::shared_ptr<Snapshot<crypto::Envelope>>;
  return {.prefix = "/registry/secrets/",
          .seal = [keks = Keks(current_)](const std::string& key, const std::string& text) { return keks->load()->seal(text, key); },
          .open = [keks = Keks(current_)](const std::string& key, std::string stored) -> Result<std::string> {
            if (!crypto::Envelope::isSealed(stored)) return stored;
            Result<Secret> text = keks->load()->open(stored, key);
            if (!text) return text.error();
            return std::string(text->reveal());
          },
          .stale = [keks = Keks(current_)](std::string_view stored) { return crypto::Envelope::kekOf(stored) != keks->load()->current(); }};
}

}  // namespace podpass::token
