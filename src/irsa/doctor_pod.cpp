#include "irsa/doctor_pod.h"

#include <algorithm>

#include "api/kinds.h"
#include "api/patch.h"
#include "base/text.h"
#include "irsa/cluster_watch.h"
#include "irsa/doctor_webhook.h"
#include "irsa/sts_session.h"
#include "irsa/unmutated_pods.h"

namespace podpass::irsa {
namespace {

using namespace std::chrono_literals;

constexpr std::int64_t kTokenSeconds = 600;  // the shortest that an API server gives

std::string listed(const std::vector<std::string>& all) {
  std::string text;
  for (const std::string& each : all) text += (text.empty() ? "" : ", ") + quoted(each);
  return text;
}

// What the webhook would give a pod of this service account.
struct Promise {
  Method method = Method::WebIdentity;
  Injection injection = {};
  std::string value = {};  // of the pair's first variable
};

std::optional<Promise> promiseIn(const std::vector<Injection>& injections) {
  for (const Injection& injection : injections)
    for (const VariableGroup& group : injection.environment)
      for (const Variable& variable : group.variables)
        for (const Method method : {Method::WebIdentity, Method::ContainerCredentials})
          if (variable.name == pairOf(method).value) return Promise{method, injection, variable.value};
  return std::nullopt;
}

// The method that a pod was given by hand; nullopt: none.
std::optional<Method> methodOf(const json::object& pod) {
  for (const char* group : {"initContainers", "containers"})
    if (const json::array* containers = arrayAt(pod, {"spec", group}))
      for (const json::value& each : *containers)
        for (const Method method : {Method::WebIdentity, Method::ContainerCredentials})
          if (each.is_object() && (variableOf(each.get_object(), pairOf(method).value) != nullptr ||
                                   variableOf(each.get_object(), pairOf(method).tokenFile) != nullptr))
            return method;
  return std::nullopt;
}

std::string roleInPod(const json::object& pod) {
  if (const json::array* containers = arrayAt(pod, {"spec", "containers"}))
    for (const json::value& each : *containers)
      if (each.is_object())
        if (const json::object* variable = variableOf(each.get_object(), kWebIdentityPair.value))
          return std::string(textAt(*variable, {"value"}));
  return {};
}

// When somebody last wrote this annotation, as managedFields tell; empty: they do not.
std::string annotatedAt(const json::object& account, const std::string& key) {
  std::string latest;
  if (const json::array* entries = arrayAt(account, {"metadata", "managedFields"}))
    for (const json::value& each : *entries)
      if (const json::object* entry = each.if_object();
          entry != nullptr && objectAt(*entry, {"fieldsV1", "f:metadata", "f:annotations", "f:" + key}) != nullptr)
        latest = std::max(latest, std::string(textAt(*entry, {"time"})));
  return latest;
}

class Walk {
 public:
  Walk(api::Client& client, const PodCase& about, const Clock& clock)
      : client_(client),
        about_(about),
        clock_(clock),
        key_(about.settings.annotationPrefix + "/role-arn"),
        webhook_({.aws = about.settings, .warn = false}, sources_, ClusterWatch::reader(client, about.settings)) {
    out_.subject = "pod " + about.ns + "/" + about.pod;
  }

  Result<Diagnosis> run() {
    if (Result<void> found = findPod(); !found) return found.error();
    if (out_.firstBroken() != nullptr) return skipAll("annotation", "there is no such pod");
    if (Result<void> read = findAccount(); !read) return read.error();
    if (!examineAnnotation()) return skipAll("role-arn", "the pod is promised no role");
    if (Result<void> read = readAccount(); !read) return read.error();
    examineRole();
    const bool mutated = examineWebhook();
    if (mutated)
      examineSpec();
    else
      for (const char* id : {"env", "static-keys", "mount", "token"}) out_.skipped(id, "the webhook has given the pod nothing");
    examineTheToken();
    finish(mutated);
    return std::move(out_);
  }

 private:
  Result<Diagnosis> skipAll(std::string_view first, const std::string& why) {
    constexpr std::string_view kAll[] = {"annotation", "role-arn", "webhook", "env", "static-keys", "mount", "token"};
    for (const auto* each = std::find(std::begin(kAll), std::end(kAll), first); each != std::end(kAll); ++each)
      out_.skipped(std::string(*each), why);
    skipTokenChecks("claims", why, out_);
    for (const char* id : {"endpoint", "region", "identity"}) out_.skipped(id, why);
    return std::move(out_);
  }

