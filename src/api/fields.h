#pragma once

#include "api/kind.h"

// The words that the tables of kinds are written in: `required(text("name", 1))`, `mergedBy("name", list("env", 7, envVar()))`.
// Numbers are those of Kubernetes' generated.proto.
namespace podpass::api {

using Fields = std::vector<Field>;

Field text(std::string_view name, std::uint32_t number, std::string_view doc = {});
Field texts(std::string_view name, std::uint32_t number, std::string_view doc = {});  // a list of strings
Field integer(std::string_view name, std::uint32_t number, std::string_view doc = {});
Field boolean(std::string_view name, std::uint32_t number, std::string_view doc = {});
Field bytes(std::string_view name, std::uint32_t number, std::string_view doc = {});
Field time(std::string_view name, std::uint32_t number, std::string_view doc = {});
Field microTime(std::string_view name, std::uint32_t number, std::string_view doc = {});
Field quantity(std::string_view name, std::uint32_t number, std::string_view doc = {});
Field intOrString(std::string_view name, std::uint32_t number, std::string_view doc = {});
Field anything(std::string_view name, std::uint32_t number, std::string_view doc = {});
Field textOrObject(std::string_view name, std::uint32_t number, std::string_view doc = {});  // free JSON
Field object(std::string_view name, std::uint32_t number, Fields of, std::string_view doc = {});
Field list(std::string_view name, std::uint32_t number, Fields of, std::string_view doc = {});
Field map(std::string_view name, std::uint32_t number, Type element = Type::String, std::string_view doc = {});

// Two words for what is a value, not a pointer, in Kubernetes: 0 and false are not kept.
Field count(std::string_view name, std::uint32_t number, std::string_view doc = {});
Field flag(std::string_view name, std::uint32_t number, std::string_view doc = {});

Field required(Field field);
Field evenEmpty(Field field);
Field byDefault(std::string_view jsonText, Field field);
Field oneOf(std::vector<std::string_view> values, Field field);
Field between(std::int64_t low, std::int64_t high, Field field);
Field atLeast(std::int64_t low, Field field);
Field mergedBy(std::string_view key, Field field);
Field keyedBy(std::vector<std::string_view> keys, Field field);  // for server-side apply, beside the one of strategic merge
Field asSet(Field field);
Field atomic(Field field);
Field checked(std::string_view (*problem)(std::string_view), Field field);
// The fields as protobuf nests them: inside the message `number` that JSON does not show.
Fields embedded(std::uint32_t number, Fields fields);
Fields joined(Fields first, Fields second);

// Parts that several kinds share.
const Fields& objectReference();       // ObjectReference of core
const Fields& localObjectReference();  // {name}
const Fields& labelSelector();
const Fields& condition();  // metav1.Condition
const Fields& userInfo();   // of authentication.k8s.io
const Fields& podSpec();
const Fields& podStatus();
const Fields& volume();
const Fields& container();

// Fine print of names that are not in codec.h.
std::string_view environmentNameProblem(std::string_view name);
std::string_view fileModeProblem(std::string_view decimal);
std::string_view tokenLifetimeProblem(std::string_view seconds);

}  // namespace podpass::api
