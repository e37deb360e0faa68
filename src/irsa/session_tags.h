#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/iam_names.h"

// Session tags (IAM User Guide, "Pass session tags in AWS STS"): attributes of a session, which condition keys see as aws:PrincipalTag/KEY.
// Their keys are compared without case and kept as given, as condition keys are: `Team` and `team` are one tag.
namespace podpass::irsa {

struct SessionTag {
  std::string key, value;
};
using SessionTags = std::map<std::string, std::string, api::CaselessLess>;

constexpr std::size_t kMostTags = 50, kLongestTagKey = 128, kLongestTagValue = 256;  // the lengths in characters
constexpr std::string_view kTagKeyPattern = "[\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]+", kTagValuePattern = "[\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]*";

// Whether the text consists of the characters that both patterns allow.
bool isTagText(std::string_view utf8);
// How many characters the text has.
std::size_t characters(std::string_view utf8);

// What keeps these tags from being put on one session, in AWS's words: a key that comes twice, a transitive key that is no tag's.
std::optional<std::string> problemOf(const std::vector<SessionTag>& tags, const std::vector<std::string>& transitiveKeys);

}  // namespace podpass::irsa
