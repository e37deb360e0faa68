#include "cli/doctor_print.h"

#include <algorithm>
#include <cstdio>

#include "cli/doctor_request.h"
#include "cli/verbs.h"

namespace podpass::cli {
namespace {

constexpr std::size_t kWordWidth = 9, kIdWidth = 14;

// Claims and annotations are strangers' texts: an escape sequence in them must not reach the terminal. Lines are kept.
std::string printable(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const auto byte = static_cast<unsigned char>(text[at]);
    const bool c1 = byte == 0xc2 && at + 1 < text.size() && static_cast<unsigned char>(text[at + 1]) < 0xa0;
    if ((byte < 0x20 && byte != '\n') || byte == 0x7f || c1) {
      char hex[8];
      std::snprintf(hex, sizeof hex, "\\x%02x", byte);
      out += hex;
      if (c1) {  // whole: alone its second byte is one to a terminal of eight bits
        std::snprintf(hex, sizeof hex, "\\x%02x", static_cast<unsigned char>(text[++at]));
        out += hex;
      }
    } else {
      out += text[at];
    }
  }
  return out;
}

std::string column(std::string_view text, std::size_t width) {
  return std::string(text) + std::string(text.size() < width ? width - text.size() : 1, ' ');
}

// Each line of `text` below `margin`; a here document has to begin its lines at the left, so that it can be copied.
std::string lines(const std::string& margin, const std::string& text) {
  if (text.find("<<'") != std::string::npos) return printable(text) + "\n";
  std::string out;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    out += margin + printable(std::string_view(text).substr(begin, end - begin)) + "\n";
    begin = end + 1;
  }
  return out;
}

std::string shown(const irsa::Check& check) {
  const bool broken = check.finding == irsa::Finding::Broken, skipped = check.finding == irsa::Finding::Skipped;
  const std::string word = broken ? "BROKEN" : std::string(irsa::wordOf(check.finding));
  const std::string& first = skipped || check.found.empty() ? check.why : check.found;
  std::string text = column(word, kWordWidth) + column(check.id, kIdWidth) + printable(first) + "\n";
  if (skipped) return text;
  if (!check.why.empty() && !check.found.empty())
    text += lines(check.finding == irsa::Finding::Ok ? "           note: " : "           why:  ", check.why);
  if (broken && check.detail.contains("statements")) text += printable(shownStatements(check.detail));
  if (!check.mend.text.empty()) text += lines("           mend: ", check.mend.text);
  if (!check.mend.command.empty()) text += lines("             ", check.mend.command);
  return text;
}

}  // namespace

std::string shownDiagnosis(const irsa::Diagnosis& diagnosis) {
  std::string text = printable(diagnosis.subject) + (diagnosis.role.empty() ? "" : ", role " + printable(diagnosis.role)) + "\n";
  for (const irsa::Check& check : diagnosis.checks) text += shown(check);
  const irsa::Check* broken = diagnosis.firstBroken();
  const bool unknown = std::any_of(diagnosis.checks.begin(), diagnosis.checks.end(),
                                   [](const irsa::Check& check) { return check.finding == irsa::Finding::Unknown; });
  return text +
         (broken != nullptr ? "the first broken link: " + broken->id
          : unknown         ? "nothing is broken as far as could be seen"
                            : "every link holds") +
         "\n";
}

int say(const irsa::Diagnosis& diagnosis, const std::string& output) {
  if (output == "text")
    std::fputs(shownDiagnosis(diagnosis).c_str(), stdout);
  else
    print(diagnosis.toJson(), output);
  return diagnosis.firstBroken() == nullptr ? kYes : kNo;
}

}  // namespace podpass::cli
