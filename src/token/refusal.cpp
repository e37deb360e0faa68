#include "token/refusal.h"

namespace podpass::token {

Error refusal(Refusal what, std::string sentence, std::string fix, Reason reason) {
  Error error{reason, std::move(sentence), std::move(fix)};
  error.causes = {{"check", std::move(what.check), "TokenRefused"},
                  {"expected", std::move(what.expected), "TokenRefused"},
                  {"found", std::move(what.found), "TokenRefused"}};
  if (what.obstacle == Obstacle::Unreachable) error.causes.push_back({"obstacle", "unreachable", "TokenRefused"});
  if (what.obstacle == Obstacle::Certificate) error.causes.push_back({"obstacle", "certificate", "TokenRefused"});
  return error;
}

std::optional<Refusal> refusalOf(const Error& error) {
  if (error.causes.size() < 3 || error.causes.front().reason != "TokenRefused") return std::nullopt;
  Refusal what{error.causes[0].message, error.causes[1].message, error.causes[2].message};
  if (error.causes.size() > 3) what.obstacle = error.causes[3].message == "certificate" ? Obstacle::Certificate : Obstacle::Unreachable;
  return what;
}

}  // namespace podpass::token
