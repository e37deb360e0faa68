#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

// Commands, their options and what they run, as the verbs describe them. CLI11 stands behind, in one .cpp, and prints help and usage
// errors. Words are read as Go's pflag reads them, for that is what the programs use that podpass stands in for: `--flag=` is the empty
// value,
// `-v=4` is `-v 4`, a flag that is given again replaces the value before, `--switch` alone is true and `--switch=false` false, and after
// `--` everything is an argument. One thread describes, reads and runs.
namespace podpass::cli {

constexpr int kYes = 0, kNo = 1, kUsage = 2;  // exit statuses

// What is wrong with a value; "" when nothing is.
using Problem = std::function<std::string(const std::string&)>;

// A flag or an argument of a command. A handle: copies speak of the same option.
class Option {
 public:
  explicit Option(CLI::Option* option) : option_(option) {}

  Option& required();
  Option& showDefault();  // in the help: the value that the variable has now
  Option& hidden();       // not in the help
  Option& oneOf(const std::vector<std::string>& words);
  Option& between(int least, int most);
  Option& check(const Problem& problem, const std::string& kind = {});  // `kind`: for the help, such as CIDR
  Option& splitAt(char separator);                                      // a list's values, too, may be lists
  Option& needs(const Option& other);
  Option& excludes(const Option& other);

 private:
  CLI::Option* option_;
};

struct CommandTree;

// A handle, too; it, and the variables of its options, must live while the command line is read.
class Command {
 public:
  Command(CLI::App* app, CommandTree* tree) : app_(app), tree_(tree) {}

  // A command that has others does nothing by itself: one of them must be named.
  Command command(const std::string& name, const std::string& doc) const;
  // `names`: "-o,--output", or a name without dashes for an argument. A list grows by one value each time it is given.
  Option option(const std::string& names, std::string& value, const std::string& doc) const;
  Option option(const std::string& names, std::vector<std::string>& value, const std::string& doc) const;
  Option option(const std::string& names, int& value, const std::string& doc) const;
  Option option(const std::string& names, std::int64_t& value, const std::string& doc) const;
  Option option(const std::string& names, std::size_t& value, const std::string& doc) const;
  Option option(const std::string& names, unsigned short& value, const std::string& doc) const;
  Option option(const std::string& names, bool& value, const std::string& doc) const;
  // `take` gets the value, and says what is wrong with it.
  Option option(const std::string& names, const Problem& take, const std::string& doc) const;
  Option option(const std::string& names, const std::function<std::string(bool)>& take, const std::string& doc) const;
  // Its variable is left alone when it is not given. "!--no-x" among the names is --x=false.
  Option flag(const std::string& names, bool& value, const std::string& doc) const;
  // A group: exactly one of the options that are added to it must be given.
  Command exactlyOne(const std::string& name) const;
  // --version prints this and ends.
  void version(const std::string& text) const;
  // A word for which `isArgument` holds is none of the flags, although it begins with a dash.
  void takesDashed(std::function<bool(const std::string&)> isArgument) const;
  // What the command does, and its exit status. Before that `problem` may find the options wrong together.
  void runs(std::function<int()> run, const std::function<std::string()>& problem = {}) const;

  // For completion.
  [[nodiscard]] std::string name() const;
  [[nodiscard]] std::vector<Command> commands() const;
  [[nodiscard]] std::vector<std::string> longFlags() const;  // one name for each, without dashes

 private:
  CLI::App* app_;
  CommandTree* tree_;
};

class CommandLine {
 public:
  CommandLine(const std::string& program, const std::string& doc);
  ~CommandLine();
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  [[nodiscard]] Command root() const;
  // Reads the words, without the program's name, and runs the command that they name: its exit status. kYes for help and versions, and
  // kUsage when the words make no sense, which standard error says.
  int run(const std::vector<std::string>& words) const;

 private:
  std::unique_ptr<CommandTree> tree_;
};

}  // namespace podpass::cli
