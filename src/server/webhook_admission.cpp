#include "server/webhook_admission.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "api/codec.h"
#include "api/patch.h"
#include "base/gather.h"
#include "base/log.h"
#include "base/text.h"
#include "server/registry.h"
#include "server/status.h"

namespace podpass::server {
namespace {

constexpr std::size_t kMaxAnswer = 8u << 20;  // a patch that rewrites the largest object, in base64

// Configurations could lock everybody out of mending them; reviews are questions, not objects.
bool isExempt(const api::Kind& kind) {
  return kind.isVirtual || (kind.group == "admissionregistration.k8s.io" &&
                            (kind.plural == "mutatingwebhookconfigurations" || kind.plural == "validatingwebhookconfigurations"));
}

bool anyMatches(const std::vector<Webhook>& webhooks, const AdmissionRequest& request) {
  return !isExempt(request.kind) &&
         std::any_of(webhooks.begin(), webhooks.end(), [&](const Webhook& each) { return each.rulesMatch(request); });
}

// What client-go says of an answer that is no 2xx.
std::string refusalOf(int status, const std::string& body) {
  switch (status) {
    case 400:
      return "the server rejected our request for an unknown reason";
    case 401:
      return "the server has asked for the client to provide credentials";
    case 404:
      return "the server could not find the requested resource";
    case 405:
      return "the server does not allow this method on the requested resource";
    case 429:
      return "the server has received too many requests and has asked us to try again later";
    case 503:
      return "the server is currently unable to handle the request";
    case 504:
      return "the server was unable to return a response in the time allotted, but may still be processing the request";
    default:
      break;
  }
  if (status >= 500) return "an error on the server (" + quoted(body.substr(0, 256)) + ") has prevented the request from succeeding";
  return "the server responded with the status code " + std::to_string(status) + " but did not return more details";
}

// In Go's words where clients look for them.
std::string transportText(const Error& error) {
  if (error.reason == Reason::Timeout) return "context deadline exceeded";
  constexpr std::string_view kConnect = "cannot connect to ";
  const std::size_t colon = error.sentence.rfind(": ");
  if (!error.sentence.starts_with(kConnect) || colon == std::string::npos) return error.sentence;
  std::string why = error.sentence.substr(colon + 2);
  if (!why.empty()) why[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(why[0])));
  return "dial tcp " + error.sentence.substr(kConnect.size(), colon - kConnect.size()) + ": connect: " + why;
}

// What a failed call means for the request.
Result<void> failedCall(const Webhook& webhook, const Error& error, Context& context, bool mutates, const std::string& place) {
  const std::string text = "failed calling webhook " + quoted(webhook.name) + ": " + error.sentence;
  log::warn("admission webhook failed",
            {{"name", webhook.name}, {"ignored", webhook.ignoresFailure ? "true" : "false"}, {"err", error.sentence}});
  if (!webhook.ignoresFailure) return internalError(text);
  context.annotations[std::string("failed-open.") + (mutates ? "mutating" : "validating") + ".webhook.admission.k8s.io/" + place] =
      webhook.name;
  return {};
}

void keepRemarks(const Webhook& webhook, const Verdict& verdict, Context& context) {
  for (const auto& [key, value] : verdict.annotations) context.annotations[webhook.name + "/" + key] = value;
  context.warnings.insert(context.warnings.end(), verdict.warnings.begin(), verdict.warnings.end());
}

Error dryRunRefused(const Webhook& webhook) {
  return Error{Reason::BadRequest, "admission webhook " + quoted(webhook.name) + " does not support dry run"};
}

// True when the object is another afterwards.
Result<bool> applyPatch(const Webhook& webhook, const api::Kind& kind, const std::string& patch, json::object* object) {
  if (patch.empty()) return false;
  Result<json::value> parsed = api::parseJson(patch);
  if (!parsed) return internalError(parsed.error().sentence);
  if (parsed->is_array() && parsed->get_array().empty()) return false;
  if (object == nullptr)
    return internalError("admission webhook " + quoted(webhook.name) +
                         " attempted to modify the object, which is not supported for this operation");
  Result<json::object> patched = api::applyJsonPatch(*object, *parsed);
  if (!patched) return internalError(patched.error().causes.empty() ? patched.error().sentence : patched.error().causes.front().message);
  if (textAt(*patched, {"kind"}) != kind.kind) {  // the options of a CONNECT: no kind of ours
    *object = *std::move(patched);
    return true;
  }
  Result<api::Decoded> conformed = api::conform(kind, *std::move(patched));
  if (!conformed) return internalError(conformed.error().sentence);
  api::applyDefaults(kind, conformed->object);
  if (conformed->object == *object) return false;
  *object = std::move(conformed->object);
  return true;
}

}  // namespace

