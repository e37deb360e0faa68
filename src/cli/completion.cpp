#include <CLI/CLI.hpp>
#include <cstdio>

#include "cli/verbs.h"

namespace podpass::cli {
namespace {

// What may follow a chain of commands, such as "token inspect": its subcommands and its flags, each with a space behind it.
struct Case {
  std::string path, words;
};

void addCases(const CLI::App& app, const std::string& path, std::vector<Case>& cases) {
  std::string words;
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
    addCases(*sub, path.empty() ? sub->get_name() : path + " " + sub->get_name(), cases);
    words += sub->get_name() + " ";
  }
  for (const CLI::Option* option : app.get_options())
    if (!option->get_lnames().empty()) words += "--" + option->get_lnames().front() + " ";
  cases.push_back({path, std::move(words)});
}

// The leading words that are no flags decide; after a flag that names a file bash completes files.
std::string bashCompletion(const std::vector<Case>& cases) {
  std::string lines;
  for (const Case& each : cases) lines += "    \"" + each.path + "\") words=\"" + each.words + "\" ;;\n";
  return "_podpass() {\n"
         "  local current=\"${COMP_WORDS[COMP_CWORD]}\" words path=\"\" word\n"
         "  for word in \"${COMP_WORDS[@]:1:$((COMP_CWORD - 1))}\"; do\n"
         "    case \"$word\" in -*) break ;; *) path=\"${path:+$path }$word\" ;; esac\n"
         "  done\n"
         "  case \"$path\" in\n" +
         lines +
         "    *) return ;;\n"
         "  esac\n"
         "  COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
         "}\n"
         "complete -o default -F _podpass podpass\n";
}

std::string zshCompletion(const std::vector<Case>& cases) {
  return "#compdef podpass\nautoload -U +X compinit bashcompinit\n(( $+functions[compdef] )) || compinit\nbashcompinit\n" +
         bashCompletion(cases);
}

std::string fishCompletion(const std::vector<Case>& cases) {
  std::string lines;
  for (const Case& each : cases) lines += "    case '" + each.path + "'\n      string split -n ' ' -- '" + each.words + "'\n";
  return "function __podpass_words\n"
         "  set -l path\n"
         "  for word in (commandline -opc)[2..-1]\n"
         "    string match -q -- '-*' $word; and break\n"
         "    set path $path $word\n"
         "  end\n"
         "  switch \"$path\"\n" +
         lines +
         "  end\n"
         "end\n"
         "complete -c podpass -a '(__podpass_words)'\n";
}

}  // namespace

void addCompletion(CLI::App& app, Chosen& chosen) {
  CLI::App* completion = app.add_subcommand("completion", "print shell completion: source <(podpass completion bash)");
  auto shell = std::make_shared<std::string>("bash");
  completion->add_option("shell", *shell)->check(CLI::IsMember({"bash", "zsh", "fish"}))->capture_default_str();
  completion->callback([&app, &chosen, shell] {
    chosen = [&app, shell] {
      std::vector<Case> cases;
      addCases(app, "", cases);
      const auto script = *shell == "fish" ? fishCompletion : *shell == "zsh" ? zshCompletion : bashCompletion;
      std::fputs(script(cases).c_str(), stdout);
      return kYes;
    };
  });
}

}  // namespace podpass::cli
