#include <CLI/CLI.hpp>
#include <cstdio>

#include "cli/verbs.h"

namespace podpass::cli {
namespace {

// A `case` line for each command: its subcommands, or its flags.
void addCases(const CLI::App& app, const std::string& path, std::string& cases) {
  std::string words;
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
    addCases(*sub, path.empty() ? sub->get_name() : path + " " + sub->get_name(), cases);
    words += sub->get_name() + " ";
  }
  for (const CLI::Option* option : app.get_options())
    if (!option->get_lnames().empty()) words += "--" + option->get_lnames().front() + " ";
  cases += "    \"" + path + "\") words=\"" + words + "\" ;;\n";
}

// The longest chain of leading words that is a command decides; after a flag that names a file bash completes files.
std::string bashCompletion(const CLI::App& app) {
  std::string cases;
  addCases(app, "", cases);
  return "_podpass() {\n"
         "  local current=\"${COMP_WORDS[COMP_CWORD]}\" words path=\"\" word\n"
         "  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
         "    case \"$word\" in -*) break ;; *) path=\"${path:+$path }$word\" ;; esac\n"
         "  done\n"
         "  case \"$path\" in\n" +
         cases +
         "    *) return ;;\n"
         "  esac\n"
         "  COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
         "}\n"
         "complete -o default -F _podpass podpass\n";
}

}  // namespace

void addCompletion(CLI::App& app, Chosen& chosen) {
  CLI::App* completion = app.add_subcommand("completion", "print shell completion: source <(podpass completion bash)");
  auto shell = std::make_shared<std::string>("bash");
  completion->add_option("shell", *shell)->check(CLI::IsMember({"bash"}))->capture_default_str();
  completion->callback([&app, &chosen, shell] {
    chosen = [&app, shell] {
      std::fputs(bashCompletion(app).c_str(), stdout);
      return kYes;
    };
  });
}

}  // namespace podpass::cli
