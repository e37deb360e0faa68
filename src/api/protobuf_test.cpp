#include "api/protobuf.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <sstream>

#include "api/codec.h"
#include "api/kinds.h"
#include "api/test_samples.h"

namespace podpass::api {
namespace {

constexpr std::string_view kProtobuf = "application/vnd.kubernetes.protobuf";

std::string bytesOf(std::string_view hexAndText) {  // "0a02 'v1'": hex digits, and texts in single quotes
  std::string bytes;
  for (std::size_t i = 0; i < hexAndText.size(); ++i) {
    if (hexAndText[i] == ' ') continue;
    if (hexAndText[i] == '\'') {
      const std::size_t end = hexAndText.find('\'', i + 1);
      bytes += hexAndText.substr(i + 1, end - i - 1);
      i = end;
    } else {
      bytes += static_cast<char>(std::stoi(std::string(hexAndText.substr(i++, 2)), nullptr, 16));
    }
  }
  return bytes;
}

std::string lengthOf(const std::string& bytes) {
  std::string length;
  std::size_t rest = bytes.size();
  for (; rest >= 0x80; rest >>= 7) length += static_cast<char>(0x80 | (rest & 0x7f));
  return length + static_cast<char>(rest);
}

std::string part(char tag, const std::string& bytes) { return tag + lengthOf(bytes) + bytes; }

std::string envelope(std::string_view apiVersion, std::string_view kind, const std::string& raw) {
  const std::string type = part('\x0a', std::string(apiVersion)) + part('\x12', std::string(kind));
  return std::string("k8s\0", 4) + part('\x0a', type) + part('\x12', raw) + bytesOf("1a00 2200");
}

std::string decoded(const Kind& kind, const std::string& body) {
  const Result<Decoded> result = decode(kind, kProtobuf, body);
  return result ? json::serialize(result->object) : result.error().sentence;
}

// ---- bodies of real clients

TEST(Protobuf, ReadsTheServiceAccountThatKubectlSends) {  // spec api.md §3.4, kubectl 1.32 create serviceaccount
  const std::string body = std::string("k8s\0", 4) + bytesOf(
                                                         "0a14 0a02 'v1' 120e 'ServiceAccount' 121b 0a19 0a09 'sa-k32new'"
                                                         "1200 1a00 2200 2a00 3200 3800 4200 1a00 2200");
  EXPECT_EQ(decoded(serviceAccountKind(), body), R"({"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"sa-k32new"}})");
}

TEST(Protobuf, ReadsTheTokenRequestsThatKubectlSends) {
  const std::string_view group = "authentication.k8s.io/v1";
  EXPECT_EQ(decoded(tokenRequestKind(), envelope(group, "TokenRequest", bytesOf("0a00 1206 0a01 'x' 20901c 1a02 0a00"))),
            R"({"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","metadata":{},)"
            R"("spec":{"audiences":["x"],"expirationSeconds":3600},"status":{}})");
  EXPECT_EQ(decoded(tokenRequestKind(), envelope(group, "TokenRequest", bytesOf("1211 1a0f 0a03 'Pod' 1202 'v1' 1a02 'pa' 2200"))),
            R"({"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest",)"
            R"("spec":{"boundObjectRef":{"kind":"Pod","apiVersion":"v1","name":"pa"}}})");
}

TEST(Protobuf, SkipsNumbersItDoesNotKnowWhateverTheirType) {
  const std::string raw = bytesOf("0a03 0a01 'a'") + bytesOf("f80201 fa02 03 'xyz' fd02 01020304 f902 0102030405060708");
  EXPECT_EQ(decoded(configMapKind(), envelope("v1", "ConfigMap", raw)),
            R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}})");
}

TEST(Protobuf, ReadsNumbersPackedAndUnpacked) {
  // spec{securityContext{supplementalGroups}}: field 4 once packed, once one by one
  for (const char* groups : {"2203 01 9601", "2001 209601"}) {
    const std::string raw = part('\x12', part('\x72', bytesOf(groups)));
    EXPECT_NE(decoded(podKind(), envelope("v1", "Pod", raw)).find(R"("supplementalGroups":[1,150])"), std::string::npos) << groups;
  }
}

