#pragma once

#include <string>

#include "irsa/aws.h"

// Which AWS account and region this machine is in, as the EC2 instance metadata service tells (IMDSv2: a token first, then the instance
// identity document).
namespace podpass::irsa {

constexpr const char* kInstanceMetadata = "http://169.254.169.254";

// Sets accountId and partition. `endpoint` is a URL without a path, as in AWS_EC2_METADATA_SERVICE_ENDPOINT. Unavailable: nobody answers
// there, or not with an identity document. Blocking, a few seconds at most.
Result<void> askInstance(AwsSettings& settings, std::string endpoint = kInstanceMetadata);

}  // namespace podpass::irsa