  static bool away(const Error& error) {
    return error.reason == Reason::Unavailable || error.reason == Reason::Timeout || error.reason == Reason::Unauthorized;
  }

  // ---- the pod, and whose it is

  Result<void> findPod() {
    if (about_.manifest) {
      pod_ = *about_.manifest;
      out_.ok("pod", "the manifest " + about_.manifestFile);
    } else {
      const Result<DocumentPtr> found = client_.get(*api::findKind("", "v1", "pods"), {about_.ns, about_.pod});
      if (!found && found.error().reason == Reason::NotFound) {
        out_.broken("pod", "none of this name in the namespace " + about_.ns, found.error().sentence,
                    {"compare name and namespace; if the API server refused the pod, look at its manifest: podpass doctor pod -f FILE",
                     "kubectl -n " + shellQuoted(about_.ns) + " get pods"});
        return {};
      }
      if (!found) return forbidden(found.error(), "get pods in " + about_.ns);
      pod_ = (*found)->value;
      const std::string_view phase = textAt(pod_, {"status", "phase"});
      runs_ = phase == "Running" && textAt(pod_, {"metadata", "deletionTimestamp"}).empty();
      out_.ok("pod", phase.empty() ? "is there" : std::string(phase));
    }
    const Result<PodView> view = viewPod(pod_);
    if (!view) return Error{Reason::BadRequest, "the pod cannot be read: " + view.error().sentence};
    mend_.emplace(pod_, about_.ns, about_.manifestFile);
    account_ = textAt(pod_, {"spec", "serviceAccountName"});
    if (account_.empty()) account_ = "default";
    makeObjectAt(pod_, {"spec"})["serviceAccountName"] = account_;
    return {};
  }

  // Nothing can be looked at without the pod.
  static Error forbidden(Error error, const std::string& what) {
    if (error.reason == Reason::Forbidden) error.fix = "ask whoever administers the cluster for the right to " + what;
    return error;
  }

  Result<void> findAccount() {
    unread_ = readSources(client_, sources_, about_.settings, about_.ns, about_.webhookNamespace);
    for (const Unread& each : unread_)
      if (away(each.error)) return each.error;
    Result<DocumentPtr> account = client_.get(*api::findKind("", "v1", "serviceaccounts"), {about_.ns, account_});
    if (account) {
      object_ = *account;
      sources_.accounts.put(about_.ns, account_, accountOf(object_->value, about_.settings));
    } else if (away(account.error())) {
      return account.error();
    } else if (account.error().reason != Reason::NotFound) {
      unread_.insert(unread_.begin(), {"get serviceaccounts in " + about_.ns, account.error()});
    }
    promise_ = promiseIn(webhook_.injectionsFor(about_.ns, *viewPod(pod_)));
    method_ = promise_ ? std::optional(promise_->method) : methodOf(pod_);
    if (promise_) mend_->strip(promise_->injection.volume, {pairOf(*method_).value, pairOf(*method_).tokenFile}, givenFile());
    return {};
  }

  // ---- annotation

  bool examineAnnotation() {
    const std::string who = "service account " + about_.ns + "/" + account_;
    if (promise_ && promise_->method == Method::ContainerCredentials) {
      out_.ok("annotation", who + " has a PodIdentityAssociation");
      return true;
    }
    if (promise_) {
      const bool itsOwn = object_ && !textAt(object_->value, {"metadata", "annotations", key_}).empty();
      out_.ok("annotation", who + (itsOwn ? " has " + key_ : " is in the ConfigMap pod-identity-webhook"));
      return true;
    }
    if (!unread_.empty()) {
      out_.unknown("annotation", unread_.front().what, unread_.front().error);
      return method_.has_value();
    }
    if (method_) {
      out_.ok("annotation", who + " promises nothing; the pod brings variables of its own");
      return true;
    }
    if (!object_)
      out_.broken("annotation", who + " is not there", "the pod runs as a service account that does not exist", withoutRole());
    else
      explainAnnotation(who);
    return false;
  }

