#pragma once

#include <string>
#include <vector>

#include "http/http.h"
#include "irsa/credentials.h"
#include "irsa/sts_refusal.h"

// AWS's XML (spec irsa.md §2.1, §2.3).
namespace podpass::irsa {

// An element with text, or with elements inside.
struct Element {
  std::string name;
  std::string text = {};
  std::vector<Element> children = {};
};

http::Response successAnswer(const std::string& action, const std::vector<Element>& result, const std::string& requestId);
http::Response errorAnswer(const Refusal& refusal, const std::string& requestId);
Element credentialsElement(const Credentials& credentials, std::int64_t expires);

}  // namespace podpass::irsa
