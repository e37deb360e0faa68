#include "irsa/diagnosis.h"

#include <algorithm>

#include "base/log.h"

namespace podpass::irsa {

void Diagnosis::ok(std::string id, std::string found, std::string note) {
  checks.push_back({std::move(id), Finding::Ok, std::move(found), std::move(note)});
}

void Diagnosis::broken(std::string id, std::string found, std::string why, Mend mend) {
  checks.push_back({std::move(id), Finding::Broken, std::move(found), std::move(why), std::move(mend)});
}

void Diagnosis::unknown(std::string id, const std::string& what, const Error& error) {
  Check check{std::move(id), Finding::Unknown, {}, "could not " + what + ": " + log::chain(error), {error.fix, {}}};
  if (error.reason == Reason::Forbidden) {
    check.why = "you may not " + what + ": " + error.sentence;
    check.mend.text = "ask whoever administers the cluster for the right to " + what;
  }
  checks.push_back(std::move(check));
}

void Diagnosis::skipped(std::string id, std::string why) { checks.push_back({std::move(id), Finding::Skipped, {}, std::move(why)}); }

const Check* Diagnosis::firstBroken() const {
  const auto found = std::find_if(checks.begin(), checks.end(), [](const Check& check) { return check.finding == Finding::Broken; });
  return found == checks.end() ? nullptr : &*found;
}

const Check* Diagnosis::find(std::string_view id) const {
  const auto found = std::find_if(checks.begin(), checks.end(), [id](const Check& check) { return check.id == id; });
  return found == checks.end() ? nullptr : &*found;
}

json::object Diagnosis::toJson() const {
  json::array all;
  for (const Check& check : checks) {
    json::object one{{"id", check.id}, {"finding", wordOf(check.finding)}, {"found", check.found}};
    if (!check.why.empty()) one["why"] = check.why;
    if (!check.mend.text.empty()) one["mend"] = json::object{{"text", check.mend.text}};
    if (!check.mend.command.empty()) makeObjectAt(one, {"mend"})["command"] = check.mend.command;
    if (!check.detail.empty()) one["detail"] = check.detail;
    all.push_back(std::move(one));
  }
  const Check* first = firstBroken();
  return {{"subject", subject},
          {"role", role},
          {"good", first == nullptr},
          {"broken", first != nullptr ? json::value(first->id) : json::value()},
          {"checks", std::move(all)}};
}

std::string_view wordOf(Finding finding) {
  constexpr std::string_view kWords[] = {"ok", "broken", "unknown", "skipped"};
  return kWords[static_cast<std::size_t>(finding)];
}

}  // namespace podpass::irsa
