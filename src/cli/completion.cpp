#include <cstdio>

#include "cli/verbs.h"

namespace podpass::cli {
namespace {

// What may follow a chain of commands, such as "token inspect": its subcommands and its flags, each with a space behind it.
struct Case {
  std::string path, words;
};

void addCases(Command command, const std::string& path, std::vector<Case>& cases) {
  std::string words;
  for (const Command sub : command.commands()) {
    addCases(sub, path.empty() ? sub.name() : path + " " + sub.name(), cases);
    words += sub.name() + " ";
  }
  for (const std::string& flag : command.longFlags()) words += "--" + flag + " ";
  cases.push_back({path, std::move(words)});
}

// Each case as the shell writes it: what stands before the path, between it and the words, and behind them.
std::string arms(const std::vector<Case>& cases, const std::string& before, const std::string& between, const std::string& behind) {
  std::string lines;
  for (const Case& each : cases) lines += before + each.path + between + each.words + behind;
  return lines;
}

// The leading words that are no flags decide; after a flag that names a file bash completes files.
std::string bashCompletion(const std::vector<Case>& cases) {
  return "_podpass() {\n"
         "  local current=\"${COMP_WORDS[COMP_CWORD]}\" words path=\"\" word\n"
         "  for word in \"${COMP_WORDS[@]:1:$((COMP_CWORD - 1))}\"; do\n"
         "    case \"$word\" in -*) break ;; *) path=\"${path:+$path }$word\" ;; esac\n"
         "  done\n"
         "  case \"$path\" in\n" +
         arms(cases, "    \"", "\") words=\"", "\" ;;\n") +
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
  return "function __podpass_words\n"
         "  set -l path\n"
         "  for word in (commandline -opc)[2..-1]\n"
         "    string match -q -- '-*' $word; and break\n"
         "    set path $path $word\n"
         "  end\n"
         "  switch \"$path\"\n" +
         arms(cases, "    case '", "'\n      string split -n ' ' -- '", "'\n") +
         "  end\n"
         "end\n"
         "complete -c podpass -a '(__podpass_words)'\n";
}

}  // namespace

void addCompletion(Command app) {
  const Command completion = app.command("completion", "print shell completion: source <(podpass completion bash)");
  auto shell = std::make_shared<std::string>("bash");
  completion.option("shell", *shell, "").oneOf({"bash", "zsh", "fish"}).showDefault();
  completion.runs([app, shell] {
    std::vector<Case> cases;
    addCases(app, "", cases);
    const auto script = *shell == "fish" ? fishCompletion : *shell == "zsh" ? zshCompletion : bashCompletion;
    std::fputs(script(cases).c_str(), stdout);
    return kYes;
  });
}

}  // namespace podpass::cli