  void explainAnnotation(const std::string& who) {
    const std::string found = who + " has no annotation " + key_;
    for (const auto& [holder, object] :
         {std::pair{"service account", &object_->value}, std::pair{"pod", static_cast<const json::object*>(&pod_)}})
      if (const json::object* annotations = objectAt(*object, {"metadata", "annotations"}))
        for (const json::key_value_pair& each : *annotations) {
          const std::string_view name = each.key();
          if (!name.ends_with("/role-arn") || !each.value().is_string()) continue;
          const std::string role(each.value().get_string());
          return out_.broken(
              "annotation", found,
              std::string("the ") + holder + " has " + std::string(name) + ", but the webhook reads " + key_ + " of the service account",
              annotated(role, "annotate the service account, then create the pod again"));
        }
    for (const auto& [name, role] : sources_.accounts.entries())
      if (!role.roleArn.empty() && name.starts_with(about_.ns + "/")) {
        const std::string other = name.substr(name.find('/') + 1);
        return out_.broken("annotation", found,
                           "the pod runs as " + account_ + "; the service account " + other + " has a role (" + role.roleArn + ")",
                           mend_->again("create the pod again with spec.serviceAccountName: " + other + ", or annotate " + account_,
                                        ".spec.serviceAccountName = " + jqQuoted(other) + " | del(.spec.serviceAccount)"));
      }
    out_.broken("annotation", found, "so the webhook leaves its pods alone: \"Unable to locate credentials\"", withoutRole());
  }

  [[nodiscard]] Mend annotated(const std::string& role, const std::string& text) const {
    return mend_->again(text, {}, annotateCommand(about_.ns, account_, key_, role));
  }

  // The role whose trust policy names this service account is the one that was meant.
  [[nodiscard]] Mend withoutRole() {
    const std::string text = "annotate the service account with the role's ARN, then create the pod again";
    const Result<IamView> iam = about_.iam("");
    const std::string subject = json::serialize(json::value("system:serviceaccount:" + about_.ns + ":" + account_));
    if (iam && iam->roles && object_)
      for (const Role& role : *iam->roles)
        if (json::serialize(trustPolicyOf(role)).find(subject.substr(1, subject.size() - 2)) != std::string::npos)
          return annotated(role.arn, text + "; " + role.arn + " trusts it");
    return {text, {}};
  }

  // ---- role

  // Which role it is: the association's, the promised one, or the one that the pod was told.
  Result<void> readAccount() {
    if (*method_ == Method::WebIdentity) {
      out_.role = promise_ ? promise_->value : roleInPod(pod_);
    } else {
      Result<DocumentPtr> association = associationOf(client_, about_.ns, account_);
      if (association)
        association_ = (*association)->value;
      else if (away(association.error()))
        return association.error();
      out_.role = textAt(association_, {"spec", "roleArn"});
    }
    Result<IamView> iam = about_.iam(out_.role);
    if (!iam) return iam.error();
    iam_ = *std::move(iam);
    if (iam_.account.empty()) iam_.account = accountOfRole(out_.role);
    if (out_.role.empty() && *method_ == Method::ContainerCredentials && iam_.roles && iam_.roles->size() == 1 && iam_.aws)
      out_.role = iam_.roles->front().arn;
    return {};
  }

  // How to ask for another role, by whatever names it now.
  [[nodiscard]] Mend forRole(const std::string& arn) const {
    if (arn.empty()) return {};
    if (!association_.empty()) {
      const json::object patch{{"spec", json::object{{"roleArn", arn}}}};
      return {"correct the association's role", "kubectl -n " + shellQuoted(about_.ns) + " patch podidentityassociation " +
                                                    shellQuoted(textAt(association_, {"metadata", "name"})) + " --type=merge -p " +
                                                    shellQuoted(json::serialize(patch))};
    }
    const std::string text = "name the role " + arn + ", then create the pod again";
    if (promise_ && object_ && !textAt(object_->value, {"metadata", "annotations", key_}).empty()) return annotated(arn, text);
    return mend_->again(text, withVariable({}, kWebIdentityPair.value, arn));
  }