TEST(Protobuf, KeepsTheLastOfARepeatedScalarAndJoinsRepeatedMessages) {  // as protobuf's own merging has it
  const std::string raw = bytesOf("0a03 0a01 'a' 0a03 0a01 'b' 0a03 1a01 'n'");
  EXPECT_EQ(decoded(configMapKind(), envelope("v1", "ConfigMap", raw)),
            R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"b","namespace":"n"}})");
}

// ---- hostile bytes

TEST(Protobuf, RefusesWhatIsNoMessage) {
  struct Case {
    const char* why;
    std::string body;
    const char* says;
  };
  const std::string whole = envelope("v1", "Secret", bytesOf("0a03 0a01 'a' 1207 0a01 'k' 1202 0001"));
  const Case cases[] = {
      {"nothing", "", "expected prefix 6b 38 73 00"},
      {"JSON under the wrong label", "{\"kind\":\"Secret\"}", "expected prefix 6b 38 73 00"},
      {"an envelope cut short", whole.substr(0, whole.size() - 1), "illegal envelope"},
      {"compressed content", std::string("k8s\0", 4) + bytesOf("1a04 'gzip'"), "unsupported content encoding"},
      {"a kind that is no text", envelope("v1", "\xff", ""), "invalid UTF-8"},
      {"another kind", envelope("v1", "ConfigMap", ""), "cannot be handled as a Secret"},
      {"another version", envelope("v2", "Secret", ""), "does not match the expected API version (v1)"},
      {"a length beyond the end", envelope("v1", "Secret", bytesOf("0a7f 00")), "proto: "},
      {"a length of 2^64-1", envelope("v1", "Secret", bytesOf("0a ffffffffffffffffff01")), "proto: "},
      {"a varint without end", envelope("v1", "Secret", bytesOf("28 ffffffffffffffffffffff01")), "proto: wrong wireType"},
      {"field number 0", envelope("v1", "Secret", bytesOf("0200")), "proto: bad tag"},
      {"a group, which no one sends any more", envelope("v1", "Secret", bytesOf("7b7c")), "proto: unexpected EOF"},
      {"a number where a message is due", envelope("v1", "Secret", bytesOf("0801")), "proto: wrong wireType"},
      {"a text where a flag is due", envelope("v1", "Secret", bytesOf("2a01 'x'")), "proto: wrong wireType"},
      {"a name that is no text", envelope("v1", "Secret", bytesOf("0a03 0a01 ff")), "proto: invalid UTF-8"},
      {"a map's key that is no text", envelope("v1", "Secret", bytesOf("1205 0a01 ff 1200")), "proto: invalid UTF-8"},
      {"a time before 1678", envelope("v1", "Secret", bytesOf("0a0d 420b 08 80808080808080808001")), "proto: time out of range"},
      {"a time with 2^31 nanoseconds", envelope("v1", "Secret", bytesOf("0a08 4206 10 8080808008")), "proto: time out of range"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    const Result<Decoded> result = decode(secretKind(), kProtobuf, c.body);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().reason, Reason::BadRequest);
    EXPECT_NE(result.error().sentence.find(c.says), std::string::npos) << result.error().sentence;
  }
}

TEST(Protobuf, RefusesEveryTruncationWithoutACrash) {
  const std::string whole = encodeProtobuf(podKind(), sampleOf(podKind()));
  for (std::size_t length = 0; length < whole.size(); length += 1 + length / 64)
    (void)decode(podKind(), kProtobuf, whole.substr(0, length));
  EXPECT_TRUE(decode(podKind(), kProtobuf, whole));
}

TEST(Protobuf, DoesNotRepeatASecretItCouldNotRead) {
  const std::string body = envelope("v1", "Secret", bytesOf("120e 0a01 'k' 1209 'swordfish'") + "\x0a\x7f");
  EXPECT_EQ(decoded(secretKind(), body).find("swordfish"), std::string::npos);
}

// ---- numbers

struct Entry {
  std::uint32_t number = 0;
  std::string type;
};
using Message = std::map<std::string, Entry>;
using Messages = std::map<std::string, Message>;

Messages readMessages() {
  Messages messages;
  std::ifstream file("testdata/messages.txt");
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream words(line);
    std::string name, word;
    words >> name;
    Message& message = messages[name];
    while (words >> word) {
      const std::size_t equals = word.find('='), colon = word.find(':');
      message[word.substr(0, equals)] = {static_cast<std::uint32_t>(std::stoul(word.substr(equals + 1))),
                                         colon == std::string::npos ? "" : word.substr(colon + 1)};
    }
  }
  return messages;
}

