#include "node/runtime.h"

#include <cri.grpc.pb.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>

#include "node/containerd.h"

namespace podpass::node {

namespace cri = ::runtime::v1;
using namespace std::chrono_literals;

namespace {

constexpr std::chrono::minutes kUsual{2}, kSandbox{4}, kPull{15};
constexpr int kLargestMessage = 16 << 20;
constexpr const char* kOwner = "podpass.dev/owner";  // label

const char* codeName(grpc::StatusCode code) {
  switch (code) {
    case grpc::StatusCode::INVALID_ARGUMENT:
      return "InvalidArgument";
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return "DeadlineExceeded";
    case grpc::StatusCode::NOT_FOUND:
      return "NotFound";
    case grpc::StatusCode::ALREADY_EXISTS:
      return "AlreadyExists";
    case grpc::StatusCode::PERMISSION_DENIED:
      return "PermissionDenied";
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return "ResourceExhausted";
    case grpc::StatusCode::FAILED_PRECONDITION:
      return "FailedPrecondition";
    case grpc::StatusCode::UNIMPLEMENTED:
      return "Unimplemented";
    case grpc::StatusCode::UNAVAILABLE:
      return "Unavailable";
    case grpc::StatusCode::CANCELLED:
      return "Canceled";
    case grpc::StatusCode::INTERNAL:
      return "Internal";
    default:
      return "Unknown";
  }
}

Reason reasonOf(grpc::StatusCode code) {
  switch (code) {
    case grpc::StatusCode::NOT_FOUND:
      return Reason::NotFound;
    case grpc::StatusCode::ALREADY_EXISTS:
      return Reason::AlreadyExists;
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return Reason::Timeout;
    case grpc::StatusCode::UNAVAILABLE:
    case grpc::StatusCode::CANCELLED:
      return Reason::Unavailable;
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return Reason::TooManyRequests;
    default:
      return Reason::Internal;
  }
}

Error errorOf(const grpc::Status& status) {
  return Error{reasonOf(status.error_code()),
               std::string("rpc error: code = ") + codeName(status.error_code()) + " desc = " + status.error_message()};
}

template <class Map>
std::string valueOf(const Map& map, const char* key) {
  const auto found = map.find(key);
  return found == map.end() ? std::string() : std::string(found->second);
}

Sandbox sandboxOf(const cri::PodSandbox& from) {
  return {from.id(),
          from.metadata().uid(),
          from.metadata().name(),
          from.metadata().namespace_(),
          from.metadata().attempt(),
          from.state() == cri::SANDBOX_READY,
          from.created_at()};
}

Container containerOf(const cri::Container& listed, const cri::ContainerStatus& status) {
  Container container;
  container.id = listed.id();
  container.sandbox = listed.pod_sandbox_id();
  container.podUid = valueOf(listed.labels(), "io.kubernetes.pod.uid");
  container.name = valueOf(listed.labels(), "io.kubernetes.container.name");
  switch (status.state()) {
    case cri::CONTAINER_CREATED:
      container.state = Container::State::Created;
      break;
    case cri::CONTAINER_RUNNING:
      container.state = Container::State::Running;
      break;
    case cri::CONTAINER_EXITED:
      container.state = Container::State::Exited;
      break;
    default:
      container.state = Container::State::Unknown;
  }
  container.createdAt = status.created_at();
  container.startedAt = status.started_at();
  container.finishedAt = status.finished_at();
  container.exitCode = status.exit_code();
  container.reason = status.reason();
  container.message = status.message();
  container.image = status.image().image();
  container.imageRef = status.image_ref();
  container.logPath = status.log_path();
  container.restartCount = listed.metadata().attempt();
  container.hash = valueOf(listed.annotations(), "io.kubernetes.container.hash");
  container.terminationMessage = valueOf(listed.annotations(), "podpass.dev/termination-message");
  return container;
}

}  // namespace

struct Runtime::Parts {
  Parts(const std::string& socket, std::string ownedBy) : owner(std::move(ownedBy)) {
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(kLargestMessage);
    arguments.SetString(GRPC_ARG_DEFAULT_AUTHORITY, "localhost");
    arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
    arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
    arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 5000);  // the time that one attempt has
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    channel = grpc::CreateCustomChannel("unix:" + socket, grpc::InsecureChannelCredentials(), arguments);
    service = cri::RuntimeService::NewStub(channel);
    images = cri::ImageService::NewStub(channel);
  }