WebhookAdmission::WebhookAdmission(Store& store, const auth::ObjectReader& objects, http::Client& client)
    : objects_(objects), client_(client) {
  // a write is acknowledged after its listeners have run: the next request sees the webhook
  const auto compile = [this] { webhooks_.store(std::make_shared<const WebhookSet>(WebhookSet::compile(objects_))); };
  for (const char* plural : {"mutatingwebhookconfigurations", "validatingwebhookconfigurations"}) {
    const api::Kind* kind = api::findKind("admissionregistration.k8s.io", "v1", plural);
    if (kind == nullptr) continue;
    auto listening = store.watch(Registry::prefixOf(*kind, ""), store.revision(), [compile](const Change&) { compile(); });
    if (listening) subscriptions_.push_back(*std::move(listening));
  }
  compile();
}

void WebhookAdmission::registerService(const std::string& ns, const std::string& name, std::string authority) {
  std::lock_guard lock(mutex_);
  services_[ns + "/" + name] = std::move(authority);
}

WebhookAdmission::Mutation WebhookAdmission::begin() const { return {.set = webhooks_.load()}; }
bool WebhookAdmission::mutates(const AdmissionRequest& request) const { return anyMatches(webhooks_.load()->mutating, request); }
bool WebhookAdmission::validates(const AdmissionRequest& request) const { return anyMatches(webhooks_.load()->validating, request); }

Result<bool> WebhookAdmission::selects(const Webhook& webhook, const AdmissionRequest& request, const Admitted& admitted) const {
  if (isExempt(request.kind) || !webhook.rulesMatch(request)) return false;
  const std::string& ns = namespaceOf(request);
  if (!webhook.namespaces.everything() && !ns.empty()) {
    // a Namespace that is written is judged by what it is about to say
    const bool own = !request.kind.namespaced && request.subresource.empty() && admitted.object != nullptr;
    const api::Kind& kind = *api::findKind("", "v1", "namespaces");
    const DocumentPtr live = own ? nullptr : objects_.get(kind, "", ns);
    if (!own && !live) return notFound(kind, ns);
    if (!webhook.namespaces.matches(own ? *admitted.object : live->value)) return false;
  }
  if (webhook.objects.everything()) return true;
  return (admitted.object != nullptr && webhook.objects.matches(*admitted.object)) ||
         (admitted.before != nullptr && webhook.objects.matches(*admitted.before));
}

asio::awaitable<Result<Verdict>> WebhookAdmission::call(const Webhook& webhook, bool mutates, std::string uid, std::string review) const {
  const std::string shown = webhook.shownUrl();
  const std::string start = "failed to call webhook: ", post = "Post " + quoted(shown) + ": ";
  std::string url = shown;
  http::FetchOptions options;
  if (webhook.url.empty()) {
    std::lock_guard lock(mutex_);
    const auto served = services_.find(webhook.service.ns + "/" + webhook.service.name);
    if (served == services_.end())
      co_return Error{Reason::Internal, start + post + "service " + quoted(webhook.service.name) + " not found"};
    url = "https://" + served->second + shown.substr(shown.find('/', std::string_view("https://").size()));
    options.serverName = webhook.service.name + "." + webhook.service.ns + ".svc";
  }
  options.method = "POST";
  options.headers.add("Content-Type", "application/json");
  options.headers.add("Accept", "application/json, */*");
  options.headers.add("User-Agent", "kube-apiserver-admission");
  options.body = std::move(review);
  options.timeout = webhook.timeout;
  options.maxBody = kMaxAnswer;
  options.repeatable = true;  // it is asked what it thinks, and may be asked again
  options.multiplex = true;
  options.caPem = webhook.caPem;
  Result<http::Fetched> fetched = co_await client_.send(std::move(url), std::move(options));
  if (!fetched) co_return Error{Reason::Internal, start + post + transportText(fetched.error())};
  if (fetched->status / 100 != 2) co_return Error{Reason::Internal, start + refusalOf(fetched->status, fetched->body)};
  co_return readVerdict(webhook, mutates, uid, fetched->body);
}