std::string wireType(Type type) {
  switch (type) {
    case Type::Integer:
      return "int";
    case Type::Boolean:
      return "bool";
    case Type::Bytes:
      return "bytes";
    case Type::Time:
      return "Time";
    case Type::MicroTime:
      return "MicroTime";
    case Type::Quantity:
      return "Quantity";
    case Type::IntOrString:
      return "IntOrString";
    case Type::Any:
      return "raw";
    case Type::List:
      return "[]";
    default:
      return "";
  }
}

// As testdata/messages.txt writes it; `message` for what has fields.
std::string typeOf(const Field& field, const std::string& message) {
  if (field.type == Type::Object) return message;
  if (field.type == Type::List) return (field.of.empty() ? wireType(field.element) : message) + "[]";
  if (field.type != Type::Map) return wireType(field.type);
  const std::string element = field.of.empty() ? wireType(field.element) : message;
  return element.empty() ? "map" : "map:" + element;
}

class Comparing {
 public:
  explicit Comparing(const Messages& messages) : messages_(messages) {}

  // `within`: the message stands for those fields of the table that are embedded under this number.
  void compare(const Fields& fields, const std::string& name, const std::string& path, std::uint32_t within = 0) {
    const auto found = messages_.find(name);
    ASSERT_NE(found, messages_.end()) << path << ": write the message " << name << " of generated.proto into testdata/messages.txt";
    std::set<std::uint32_t> embedded;
    for (const Field& field : fields) {
      if (field.within == within) compareField(field, found->second, path + "." + std::string(field.name));
      if (within == 0 && field.within != 0) embedded.insert(field.within);
    }
    expectNothingForgotten(fields, found->second, embedded, path, within);
    for (const std::uint32_t number : embedded) {
      const auto part = std::find_if(found->second.begin(), found->second.end(), [&](const auto& e) { return e.second.number == number; });
      ASSERT_NE(part, found->second.end()) << path << " embeds number " << number;
      compare(fields, part->second.type, path, number);
    }
  }

  std::size_t compared = 0;

 private:
  // A part whose message testdata/messages.txt does not describe is left out on purpose.
  void expectNothingForgotten(const Fields& fields, const Message& message, const std::set<std::uint32_t>& embedded,
                              const std::string& path, std::uint32_t within) {
    for (const auto& [name, entry] : message) {
      const bool leftOut = entry.type.starts_with("NodeConfig") && !messages_.contains(entry.type);
      const bool found = std::any_of(fields.begin(), fields.end(), [&](const Field& f) { return f.name == name && f.within == within; });
      if (name != "metadata" && !leftOut && !embedded.contains(entry.number)) {
        EXPECT_TRUE(found) << path << " has no " << name;
      }
    }
  }

  void compareField(const Field& field, const Message& message, const std::string& path) {
    const auto entry = message.find(std::string(field.name));
    ASSERT_NE(entry, message.end()) << path;
    EXPECT_EQ(field.number, entry->second.number) << path;
    std::string message_ = entry->second.type;
    if (message_.ends_with("[]")) message_.resize(message_.size() - 2);
    EXPECT_EQ(typeOf(field, message_), entry->second.type) << path;
    ++compared;
    if (!field.of.empty()) compare(field.of, message_, path);
  }

  const Messages& messages_;
};

TEST(Protobuf, NumbersAreThoseOfKubernetes) {
  const Messages messages = readMessages();
  ASSERT_FALSE(messages.empty()) << "run in src/api";
  Comparing comparing(messages);
  std::vector<const Kind*> kinds = allKinds();
  kinds.insert(kinds.end(), {&tokenRequestKind(), &evictionKind(), &deleteOptionsKind()});
  for (const Kind* kind : kinds) {
    if (kind->group.ends_with("podpass.dev")) continue;  // ours: no other program has them as protobuf
    const std::string qualified = std::string(kind->group) + "/" + std::string(kind->kind);
    comparing.compare(kind->fields, messages.contains(qualified) ? qualified : std::string(kind->kind), std::string(kind->kind));
  }
  comparing.compare(metadataFields(), "ObjectMeta", "metadata");
  EXPECT_GT(comparing.compared, 1000u);
}

}  // namespace
}  // namespace podpass::api