  // One unary call; `method` is a member of the stub.
  template <class Stub, class Request, class Response>
  Result<Response> call(Stub& stub, grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*), const Request& request,
                        std::chrono::milliseconds within = kUsual) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + within);
    {
      std::lock_guard lock(mutex);
      if (cancelled) return Error{Reason::Unavailable, "the node agent is stopping"};
      running.insert(&context);
    }
    Response response;
    const grpc::Status status = (stub.*method)(&context, request, &response);
    {
      std::lock_guard lock(mutex);
      running.erase(&context);
    }
    if (!status.ok()) return errorOf(status);
    return response;
  }

  // What is ours on the node, or of one pod of ours.
  template <class Request>
  Request listing(const std::string& podUid) const {
    Request request;
    auto& labels = *request.mutable_filter()->mutable_label_selector();
    labels[kOwner] = owner;
    if (!podUid.empty()) labels["io.kubernetes.pod.uid"] = podUid;
    return request;
  }

  std::string owner;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<cri::RuntimeService::Stub> service;
  std::unique_ptr<cri::ImageService::Stub> images;
  std::mutex mutex;
  bool cancelled = false;
  std::set<grpc::ClientContext*> running;
};

namespace {

Result<void> done(const Result<cri::Empty>& result, bool missingIsFine = false) {
  if (result || (missingIsFine && result.error().reason == Reason::NotFound)) return {};
  return result.error();
}

}  // namespace

Runtime::Runtime(const std::string& socket, std::string owner) : parts_(std::make_unique<Parts>(socket, std::move(owner))) {}
Runtime::~Runtime() = default;

void Runtime::cancel() {
  std::lock_guard lock(parts_->mutex);
  parts_->cancelled = true;
  for (grpc::ClientContext* context : parts_->running) context->TryCancel();
}

using Service = cri::RuntimeService::Stub;
using ImageStub = cri::ImageService::Stub;

Result<std::string> Runtime::version() {
  const auto answer = parts_->call(*parts_->service, &Service::Version, cri::VersionRequest(), 5s);
  if (!answer) return answer.error();
  return answer->runtime_name() + "://" + answer->runtime_version();
}

Result<void> Runtime::ready() {
  const auto answer = parts_->call(*parts_->service, &Service::Status, cri::StatusRequest(), 5s);
  if (!answer) return Error{answer.error().reason, "container runtime is down: " + answer.error().sentence};
  for (const cri::RuntimeCondition& condition : answer->status().conditions()) {
    if (condition.status()) continue;
    const bool network = condition.type() == "NetworkReady";
    if (!network && condition.type() != "RuntimeReady") continue;
    return Error{Reason::Unavailable, std::string(network ? "container runtime network not ready: NetworkReady=false"
                                                          : "container runtime not ready: RuntimeReady=false") +
                                          " reason:" + condition.reason() + " message:" + condition.message()};
  }
  return {};
}

Result<std::vector<Sandbox>> Runtime::sandboxes(const std::string& podUid) {
  const auto request = parts_->listing<cri::ListPodSandboxRequest>(podUid);
  const auto answer = parts_->call(*parts_->service, &Service::ListPodSandbox, request, 30s);
  if (!answer) return answer.error();
  std::vector<Sandbox> found;
  for (const cri::PodSandbox& item : answer->items()) found.push_back(sandboxOf(item));
  std::sort(found.begin(), found.end(), [](const Sandbox& a, const Sandbox& b) { return a.createdAt > b.createdAt; });
  return found;
}

Result<std::vector<Container>> Runtime::containers(const std::string& podUid) {
  const auto request = parts_->listing<cri::ListContainersRequest>(podUid);
  const auto answer = parts_->call(*parts_->service, &Service::ListContainers, request, 30s);
  if (!answer) return answer.error();
  std::vector<Container> found;
  for (const cri::Container& item : answer->containers()) {
    cri::ContainerStatusRequest ask;
    ask.set_container_id(item.id());
    const auto status = parts_->call(*parts_->service, &Service::ContainerStatus, ask, 30s);
    if (!status && status.error().reason == Reason::NotFound) continue;  // removed meanwhile
    if (!status) return status.error();
    found.push_back(containerOf(item, status->status()));
  }
  std::sort(found.begin(), found.end(), [](const Container& a, const Container& b) { return a.createdAt > b.createdAt; });
  return found;
}

