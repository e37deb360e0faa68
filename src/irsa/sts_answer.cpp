#include "irsa/sts_answer.h"

#include "base/text.h"

namespace podpass::irsa {
namespace {

constexpr std::string_view kNamespace = "https://sts.amazonaws.com/doc/2011-06-15/";

std::string escaped(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c == '<')
      result += "&lt;";
    else if (c == '>')
      result += "&gt;";
    else if (c == '&')
      result += "&amp;";
    else if (c == '"')
      result += "&quot;";
    else if (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t')
      result += "\xEF\xBF\xBD";  // XML 1.0 cannot say them, not even as references
    else
      result += c;
  }
  return result;
}

void write(const Element& element, std::string& xml) {
  xml += "<" + element.name + ">" + escaped(element.text);
  for (const Element& child : element.children) write(child, xml);
  xml += "</" + element.name + ">";
}

http::Response answer(int status, std::string xml, const std::string& requestId) {
  http::Response response;
  response.status = status;
  response.headers.add("Content-Type", "text/xml");
  response.headers.add("x-amzn-RequestId", requestId);
  response.body = std::make_shared<const std::string>(std::move(xml));
  return response;
}

}  // namespace

http::Response successAnswer(const std::string& action, const std::vector<Element>& result, const std::string& requestId) {
  std::string xml = "<" + action + "Response xmlns=\"" + std::string(kNamespace) + "\">\n";
  write({action + "Result", {}, result}, xml);
  write({"ResponseMetadata", {}, {{"RequestId", requestId}}}, xml);
  return answer(200, xml + "\n</" + action + "Response>\n", requestId);
}

http::Response errorAnswer(const Refusal& refusal, const std::string& requestId) {
  std::string xml = "<ErrorResponse xmlns=\"" + std::string(kNamespace) + "\">\n";
  write({"Error", {}, {{"Type", refusal.status < 500 ? "Sender" : "Receiver"}, {"Code", refusal.code}, {"Message", refusal.message}}}, xml);
  write({"RequestId", requestId}, xml);
  http::Response response = answer(refusal.status, xml + "\n</ErrorResponse>\n", requestId);
  if (!refusal.check.empty()) response.headers.add("x-podpass-reason", refusal.check);
  return response;
}

Element credentialsElement(const Credentials& credentials, std::int64_t expires) {
  return {"Credentials",
          {},
          {{"AccessKeyId", credentials.accessKeyId},
           {"SecretAccessKey", std::string(credentials.secretAccessKey.reveal())},
           {"SessionToken", std::string(credentials.sessionToken.reveal())},
           {"Expiration", rfc3339(WallTime(std::chrono::seconds(expires)))}}};
}

}  // namespace podpass::irsa
