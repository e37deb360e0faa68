#pragma once

#include "api/kind.h"

// Kubernetes' protobuf wire format, derived from the tables: the envelope "k8s\0" + Unknown around the message of the kind.
namespace podpass::api {

struct Envelope {
  std::string_view apiVersion, kind, raw;  // into the body
};

// BadRequest when it is none.
Result<Envelope> openEnvelope(std::string_view body);

// The message of `kind` as JSON, not yet conformed. Unknown numbers are skipped; BadRequest when the bytes are no message.
Result<json::object> decodeMessage(const Kind& kind, std::string_view raw);

}  // namespace podpass::api