Result<std::map<std::string, std::string>> Runtime::fingerprints() {
  const auto sandboxes = parts_->call(*parts_->service, &Service::ListPodSandbox, parts_->listing<cri::ListPodSandboxRequest>(""), 10s);
  if (!sandboxes) return sandboxes.error();
  const auto containers = parts_->call(*parts_->service, &Service::ListContainers, parts_->listing<cri::ListContainersRequest>(""), 10s);
  if (!containers) return containers.error();
  std::map<std::string, std::vector<std::string>> parts;  // sorted: the runtime lists in no order
  for (const cri::PodSandbox& each : sandboxes->items())
    parts[each.metadata().uid()].push_back(each.id() + std::to_string(static_cast<int>(each.state())));
  for (const cri::Container& each : containers->containers())
    parts[valueOf(each.labels(), "io.kubernetes.pod.uid")].push_back(each.id() + std::to_string(static_cast<int>(each.state())));
  std::map<std::string, std::string> prints;
  for (auto& [uid, texts] : parts) {
    std::sort(texts.begin(), texts.end());
    for (const std::string& text : texts) prints[uid] += text;
  }
  return prints;
}

Result<std::vector<std::string>> Runtime::sandboxIps(const std::string& id) {
  cri::PodSandboxStatusRequest request;
  request.set_pod_sandbox_id(id);
  const auto answer = parts_->call(*parts_->service, &Service::PodSandboxStatus, request, 30s);
  if (!answer) return answer.error();
  std::vector<std::string> ips;
  if (!answer->status().network().ip().empty()) ips.push_back(answer->status().network().ip());
  for (const cri::PodIP& more : answer->status().network().additional_ips()) ips.push_back(more.ip());
  return ips;
}

Result<std::string> Runtime::runSandbox(const cri::PodSandboxConfig& config, const std::string& handler) {
  cri::RunPodSandboxRequest request;
  *request.mutable_config() = config;
  (*request.mutable_config()->mutable_labels())[kOwner] = parts_->owner;
  request.set_runtime_handler(handler);
  const auto answer = parts_->call(*parts_->service, &Service::RunPodSandbox, request, kSandbox);
  if (!answer) return answer.error();
  return answer->pod_sandbox_id();
}

Result<void> Runtime::stopSandbox(const std::string& id) {
  cri::StopPodSandboxRequest request;
  request.set_pod_sandbox_id(id);
  return done(parts_->call(*parts_->service, &Service::StopPodSandbox, request), true);
}

Result<void> Runtime::removeSandbox(const std::string& id) {
  cri::RemovePodSandboxRequest request;
  request.set_pod_sandbox_id(id);
  return done(parts_->call(*parts_->service, &Service::RemovePodSandbox, request), true);
}

Result<std::string> Runtime::createContainer(const std::string& sandbox, const cri::ContainerConfig& config,
                                             const cri::PodSandboxConfig& sandboxConfig) {
  cri::CreateContainerRequest request;
  request.set_pod_sandbox_id(sandbox);
  *request.mutable_config() = config;
  (*request.mutable_config()->mutable_labels())[kOwner] = parts_->owner;
  *request.mutable_sandbox_config() = sandboxConfig;
  const auto answer = parts_->call(*parts_->service, &Service::CreateContainer, request);
  if (!answer) return answer.error();
  return answer->container_id();
}

Result<void> Runtime::startContainer(const std::string& id) {
  cri::StartContainerRequest request;
  request.set_container_id(id);
  return done(parts_->call(*parts_->service, &Service::StartContainer, request));
}

Result<void> Runtime::stopContainer(const std::string& id, std::chrono::seconds grace) {
  cri::StopContainerRequest request;
  request.set_container_id(id);
  request.set_timeout(grace.count());
  return done(parts_->call(*parts_->service, &Service::StopContainer, request, kUsual + grace), true);
}

Result<void> Runtime::removeContainer(const std::string& id) {
  cri::RemoveContainerRequest request;
  request.set_container_id(id);
  return done(parts_->call(*parts_->service, &Service::RemoveContainer, request), true);
}

Result<void> Runtime::reopenLog(const std::string& id) {
  cri::ReopenContainerLogRequest request;
  request.set_container_id(id);
  return done(parts_->call(*parts_->service, &Service::ReopenContainerLog, request, 30s));
}

