#include "node/image_archive.h"

#include <array>
#include <cstring>

#include "base/document.h"
#include "base/text.h"

namespace podpass::node {

namespace {

// A POSIX ustar archive in memory.
class Tar {
 public:
  void add(const std::string& name, std::string_view bytes, unsigned mode) {
    std::array<char, 512> header{};
    auto put = [&](std::size_t at, std::string_view text) { std::memcpy(header.data() + at, text.data(), text.size()); };
    auto octal = [](std::uint64_t number, int digits) {
      std::string text(static_cast<std::size_t>(digits), '0');
      for (int at = digits - 1; at >= 0; --at, number >>= 3) text[static_cast<std::size_t>(at)] = static_cast<char>('0' + (number & 7));
      return text;
    };
    put(0, name);
    put(100, octal(mode, 7));
    put(108, octal(0, 7));
    put(116, octal(0, 7));
    put(124, octal(bytes.size(), 11));
    put(136, octal(0, 11));
    put(148, "        ");
    put(156, "0");
    put(257, std::string_view("ustar\00000", 8));
    std::uint64_t sum = 0;
    for (const char c : header) sum += static_cast<unsigned char>(c);
    put(148, octal(sum, 6) + std::string("\0 ", 2));
    text_.append(header.data(), header.size());
    text_.append(bytes);
    text_.append((512 - bytes.size() % 512) % 512, '\0');
  }
  std::string finish() && { return std::move(text_.append(1024, '\0')); }

 private:
  std::string text_;
};

}  // namespace

std::string imageArchive(const std::string& image, const std::string& program, std::string_view binary) {
  const auto digest = [](std::string_view bytes) { return "sha256:" + hexLower(sha256(bytes)); };
  const auto described = [&](const char* type, const std::string& bytes) {
    return json::object{{"mediaType", type}, {"digest", digest(bytes)}, {"size", bytes.size()}};
  };
#if defined(__aarch64__)
  constexpr const char* kArchitecture = "arm64";
#else
  constexpr const char* kArchitecture = "amd64";
#endif
  Tar files;
  files.add(program, binary, 0755);
  const std::string layer = std::move(files).finish();
  json::object config = {{"architecture", kArchitecture}, {"os", "linux"}};
  config["config"] = json::object{{"Entrypoint", json::array{"/" + program}}};
  config["rootfs"] = json::object{{"type", "layers"}, {"diff_ids", json::array{digest(layer)}}};
  const std::string configText = json::serialize(config);
  json::object manifest = {{"schemaVersion", 2}, {"mediaType", "application/vnd.oci.image.manifest.v1+json"}};
  manifest["config"] = described("application/vnd.oci.image.config.v1+json", configText);
  json::array layers;
  layers.push_back(described("application/vnd.oci.image.layer.v1.tar", layer));
  manifest["layers"] = std::move(layers);
  const std::string manifestText = json::serialize(manifest);
  json::object entry = described("application/vnd.oci.image.manifest.v1+json", manifestText);
  entry["annotations"] = json::object{{"io.containerd.image.name", image}};
  json::array manifests;
  manifests.push_back(std::move(entry));
  const json::object index = {{"schemaVersion", 2}, {"manifests", std::move(manifests)}};
  Tar archive;
  archive.add("oci-layout", R"({"imageLayoutVersion":"1.0.0"})", 0644);
  archive.add("index.json", json::serialize(index), 0644);
  for (const std::string* blob : {&layer, &configText, &manifestText}) archive.add("blobs/sha256/" + hexLower(sha256(*blob)), *blob, 0644);
  return std::move(archive).finish();
}

}  // namespace podpass::node
