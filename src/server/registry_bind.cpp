#include "base/text.h"
#include "server/registry.h"
#include "server/status.h"
#include "server/stored_object.h"

namespace podpass::server {

asio::awaitable<Result<void>> Registry::bind(Context& context, api::ObjectName pod, std::string node) {
  const api::Kind& kind = *api::findKind("", "v1", "pods");
  const std::string key = keyOf(kind, pod.ns, pod.name);
  for (int attempt = 1;; ++attempt) {
    const DocumentPtr current = store_.get(key);
    if (!current) co_return notFound(kind, pod.name);
    const std::string bound(textAt(current->value, {"spec", "nodeName"}));
    const auto refuse = [&](const std::string& why) {
      return Error{.reason = Reason::Conflict,
                   .sentence = "Operation cannot be fulfilled on pods/binding " + quoted(pod.name) + ": " + why,
                   .about = {"", "pods/binding", pod.name, ""}};
    };
    if (!metaText(current->value, "deletionTimestamp").empty())
      co_return refuse("pod " + pod.name + " is being deleted, cannot be assigned to a host");
    if (!bound.empty()) co_return refuse("pod " + pod.name + " is already assigned to node " + quoted(bound));
    json::object next = current->value;
    makeObjectAt(next, {"spec"})["nodeName"] = node;
    json::array& conditions = [&]() -> json::array& {
      json::value& value = makeObjectAt(next, {"status"})["conditions"];
      return value.is_array() ? value.get_array() : value.emplace_array();
    }();
    for (auto it = conditions.begin(); it != conditions.end();)
      it = it->is_object() && textAt(it->get_object(), {"type"}) == "PodScheduled" ? conditions.erase(it) : it + 1;
    conditions.push_back(json::object{{"type", "PodScheduled"}, {"status", "True"}, {"lastTransitionTime", rfc3339(clock_.now())}});
    if (context.dryRun) co_return Result<void>();
    Mutation mutation{key, std::move(next), current->revision};
    Result<Entry> entry = co_await commit(std::move(mutation));
    if (entry) co_return Result<void>();
    if (entry.error().reason != Reason::Conflict || attempt >= kTries) co_return entry.error();
  }
}

}  // namespace podpass::server