  void examineRole() {
    if (out_.role.empty()) return out_.skipped("role-arn", "it is not known which role the pod has");
    examineRoleArn(
        out_.role, iam_, [this](const std::string& arn) { return forRole(arn); }, out_);
  }

  // ---- webhook

  bool examineWebhook() {
    const PodView view = *viewPod(pod_);
    if (!promise_) {
      out_.skipped("webhook", "it has nothing to give to this pod");
      return true;
    }
    if (about_.manifest) return mutateManifest(view);
    if (hasVolume(view, promise_->injection)) {
      out_.ok("webhook", "gave the pod the volume " + quoted(promise_->injection.volume));
      return true;
    }
    const std::string found = "the pod was created without the volume " + quoted(promise_->injection.volume);
    if (view.labels != nullptr && view.labels->contains(kOptOut)) {
      out_.broken("webhook", found, "the pod's label " + std::string(kOptOut) + " keeps the webhook away",
                  mend_->again("create the pod again without the label", "del(.metadata.labels[" + jqQuoted(kOptOut) + "])"));
      return false;
    }
    const std::string annotated = object_ ? annotatedAt(object_->value, key_) : "",
                      created(textAt(pod_, {"metadata", "creationTimestamp"}));
    if (!annotated.empty() && annotated > created) {
      out_.broken("webhook", found,
                  "the pod was created at " + created + ", the service account annotated at " + annotated +
                      ": pods are changed when they are created, not later",
                  mend_->again("create the pod again"));
      return false;
    }
    const std::optional<std::string> trouble = webhookTrouble(client_, about_.webhookConfiguration);
    out_.broken("webhook", found,
                trouble ? *trouble
                        : "the webhook was not asked, or did not answer, when the pod was created; it answers now. With failurePolicy "
                          "Ignore such a pod starts without credentials",
                mend_->again(trouble ? "start the webhook, and create the pod again" : "create the pod again"));
    return false;
  }

  // What would become of a manifest: the webhook's own patch is applied here.
  bool mutateManifest(const PodView& view) {
    const PodPatch patch = podPatch(view, {&promise_->injection, 1});
    Result<json::object> changed = api::applyJsonPatch(pod_, json::parse(patch.json));
    if (!changed) {
      out_.broken("webhook", about_.manifestFile, changed.error().sentence, {"correct the manifest", {}});
      return false;
    }
    pod_ = *std::move(changed);
    out_.ok("webhook", "would give the pod the volume " + quoted(promise_->injection.volume));
    return true;
  }

  // ---- the pod's own spec

  void examineSpec() {
    std::vector<std::string> skipped = promise_ ? promise_->injection.skipContainers : std::vector<std::string>();
    const PodSpec spec = podSpec(skipped);
    const std::size_t before = out_.checks.size();
    place_ = examineContainers(spec, out_);
    Diagnosis keys{};
    examineStaticKeys(
        spec, [this](std::string_view plural, const std::string& name) { return keysOf(plural, name); }, keys);
    out_.checks.insert(out_.checks.begin() + static_cast<std::ptrdiff_t>(before) + 1, keys.checks.front());
    if (place_)
      readToken();
    else
      out_.skipped("token", "there is no token file to read");
  }

  // Where the webhook puts the token.
  [[nodiscard]] std::string givenFile() const {
    return promise_ ? joinPath(promise_->injection.mountPath, promise_->injection.tokenPath) : joinPath(about_.settings.mountPath, "token");
  }

  [[nodiscard]] PodSpec podSpec(std::vector<std::string> skipped) const {
    return {pod_, *method_, about_.container, promise_ ? promise_->value : std::string(), givenFile(), std::move(skipped), *mend_};
  }

  Result<std::vector<std::string>> keysOf(std::string_view plural, const std::string& name) {
    const Result<DocumentPtr> object = client_.get(*api::findKind("", "v1", plural), {about_.ns, name});
    if (!object) return object.error();
    std::vector<std::string> keys;
    if (const json::object* data = objectAt((*object)->value, {"data"}))
      for (const json::key_value_pair& each : *data) keys.emplace_back(each.key());
    return keys;
  }