asio::awaitable<Result<Verdict>> WebhookAdmission::ask(const Webhook& webhook, bool mutates, const Context& context,
                                                       const AdmissionRequest& request, Admitted admitted) const {
  if (!webhook.problem.empty()) co_return Error{Reason::Internal, webhook.problem};
  if (webhook.reviewVersion.empty())
    co_return Error{Reason::Internal, "webhook does not accept known AdmissionReview versions (v1, v1beta1)"};
  std::string uid = randomUuid();
  std::string review = admissionReview(webhook, context, request, admitted, uid);
  Result<Verdict> verdict = co_await call(webhook, mutates, std::move(uid), std::move(review));
  co_return verdict;
}

asio::awaitable<Result<void>> WebhookAdmission::mutate(Context& context, const AdmissionRequest& request, json::object* object,
                                                       const json::object* before, Mutation& mutation) const {
  const bool again = mutation.round > 0;
  if (again && object != nullptr && *object != mutation.last) mutation.due.merge(mutation.called);
  int index = 0;
  for (const Webhook& webhook : mutation.set->mutating) {
    if (again && !mutation.due.contains(&webhook)) continue;
    const Admitted admitted{object, before};
    Result<bool> concerned = selects(webhook, request, admitted);
    if (!concerned) co_return concerned.error();
    if (!*concerned) continue;
    if (context.dryRun && !webhook.safeOnDryRun) co_return dryRunRefused(webhook);
    const std::string place = "round_" + std::to_string(mutation.round) + "_index_" + std::to_string(index++);
    Result<Verdict> verdict = co_await ask(webhook, true, context, request, admitted);
    if (!verdict) {
      if (Result<void> failed = failedCall(webhook, verdict.error(), context, true, place); !failed) co_return failed;
      continue;
    }
    keepRemarks(webhook, *verdict, context);
    if (!verdict->allowed) {
      context.wording = verdict->wording;
      co_return verdict->denial;
    }
    Result<bool> changed = applyPatch(webhook, request.body != nullptr ? *request.body : request.kind, verdict->patch, object);
    if (!changed) co_return changed.error();
    context.annotations["mutation.webhook.admission.k8s.io/" + place] =
        json::serialize(json::object{{"configuration", webhook.configuration}, {"webhook", webhook.name}, {"mutated", *changed}});
    if (*changed) {
      mutation.changed = true;
      mutation.due.merge(mutation.called);
      mutation.called.clear();
    }
    if (webhook.reinvocable) mutation.called.insert(&webhook);
  }
  if (object != nullptr && mutation.changed) mutation.last = *object;
  ++mutation.round;
  co_return Result<void>();
}

asio::awaitable<Result<void>> WebhookAdmission::validate(Context& context, const AdmissionRequest& request, Admitted admitted) const {
  const std::shared_ptr<const WebhookSet> set = webhooks_.load();
  std::vector<const Webhook*> concerned;
  for (const Webhook& webhook : set->validating) {
    Result<bool> chosen = selects(webhook, request, admitted);
    if (!chosen) co_return chosen.error();
    if (!*chosen) continue;
    if (context.dryRun && !webhook.safeOnDryRun) co_return dryRunRefused(webhook);
    concerned.push_back(&webhook);
  }
  if (concerned.empty()) co_return Result<void>();
  std::vector<asio::awaitable<Result<Verdict>>> calls;
  for (const Webhook* webhook : concerned) calls.push_back(ask(*webhook, false, context, request, admitted));
  // a strand: the calls end on it one after the other, wherever the caller runs
  const asio::any_io_executor executor = co_await asio::this_coro::executor;
  const auto strand = asio::make_strand(executor);
  const std::vector<Result<Verdict>> verdicts = co_await asio::co_spawn(strand, gather(std::move(calls)), asio::use_awaitable);
  for (std::size_t i = 0; i < concerned.size(); ++i) {
    const Result<Verdict>& verdict = verdicts[i];
    if (!verdict) {
      const std::string place = "round_0_index_" + std::to_string(i);
      if (Result<void> failed = failedCall(*concerned[i], verdict.error(), context, false, place); !failed) co_return failed;
      continue;
    }
    keepRemarks(*concerned[i], *verdict, context);
    if (verdict->allowed) continue;
    context.wording = verdict->wording;
    co_return verdict->denial;
  }
  co_return Result<void>();
}

}  // namespace podpass::server
