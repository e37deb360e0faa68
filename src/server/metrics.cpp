#include "server/metrics.h"

#include <sys/resource.h>
#include <unistd.h>

#include <bit>
#include <cstdio>

#include "base/file.h"

namespace podpass::server {
namespace {

// The bounds that kube-apiserver has, in seconds.
constexpr std::array<double, 24> kBounds = {0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2,
                                            3,     4,     5,    6,   8,   10,  15,  20,  30,  45,   60,  120};
constexpr std::array<std::string_view, 9> kVerbs = {"get",    "list", "watch", "create", "update", "patch", "delete", "deletecollection",
                                                    "connect"};
constexpr std::array<std::string_view, 9> kShownVerbs = {"GET",    "LIST", "WATCH", "POST", "PUT", "PATCH", "DELETE", "DELETECOLLECTION",
                                                         "CONNECT"};
constexpr std::array<int, 19> kCodes = {200, 201, 304, 400, 401, 403, 404, 405, 406, 409,
                                        410, 413, 415, 422, 429, 500, 503, 504, 0};  // 0: others

std::size_t verbOf(std::string_view verb) {
  const auto found = std::find(kVerbs.begin(), kVerbs.end(), verb);
  return static_cast<std::size_t>(found == kVerbs.end() ? 0 : found - kVerbs.begin());
}
std::size_t codeOf(int code) {
  const auto found = std::find(kCodes.begin(), kCodes.end(), code);
  return static_cast<std::size_t>((found == kCodes.end() ? kCodes.end() - 1 : found) - kCodes.begin());
}
// As kube-apiserver shortens them, so that no user makes a series.
constexpr std::array<std::string_view, 7> kUsers = {
    "admin", "client", "kube_proxy", "kubelet", "system:serviceaccount:kube-system:default", "email_id", "other"};
std::size_t userOf(std::string_view name) {
  const auto found = std::find(kUsers.begin(), kUsers.end() - 2, name);
  if (found != kUsers.end() - 2) return static_cast<std::size_t>(found - kUsers.begin());
  return kUsers.size() - (name.find('@') != std::string_view::npos ? 2 : 1);
}
std::string number(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.9g", value);
  return text.data();
}
void head(std::string& out, std::string_view name, std::string_view type, std::string_view help) {
  out.append("# HELP ").append(name).append(" ").append(help).append("\n# TYPE ").append(name).append(" ").append(type).append("\n");
}
void single(std::string& out, std::string_view name, std::string_view type, std::string_view help, double value) {
  head(out, name, type, help);
  out.append(name).append(" ").append(number(value)).append("\n");
}

double residentBytes() {
  const Result<std::string> text = readFile("/proc/self/statm");
  unsigned long long size = 0, resident = 0;
  if (!text || std::sscanf(text->c_str(), "%llu %llu", &size, &resident) != 2) return 0;
  return static_cast<double>(resident) * static_cast<double>(::sysconf(_SC_PAGESIZE));
}
double cpuSeconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) { return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

}  // namespace

struct Metrics::Series {
  std::string labels;  // without code: `verb="GET",…`
  bool isResource = true;
  std::array<std::atomic<std::uint64_t>, kCodes.size()> codes{};
  std::array<std::atomic<std::uint64_t>, kBounds.size() + 1> buckets{};  // each its own, summed when shown
  std::atomic<std::uint64_t> nanoseconds = 0;
  std::atomic<std::int64_t> running = 0;
};

Metrics::Metrics()
    : series_([] {
        std::size_t count = kVerbs.size();  // what is no resource comes first
        for (const api::Kind* kind : api::allKinds()) count += kVerbs.size() * (1 + kind->subresources.size());
        return count;
      }()) {
  std::size_t next = kVerbs.size();
  for (const api::Kind* kind : api::allKinds()) {
    firstOf_[kind] = next;
    next += kVerbs.size() * (1 + kind->subresources.size());
  }
}

Metrics::~Metrics() {
  for (const std::atomic<Series*>& each : series_) delete each.load();
}

Metrics::Series& Metrics::seriesOf(const RequestInfo& info) {
  const auto first = info.kind != nullptr ? firstOf_.find(info.kind) : firstOf_.end();
  std::size_t place = 0;
  std::string_view subresource;
  if (first != firstOf_.end()) {
    place = first->second;
    for (const api::Subresource& each : info.kind->subresources) {
      if (info.subresource.empty()) break;
      place += kVerbs.size();
      if (each.name != info.subresource) continue;
      subresource = each.name;
      break;
    }
    if (subresource.empty()) place = first->second;  // none, or one that the kind does not have
  }
  const std::size_t verb = verbOf(info.verb);
  std::atomic<Series*>& slot = series_[place + verb];
  if (Series* found = slot.load(std::memory_order_acquire)) return *found;
  auto made = std::make_unique<Series>();
  made->isResource = first != firstOf_.end();
  const api::Kind* kind = made->isResource ? info.kind : nullptr;
  const auto add = [&](std::string_view name, std::string_view value) {
    made->labels.append(made->labels.empty() ? "" : ",").append(name).append("=\"").append(value).append("\"");
  };
  add("component", "apiserver");
  add("group", kind != nullptr ? kind->group : "");
  add("resource", kind != nullptr ? kind->plural : "");
  add("subresource", subresource);
  add("verb", kShownVerbs[verb]);
  add("version", kind != nullptr ? kind->version : "");
  Series* expected = nullptr;
  if (slot.compare_exchange_strong(expected, made.get(), std::memory_order_acq_rel)) return *made.release();
  return *expected;
}

void Metrics::count(const RequestInfo& info, int code, std::chrono::nanoseconds took, bool isStream) {
  constexpr auto relaxed = std::memory_order_relaxed;
  Series& series = seriesOf(info);
  series.codes[codeOf(code)].fetch_add(1, relaxed);
  if (isStream) return;
  const double seconds = std::chrono::duration<double>(took).count();
  const std::size_t bucket = static_cast<std::size_t>(std::lower_bound(kBounds.begin(), kBounds.end(), seconds) - kBounds.begin());
  series.buckets[bucket].fetch_add(1, relaxed);
  series.nanoseconds.fetch_add(static_cast<std::uint64_t>(took.count()), relaxed);
}

void Metrics::countAuthentication(Attempt attempt, std::chrono::nanoseconds took, std::string_view user) {
  constexpr auto relaxed = std::memory_order_relaxed;
  Authentications& counted = authentications_[static_cast<std::size_t>(attempt)];
  const std::uint64_t milliseconds = static_cast<std::uint64_t>(std::chrono::ceil<std::chrono::milliseconds>(took).count());
  const std::size_t bucket = milliseconds <= 1 ? 0 : static_cast<std::size_t>(std::bit_width(milliseconds - 1));
  counted.buckets[std::min(bucket, counted.buckets.size() - 1)].fetch_add(1, relaxed);
  counted.nanoseconds.fetch_add(static_cast<std::uint64_t>(took.count()), relaxed);
  if (!user.empty()) users_[userOf(user)].fetch_add(1, relaxed);
}

std::shared_ptr<void> Metrics::longRunning(const RequestInfo& info) {
  Series& series = seriesOf(info);
  series.running.fetch_add(1, std::memory_order_relaxed);
  return std::shared_ptr<void>(&series,
                               [](void* counted) { static_cast<Series*>(counted)->running.fetch_sub(1, std::memory_order_relaxed); });
}

std::string Metrics::text(const token::TokenUses& uses, const Store& store, std::uint64_t auditDropped,
                          const token::Inventory* inventory) const {
  std::vector<const Series*> live;
  for (const std::atomic<Series*>& each : series_)
    if (const Series* found = each.load(std::memory_order_acquire)) live.push_back(found);
  std::string out;
  head(out, "apiserver_request_total", "counter", "Requests by group, version, resource, verb and HTTP code.");
  for (const Series* each : live)
    for (std::size_t i = 0; i < kCodes.size(); ++i)
      if (const std::uint64_t count = each->codes[i].load(); count != 0)
        out += "apiserver_request_total{code=\"" + (kCodes[i] != 0 ? std::to_string(kCodes[i]) : "other") + "\"," + each->labels + "} " +
               std::to_string(count) + "\n";
  head(out, "apiserver_request_duration_seconds", "histogram", "Time from the request's last byte to its answer, in seconds.");
  for (const Series* each : live) {
    std::uint64_t sum = 0;
    std::string lines;
    for (std::size_t i = 0; i <= kBounds.size(); ++i) {
      sum += each->buckets[i].load();
      lines += "apiserver_request_duration_seconds_bucket{" + each->labels + ",le=\"" + (i < kBounds.size() ? number(kBounds[i]) : "+Inf") +
               "\"} " + std::to_string(sum) + "\n";
    }
    if (sum == 0) continue;
    out += lines + "apiserver_request_duration_seconds_sum{" + each->labels + "} " +
           number(static_cast<double>(each->nanoseconds.load()) / 1e9) + "\n";
    out += "apiserver_request_duration_seconds_count{" + each->labels + "} " + std::to_string(sum) + "\n";
  }
  head(out, "apiserver_longrunning_requests", "gauge", "Watches and other streams that are open.");
  for (const Series* each : live)
    if (const std::int64_t running = each->running.load(); running != 0)
      out += "apiserver_longrunning_requests{" + each->labels + "} " + std::to_string(running) + "\n";
  head(out, "authentication_attempts", "counter", "Authentications by their result.");
  constexpr std::array<std::string_view, 3> kResults = {"success", "failure", "error"};
  std::string durations;
  for (std::size_t i = 0; i < kResults.size(); ++i) {
    const std::string result = "result=\"" + std::string(kResults[i]) + "\"";
    const std::size_t last = authentications_[i].buckets.size() - 1;
    std::uint64_t sum = 0;
    for (std::size_t at = 0; at <= last; ++at) {  // 1 ms, 2 ms, 4 ms, … as kube-apiserver's
      sum += authentications_[i].buckets[at].load();
      durations += "authentication_duration_seconds_bucket{" + result + ",le=\"" +
                   (at < last ? number(0.001 * static_cast<double>(1u << at)) : "+Inf") + "\"} " + std::to_string(sum) + "\n";
    }
    durations += "authentication_duration_seconds_sum{" + result + "} " +
                 number(static_cast<double>(authentications_[i].nanoseconds.load()) / 1e9) + "\n";
    durations += "authentication_duration_seconds_count{" + result + "} " + std::to_string(sum) + "\n";
    out += "authentication_attempts{" + result + "} " + std::to_string(sum) + "\n";
  }
  head(out, "authentication_duration_seconds", "histogram", "Time to find out who sent a request, in seconds.");
  out += durations;
  head(out, "authenticated_user_requests", "counter", "Requests by user, as far as the user is one of the well-known.");
  for (std::size_t i = 0; i < kUsers.size(); ++i)
    if (const std::uint64_t count = users_[i].load(); count != 0)
      out += "authenticated_user_requests{username=\"" + std::string(kUsers[i]) + "\"} " + std::to_string(count) + "\n";
  head(out, "authentication_token_cache_request_total", "counter", "Tokens that had been proven a moment ago (hit), and others.");
  std::uint64_t unproven = 0;
  for (const token::TokenCheck check :
       {token::TokenCheck::Form, token::TokenCheck::Issuer, token::TokenCheck::KeyId, token::TokenCheck::Signature})
    unproven += uses.refused[static_cast<std::size_t>(check)].load();
  out += "authentication_token_cache_request_total{status=\"hit\"} " + std::to_string(uses.known.load()) + "\n";
  out += "authentication_token_cache_request_total{status=\"miss\"} " + std::to_string(uses.proven.load() + unproven) + "\n";
  head(out, "authentication_token_cache_fetch_total", "counter", "Tokens whose form, issuer and signature were checked, by the result.");
  out += "authentication_token_cache_fetch_total{status=\"ok\"} " + std::to_string(uses.proven.load()) + "\n";
  out += "authentication_token_cache_fetch_total{status=\"error\"} " + std::to_string(unproven) + "\n";
  head(out, "podpass_token_refusals_total", "counter", "Service account tokens that were refused, by the check that failed.");
  for (std::size_t i = 0; i < token::kTokenChecks; ++i)
    out += "podpass_token_refusals_total{check=\"" + std::string(token::nameOf(static_cast<token::TokenCheck>(i))) + "\"} " +
           std::to_string(uses.refused[i].load()) + "\n";
  const auto counter = [&](std::string_view name, std::string_view help, const std::atomic<std::uint64_t>& value) {
    single(out, name, "counter", help, static_cast<double>(value.load()));
  };
  counter("serviceaccount_valid_tokens_total", "Bound tokens used in time.", uses.valid);
  counter("serviceaccount_stale_tokens_total", "Bound tokens used after they should have been renewed.", uses.stale);
  counter("serviceaccount_legacy_tokens_total", "Tokens without an audience.", uses.withoutAudience);
  counter("serviceaccount_legacy_manual_token_uses_total", "Uses of tokens of Secrets made by hand.", uses.manual);
  counter("serviceaccount_legacy_auto_token_uses_total", "Uses of tokens of Secrets made for their service account.", uses.autoGenerated);
  counter("serviceaccount_invalid_legacy_auto_token_uses_total", "Uses of tokens that the cleaner had marked invalid.", uses.invalidated);
  single(out, "apiserver_audit_events_dropped_total", "counter", "Audit events that the disk did not take.",
         static_cast<double>(auditDropped));
  if (inventory != nullptr) {
    single(out, "podpass_issued_tokens", "gauge", "Tokens in the inventory.", static_cast<double>(inventory->size()));
    single(out, "podpass_issued_tokens_unlisted_total", "counter", "Live tokens that the inventory had no room for.",
           static_cast<double>(inventory->unlisted()));
  }
  single(out, "podpass_store_revision", "gauge", "Revision of the store.", static_cast<double>(store.revision()));
  head(out, "apiserver_storage_objects", "gauge", "Stored objects by resource.");
  for (const api::Kind* kind : api::allKinds()) {
    if (kind->isVirtual) continue;
    const std::string resource = kind->qualifiedPlural();
    const Result<Page> page = store.range("/registry/" + resource + "/", "", 1, 0);  // one entry and the number of the others
    if (page && !page->entries.empty())
      out += "apiserver_storage_objects{resource=\"" + resource + "\"} " + std::to_string(page->remaining + 1) + "\n";
  }
  single(out, "process_start_time_seconds", "gauge", "Start of the process, seconds since the epoch.",
         std::chrono::duration<double>(started_.time_since_epoch()).count());
  single(out, "process_cpu_seconds_total", "counter", "User and system CPU time.", cpuSeconds());
  single(out, "process_resident_memory_bytes", "gauge", "Resident memory.", residentBytes());
  return out;
}

}  // namespace podpass::server