  void readToken() {
    if (about_.manifest) return out_.skipped("token", "a manifest has no token yet");
    std::string why = "the pod does not run";
    if (runs_) {
      FileRead read = about_.readFile(place_->container, place_->path);
      if (read.outcome == FileRead::Outcome::Read) {
        token_ = std::move(read.text);
        return out_.ok("token", "read from " + place_->path + " in container " + place_->container);
      }
      if (read.outcome != FileRead::Outcome::Unknown)
        return out_.broken("token", place_->path + " in container " + place_->container, read.why,
                           read.outcome == FileRead::Outcome::Denied
                               ? mend_->again("give the pod a group that may read its volumes", ".spec.securityContext.fsGroup = 65534")
                               : mend_->again("create the pod again, so that the webhook mounts the token where the variable says"));
      why = read.why;
    }
    askForToken(why);
  }

  // The kubelet would ask for the same; only the file itself is not seen then.
  void askForToken(const std::string& why) {
    const json::object reference{{"apiVersion", "v1"}, {"kind", "Pod"}, {"name", about_.pod}, {"uid", textAt(pod_, {"metadata", "uid"})}};
    json::object spec{{"expirationSeconds", kTokenSeconds}, {"boundObjectRef", reference}};
    if (!place_->audience.empty()) spec["audiences"] = json::array{place_->audience};
    const Result<json::object> made =
        client_.createSubresource(api::serviceAccountKind(), {about_.ns, account_}, "token",
                                  {{"apiVersion", "authentication.k8s.io/v1"}, {"kind", "TokenRequest"}, {"spec", std::move(spec)}});
    Check check{"token", Finding::Unknown, {}, "the file " + place_->path + " could not be read: " + why, {}};
    if (made) {
      token_ = textAt(*made, {"status", "token"});
      check.why += "; the checks below are of a token that was asked for as the kubelet does";
    } else {
      check.why += "; nor may a token like the kubelet's be asked for: " + made.error().sentence;
      check.mend.text =
          "ask whoever administers the cluster for the right to get and create pods/exec, or to create serviceaccounts/token, in " +
          about_.ns;
    }
    out_.checks.push_back(std::move(check));
  }

  // ---- the token

  [[nodiscard]] TokenSource source() const {
    TokenSource source;
    source.subject = "system:serviceaccount:" + about_.ns + ":" + account_;
    source.podUid = textAt(pod_, {"metadata", "uid"});
    source.another = mend_->again("create the pod again");
    source.forRole = [this](const std::string& arn) { return forRole(arn); };
    source.forAudience = [this](const std::string& audience) { return forAudience(audience); };
    return source;
  }

  [[nodiscard]] Mend forAudience(const std::string& audience) const {
    const std::string key = about_.settings.annotationPrefix + "/audience",
                      text = "let the pod ask for a token for " + quoted(audience) + ", or add its audience to the provider's client ids";
    if (promise_ && object_ && objectAt(object_->value, {"metadata", "annotations"}) != nullptr &&
        objectAt(object_->value, {"metadata", "annotations"})->contains(key))
      return mend_->again(text, {}, annotateCommand(about_.ns, account_, key, audience == about_.settings.audience ? "" : audience));
    return mend_->again(text,
                        "(.spec.volumes[]? | select(.name == " + jqQuoted(place_->volume) +
                            ").projected.sources[] | select(.serviceAccountToken).serviceAccountToken.audience) = " + jqQuoted(audience));
  }

  void examineTheToken() {
    if (token_.empty())
      return skipTokenChecks("claims", "there is no token to look at; `podpass doctor token FILE --role ARN` looks at one", out_);
    if (*method_ == Method::ContainerCredentials) return examineForEksAuth();
    std::string issuer;
    if (const Result<token::PresentedToken> parsed = token::parseToken(token_)) issuer = parsed->issuer;
    const Result<std::string> ca = about_.issuerCa(issuer);
    examineToken(token_, {out_.role, iam_, source(), ca ? *ca : std::string(), clock_}, out_);
  }

