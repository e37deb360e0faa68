#include "cli/command.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <optional>

namespace podpass::cli {

struct CommandTree {
  CLI::App app;
  std::map<const CLI::App*, std::function<bool(const std::string&)>> dashed;  // arguments of a command that begin with a dash
  std::function<int()> chosen;                                                // by the words
};

namespace {

template <class T>
Option addOption(CLI::App& app, const std::string& names, T& value, const std::string& doc) {
  return Option(app.add_option(names, value, doc)->multi_option_policy(CLI::MultiOptionPolicy::TakeLast));
}

template <class T>
Option addTaking(CLI::App& app, const std::string& names, const std::function<std::string(T)>& take, const std::string& doc) {
  using Value = std::remove_cvref_t<T>;
  const std::function<void(const Value&)> taking = [take](const Value& value) {
    if (const std::string wrong = take(value); !wrong.empty()) throw CLI::ValidationError(wrong);
  };
  return Option(app.add_option_function(names, taking, doc)->multi_option_policy(CLI::MultiOptionPolicy::TakeLast));
}

const CLI::App* subcommand(const CLI::App& app, const std::string& name) {
  const std::vector<const CLI::App*> found = app.get_subcommands([&](const CLI::App* each) { return each->get_name() == name; });
  return found.empty() ? nullptr : found.front();
}

bool isBoolean(const std::string& word) {
  try {
    CLI::detail::to_flag_value(word);
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

// The words as CLI11 must see them to read them as pflag does: CLI11 takes the next word for the value of `--flag=`, "=4" for that of
// `-v=4`, wants a value for every boolean that is no plain flag, and takes a kid that begins with a dash for flags.
class Reading {
 public:
  Reading(const CommandTree& tree, const std::vector<std::string>& words) : tree_(tree), command_(&tree.app), words_(words) {
    while (at_ < words_.size() && words_[at_] != "--") readWord(words_[at_++]);
    if (at_ < words_.size()) arguments_.insert(arguments_.end(), words_.begin() + static_cast<std::ptrdiff_t>(at_) + 1, words_.end());
  }

  [[nodiscard]] std::vector<std::string> result() && {
    // a group of options does not know "--"
    if (std::any_of(arguments_.begin(), arguments_.end(), [](const std::string& word) { return word.starts_with('-'); }))
      read_.emplace_back("--");
    read_.insert(read_.end(), arguments_.begin(), arguments_.end());
    return std::move(read_);
  }

 private:
  void readWord(const std::string& word) {
    const auto dashed = tree_.dashed.find(command_);
    if (word.starts_with('-') && dashed != tree_.dashed.end() && dashed->second(word)) return arguments_.push_back(word);
    const std::size_t nameEnd = word.starts_with("--") ? word.find('=') : std::min<std::size_t>(word.size(), 2);
    const CLI::Option* option = word.starts_with('-') && word.size() > 1 ? command_->get_option_no_throw(word.substr(0, nameEnd)) : nullptr;
    if (option != nullptr) return readOption(*option, word, nameEnd);
    if (const CLI::App* next = subcommand(*command_, word)) command_ = next;
    read_.push_back(word);
  }

  void readOption(const CLI::Option& option, const std::string& word, std::size_t nameEnd) {
    const bool isFlag = option.get_items_expected_max() == 0, isWhole = nameEnd >= word.size(),
               hasEquals = !isWhole && word[nameEnd] == '=';
    if (isFlag && isWhole) return read_.push_back(word);
    if (!isWhole && !hasEquals) return read_.push_back(word);  // -v4
    const std::string name = word.substr(0, nameEnd);
    std::optional<std::string> value;
    if (hasEquals)
      value = word.substr(nameEnd + 1);
    else if (option.get_type_name() == "BOOLEAN" && (at_ == words_.size() || !isBoolean(words_[at_])))
      value = "true";
    else if (at_ < words_.size())
      value = words_[at_++];
    // CLI11 takes it for zero or false
    if (value == "" && !option.get_type_name().starts_with("TEXT")) throw CLI::ConversionError(name, std::vector<std::string>(1));
    if (isFlag) return read_.push_back(word);
    read_.push_back(name);
    if (value) read_.push_back(*value);
  }

  const CommandTree& tree_;
  const CLI::App* command_;
  const std::vector<std::string>& words_;
  std::size_t at_ = 0;
  std::vector<std::string> read_, arguments_;
};

}  // namespace

Option& Option::required() { return option_->required(), *this; }
Option& Option::showDefault() { return option_->capture_default_str(), *this; }
Option& Option::hidden() { return option_->group(""), *this; }
Option& Option::oneOf(const std::vector<std::string>& words) { return option_->check(CLI::IsMember(words)), *this; }
Option& Option::between(int least, int most) { return option_->check(CLI::Range(least, most)), *this; }
Option& Option::check(const Problem& problem, const std::string& kind) { return option_->check(problem, kind), *this; }
Option& Option::splitAt(char separator) { return option_->delimiter(separator), *this; }
Option& Option::needs(const Option& other) { return option_->needs(other.option_), *this; }
Option& Option::excludes(const Option& other) { return option_->excludes(other.option_), *this; }

Command Command::command(const std::string& name, const std::string& doc) const {
  app_->require_subcommand(1);
  return {app_->add_subcommand(name, doc), tree_};
}

Option Command::option(const std::string& names, std::string& value, const std::string& doc) const {
  return addOption(*app_, names, value, doc);
}
Option Command::option(const std::string& names, int& value, const std::string& doc) const { return addOption(*app_, names, value, doc); }
Option Command::option(const std::string& names, std::int64_t& value, const std::string& doc) const {
  return addOption(*app_, names, value, doc);
}
Option Command::option(const std::string& names, std::size_t& value, const std::string& doc) const {
  return addOption(*app_, names, value, doc);
}

Option Command::option(const std::string& names, unsigned short& value, const std::string& doc) const {
  return addOption(*app_, names, value, doc);
}
Option Command::option(const std::string& names, bool& value, const std::string& doc) const { return addOption(*app_, names, value, doc); }

Option Command::option(const std::string& names, std::vector<std::string>& value, const std::string& doc) const {
  return Option(app_->add_option(names, value, doc)->allow_extra_args(false));  // or it takes arguments for more of its values
}

Option Command::option(const std::string& names, const Problem& take, const std::string& doc) const {
  return addTaking(*app_, names, take, doc);
}
Option Command::option(const std::string& names, const std::function<std::string(bool)>& take, const std::string& doc) const {
  return addTaking(*app_, names, take, doc);
}

Option Command::flag(const std::string& names, bool& value, const std::string& doc) const {
  return Option(app_->add_flag(names, value, doc));
}

Command Command::exactlyOne(const std::string& name) const {
  CLI::App* group = app_->add_option_group(name, "exactly one of");
  group->require_option(1);
  return {group, tree_};
}

void Command::version(const std::string& text) const { app_->set_version_flag("--version", text); }

void Command::takesDashed(std::function<bool(const std::string&)> isArgument) const { tree_->dashed[app_] = std::move(isArgument); }

void Command::runs(std::function<int()> run, const std::function<std::string()>& problem) const {
  app_->callback([tree = tree_, run = std::move(run), problem] {
    if (const std::string wrong = problem ? problem() : std::string(); !wrong.empty()) throw CLI::ValidationError(wrong);
    tree->chosen = run;
  });
}

std::string Command::name() const { return app_->get_name(); }

std::vector<Command> Command::commands() const {
  std::vector<Command> found;
  for (CLI::App* each : app_->get_subcommands([](CLI::App* sub) { return !sub->get_name().empty(); })) found.emplace_back(each, tree_);
  return found;
}

std::vector<std::string> Command::longFlags() const {
  std::vector<CLI::App*> apps = app_->get_subcommands([](CLI::App* sub) { return sub->get_name().empty(); });  // groups
  apps.insert(apps.begin(), app_);
  std::vector<std::string> names;
  for (const CLI::App* app : apps)
    for (const CLI::Option* option : app->get_options())
      if (!option->get_lnames().empty() && (app == app_ || option != app->get_help_ptr())) names.push_back(option->get_lnames().front());
  return names;
}

CommandLine::CommandLine(const std::string& program, const std::string& doc)
    : tree_(new CommandTree{.app = CLI::App(doc, program), .dashed = {}, .chosen = {}}) {}
CommandLine::~CommandLine() = default;

Command CommandLine::root() const { return {&tree_->app, tree_.get()}; }

int CommandLine::run(const std::vector<std::string>& words) const {
  try {
    std::vector<std::string> read = Reading(*tree_, words).result();
    std::reverse(read.begin(), read.end());  // as CLI11 wants them
    tree_->app.parse(std::move(read));
  } catch (const CLI::ParseError& problem) {
    return tree_->app.exit(problem) == 0 ? kYes : kUsage;
  }
  return tree_->chosen();
}

}  // namespace podpass::cli
