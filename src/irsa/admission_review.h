#pragma once

#include <array>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "irsa/injection.h"

// admission.k8s.io/v1 (and v1beta1: the same members) as the webhook reads and answers it. No version, kind, operation or resource is
// checked: the answer says the kind and version that were asked with, as API servers demand.
namespace podpass::irsa {

// Owns what its views point into; each has its own memory, given back at once.
class AdmissionReview {
 public:
  explicit AdmissionReview(std::string_view body);
  AdmissionReview(const AdmissionReview&) = delete;
  AdmissionReview& operator=(const AdmissionReview&) = delete;

  // What is wrong with it, in the words of the Amazon EKS webhook; "" when the pod can be read.
  [[nodiscard]] const std::string& problem() const { return problem_; }
  [[nodiscard]] std::string_view uid() const { return uid_; }
  [[nodiscard]] std::string_view operation() const { return operation_; }
  [[nodiscard]] std::string_view ns() const { return ns_; }  // of the request: the pod's own may be missing
  [[nodiscard]] const PodView& pod() const { return pod_; }
  [[nodiscard]] const json::object& object() const { return *object_; }  // the Pod

  // The answers: compact JSON, the patch in base64. Warnings reach the user of kubectl.
  [[nodiscard]] std::string allowed(std::string_view patch = {}, std::span<const std::string> warnings = {}) const;
  [[nodiscard]] std::string denied(std::string_view message) const;

 private:
  void read(std::string_view body);
  [[nodiscard]] std::string begin(std::size_t more) const;  // with room for so much after it

  std::array<unsigned char, 16384> buffer_;  // enough for an ordinary pod
  json::monotonic_resource memory_{buffer_.data(), buffer_.size()};
  json::value document_;
  std::string_view kind_, apiVersion_, uid_, operation_, ns_;
  const json::object* object_ = nullptr;
  PodView pod_;
  std::string problem_;
};

}  // namespace podpass::irsa