  // EKS Auth does not fetch the issuer's documents: the cluster itself says whether the token is good.
  void examineForEksAuth() {
    const std::string why = "EKS Pod Identity asks the cluster about the token, not the issuer's documents";
    const Result<token::PresentedToken> parsed = token::parseToken(token_);
    if (!parsed) {
      out_.broken("claims", "no token that can be read", parsed.error().sentence, mend_->again("create the pod again"));
      return skipTokenChecks("time", "the token cannot be read", out_);
    }
    out_.ok("claims", "sub " + quoted(parsed->subject) + ", aud " + listed(parsed->audiences));
    token::TrustedIssuer any;
    any.url = parsed->issuer;
    any.algorithms = {parsed->jws.alg};
    if (const Result<void> good = token::checkClaims(*parsed, any, clock_.now()); !good)
      out_.broken("time", "expires " + rfc3339(WallTime(std::chrono::seconds(parsed->expires))), good.error().sentence,
                  mend_->again("read the file anew at each use, or create the pod again"));
    else
      out_.ok("time", "expires " + rfc3339(WallTime(std::chrono::seconds(parsed->expires))));
    for (const char* id : {"issuer", "clock", "discovery", "jwks", "kid"}) out_.skipped(id, why);
    reviewToken();
    out_.skipped("provider", why);
    const bool forAgent = std::find(parsed->audiences.begin(), parsed->audiences.end(), kPodAudience) != parsed->audiences.end();
    if (forAgent)
      out_.ok("audience", listed(parsed->audiences));
    else
      out_.broken("audience", listed(parsed->audiences), std::string("the agent takes tokens for ") + kPodAudience + " only",
                  forAudience(kPodAudience));
    trustForEksAuth();
  }

  void reviewToken() {
    json::object review{{"spec", json::object{{"token", token_}, {"audiences", json::array{kPodAudience}}}}};
    const Result<DocumentPtr> reviewed = client_.create(api::tokenReviewKind(), "", std::move(review));
    if (!reviewed) return out_.unknown("signature", "create tokenreviews.authentication.k8s.io", reviewed.error());
    if (booleanAt((*reviewed)->value, {"status", "authenticated"}))
      return out_.ok("signature",
                     "the cluster knows the token as " + std::string(textAt((*reviewed)->value, {"status", "user", "username"})));
    out_.broken("signature", "the cluster refuses the token", std::string(textAt((*reviewed)->value, {"status", "error"})),
                mend_->again("create the pod again"));
  }

  void trustForEksAuth() {
    if (out_.role.empty() || checkRoleArn(out_.role)) {
      out_.skipped("role", "it is not known which role the pod has");
      return out_.skipped("trust-policy", "there is no role");
    }
    EksCluster cluster = about_.cluster;
    cluster.account = iam_.account;
    json::object association = association_;
    makeObjectAt(association, {"spec"})["roleArn"] = out_.role;
    const AssumeRequest assume =
        podIdentityRequest(association, {about_.ns, account_, about_.pod, std::string(textAt(pod_, {"metadata", "uid"}))}, cluster);
    const TrustRequest trust = podIdentityTrust(assume, requestKeys(assume, clock_.now()), cluster);
    examineTrust(
        out_.role, trust, iam_, [this](const std::string& arn) { return forRole(arn); }, out_);
  }

  void finish(bool mutated) {
    if (mutated) {
      examineEndpoint(podSpec({}), iam_.aws, about_.sts, out_);
    } else {
      out_.skipped("endpoint", "the webhook has given the pod nothing");
      out_.skipped("region", "the webhook has given the pod nothing");
    }
    const Check* token = out_.find("token");
    // a token that was asked for in the kubelet's place is as good for this as the file's
    concludeIdentity(out_, token != nullptr && token->finding == Finding::Unknown && !token_.empty() ? "token" : "");
  }

  api::Client& client_;
  const PodCase& about_;
  const Clock& clock_;
  const std::string key_;  // of the annotation
  WebhookSources sources_;
  Webhook webhook_;
  Diagnosis out_;
  json::object pod_;
  bool runs_ = false;
  std::string account_;
  DocumentPtr object_;  // the service account; null: not there, or not to be read
  std::vector<Unread> unread_;
  std::optional<Promise> promise_;
  std::optional<Method> method_;
  json::object association_;
  IamView iam_;
  std::optional<PodMend> mend_;
  std::optional<TokenPlace> place_;
  std::string token_;
};

}  // namespace

Result<Diagnosis> examinePod(api::Client& client, const PodCase& about, const Clock& clock) { return Walk(client, about, clock).run(); }

}  // namespace podpass::irsa