Result<Runtime::Execution> Runtime::execute(const std::string& container, const std::vector<std::string>& command,
                                            std::chrono::seconds timeout) {
  cri::ExecSyncRequest request;
  request.set_container_id(container);
  for (const std::string& word : command) request.add_cmd(word);
  request.set_timeout(timeout.count());
  const auto answer = parts_->call(*parts_->service, &Service::ExecSync, request, kUsual + timeout);
  if (!answer) return answer.error();
  return Execution{answer->stdout() + answer->stderr(), answer->exit_code()};
}

Result<std::string> Runtime::execUrl(const std::string& container, const api::ExecRequest& wanted) {
  auto fill = [&](auto& request) {
    request.set_container_id(container);
    request.set_tty(wanted.tty);
    request.set_stdin(wanted.in);
    request.set_stdout(wanted.out);
    request.set_stderr(wanted.err && !wanted.tty);  // a terminal has one output
  };
  if (wanted.command.empty()) {
    cri::AttachRequest request;
    fill(request);
    const auto answer = parts_->call(*parts_->service, &Service::Attach, request, 30s);
    if (!answer) return answer.error();
    return answer->url();
  }
  cri::ExecRequest request;
  fill(request);
  for (const std::string& word : wanted.command) request.add_cmd(word);
  const auto answer = parts_->call(*parts_->service, &Service::Exec, request, 30s);
  if (!answer) return answer.error();
  return answer->url();
}

Result<std::string> Runtime::portForwardUrl(const std::string& sandbox, const std::vector<std::int32_t>& ports) {
  cri::PortForwardRequest request;
  request.set_pod_sandbox_id(sandbox);
  for (const std::int32_t port : ports) request.add_port(port);
  const auto answer = parts_->call(*parts_->service, &Service::PortForward, request, 30s);
  if (!answer) return answer.error();
  return answer->url();
}

Result<Image> Runtime::image(const std::string& name) {
  cri::ImageStatusRequest request;
  request.mutable_image()->set_image(name);
  const auto answer = parts_->call(*parts_->images, &ImageStub::ImageStatus, request, 30s);
  if (!answer) return answer.error();
  if (!answer->has_image() || answer->image().id().empty()) return Error{Reason::NotFound, "image " + name + " is not present"};
  Image image;
  image.id = answer->image().id();
  image.name = answer->image().repo_tags_size() > 0 ? answer->image().repo_tags(0) : name;
  if (answer->image().has_uid()) image.uid = answer->image().uid().value();
  image.username = answer->image().username();
  return image;
}

Result<std::vector<StoredImage>> Runtime::images() {
  const auto answer = parts_->call(*parts_->images, &ImageStub::ListImages, cri::ListImagesRequest(), 30s);
  if (!answer) return answer.error();
  std::vector<StoredImage> images;
  for (const cri::Image& image : answer->images()) {
    const auto& names = image.repo_tags();
    const bool sandbox = std::find(names.begin(), names.end(), kPauseImage) != names.end();  // containerd 1.6 knows no pinned images
    images.push_back({image.id(), image.size(), image.pinned() || sandbox});
  }
  return images;
}

Result<std::set<std::string>> Runtime::imagesInUse() {
  const auto answer = parts_->call(*parts_->service, &Service::ListContainers, cri::ListContainersRequest(), 30s);
  if (!answer) return answer.error();
  std::set<std::string> ids;
  for (const cri::Container& container : answer->containers()) ids.insert(container.image_ref());
  return ids;
}

Result<void> Runtime::removeImage(const std::string& id) {
  cri::RemoveImageRequest request;
  request.mutable_image()->set_image(id);
  return done(parts_->call(*parts_->images, &ImageStub::RemoveImage, request), true);
}

Result<std::string> Runtime::pull(const std::string& name, const Registry* registry) {
  cri::PullImageRequest request;
  request.mutable_image()->set_image(name);
  if (registry != nullptr) {
    request.mutable_auth()->set_username(registry->username);
    request.mutable_auth()->set_password(registry->password);
    request.mutable_auth()->set_auth(registry->auth);
    request.mutable_auth()->set_server_address(registry->server);
  }
  const auto answer = parts_->call(*parts_->images, &ImageStub::PullImage, request, kPull);
  if (!answer) return answer.error();
  return answer->image_ref();
}

}  // namespace podpass::node
