#include "cli/command.h"

#include <gtest/gtest.h>

namespace podpass::cli {
namespace {

struct Values {
  std::string name = "default", mode = "fast", file, jti;
  std::vector<std::string> issuers, audiences;
  int verbosity = 0;
  std::int64_t seconds = 86400;
  unsigned short port = 443;
  bool inCluster = true, debug = false, extend = false;
};

struct Read {
  int status;
  Values values;
  std::string out, err;
  std::vector<std::string> ran = {};
};

// A program with a command of each kind; `serve` takes an argument that begins with a dash when it ends in one.
Read read(const std::vector<std::string>& words) {
  Read done{};
  Values& values = done.values;
  const CommandLine line("program", "a program");
  line.root().version("program 1.2");
  const Command serve = line.root().command("serve", "serve it");
  serve.option("--name", values.name, "a text").showDefault();
  serve.option("--mode", values.mode, "a word").oneOf({"fast", "slow"});
  serve.option("--port", values.port, "a port");
  serve.option("--seconds", values.seconds, "a number").check([](const std::string& text) { return text == "13" ? "unlucky" : ""; });
  serve.option("-v,--v", values.verbosity, "a level").between(0, 9);
  serve.option("--issuer", values.issuers, "a list");
  serve.option("--audiences", values.audiences, "a list of lists").splitAt(',');
  serve.option("--extend", values.extend, "a boolean");
  serve.flag("--in-cluster,!--no-cluster", values.inCluster, "a switch");
  serve.flag("--debug", values.debug, "another").hidden();
  serve.option(
      "--take", [](const std::string& text) { return text == "it" ? "" : "not it: " + text; }, "a checked text");
  serve.option("file", values.file, "an argument");
  serve.takesDashed([](const std::string& word) { return word.ends_with('-'); });
  serve.runs([&] { return done.ran.emplace_back("serve"), kYes; },
             [&] { return values.name == "wrong" && values.file.empty() ? "a file, or another name" : ""; });
  const Command end = line.root().command("end", "end something");
  const Command which = end.exactlyOne("which");
  which.option("jti", values.jti, "one");
  which.option("--node", values.name, "or the other");
  end.runs([&] { return done.ran.emplace_back("end"), kNo; });
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  done.status = line.run(words);
  std::fflush(stdout);
  std::fflush(stderr);
  done.out = testing::internal::GetCapturedStdout();
  done.err = testing::internal::GetCapturedStderr();
  return done;
}

std::string shown(const Values& values) {
  std::string text = values.name + " " + values.mode + " " + std::to_string(values.port) + " " + std::to_string(values.seconds) + " v" +
                     std::to_string(values.verbosity) + (values.inCluster ? " in" : " out") + (values.debug ? " debug" : "") +
                     (values.extend ? " extend" : "");
  for (const std::string& issuer : values.issuers) text += " i:" + issuer;
  for (const std::string& audience : values.audiences) text += " a:" + audience;
  return text + " [" + values.file + "]";
}

TEST(Command, ReadsFlagsAsPflagDoes) {
  struct Case {
    const char* why;
    std::vector<std::string> words;
    const char* values;
  };
  const Case cases[] = {
      {"nothing is given", {}, "default fast 443 86400 v0 in []"},
      {"a value behind =, or in the next word", {"--name=a", "--port", "1"}, "a fast 1 86400 v0 in []"},
      {"an empty value", {"--name=", "file"}, " fast 443 86400 v0 in [file]"},
      {"an empty value in the next word", {"--name", "", "file"}, " fast 443 86400 v0 in [file]"},
      {"an empty value before a flag", {"--name=", "--port=2"}, " fast 2 86400 v0 in []"},
      {"a value with an equals sign", {"--name=a=b"}, "a=b fast 443 86400 v0 in []"},
      {"a value that looks like a flag", {"--name", "--port", "file"}, "--port fast 443 86400 v0 in [file]"},
      {"a value that is two dashes", {"--name", "--", "file"}, "-- fast 443 86400 v0 in [file]"},
      {"a value that is a command", {"--name", "end"}, "end fast 443 86400 v0 in []"},
      {"a value in brackets", {"--issuer=[a,b]"}, "default fast 443 86400 v0 in i:[a,b] []"},
      {"a negative number", {"--seconds", "-1"}, "default fast 443 -1 v0 in []"},
      {"a short flag, with =", {"-v=4"}, "default fast 443 86400 v4 in []"},
      {"with the next word", {"-v", "4"}, "default fast 443 86400 v4 in []"},
      {"or in one", {"-v4"}, "default fast 443 86400 v4 in []"},
      {"the long name of the short flag", {"--v=4"}, "default fast 443 86400 v4 in []"},
      {"the same", {"--v", "4"}, "default fast 443 86400 v4 in []"},
      {"the last wins", {"--name=a", "--name", "b", "-v=1", "--v=2", "--port=1", "--port=2"}, "b fast 2 86400 v2 in []"},
      {"the last wins, though empty", {"--name=a", "--name="}, " fast 443 86400 v0 in []"},
      {"a list grows", {"--issuer=a", "--issuer", "b", "c"}, "default fast 443 86400 v0 in i:a i:b [c]"},
      {"an empty value in a list", {"--issuer=", "c"}, "default fast 443 86400 v0 in i: [c]"},
      {"a list of lists", {"--audiences=a,b", "--audiences", "c", "d"}, "default fast 443 86400 v0 in a:a a:b a:c [d]"},
      {"a switch", {"--debug", "file"}, "default fast 443 86400 v0 in debug [file]"},
      {"a switch that is off", {"--in-cluster=false", "--debug=true"}, "default fast 443 86400 v0 out debug []"},
      {"a switch twice", {"--in-cluster=false", "--in-cluster"}, "default fast 443 86400 v0 in []"},
      {"a switch's other name", {"--no-cluster"}, "default fast 443 86400 v0 out []"},
      {"a boolean alone", {"--extend"}, "default fast 443 86400 v0 in extend []"},
      {"a boolean before an argument", {"--extend", "file"}, "default fast 443 86400 v0 in extend [file]"},
      {"a boolean before a flag", {"--extend", "-v=1"}, "default fast 443 86400 v1 in extend []"},
      {"a boolean that is off", {"--extend", "--extend=false"}, "default fast 443 86400 v0 in []"},
      {"a boolean and its word", {"--extend", "true", "file"}, "default fast 443 86400 v0 in extend [file]"},
      {"an argument with a dash", {"-abc-", "-v=1"}, "default fast 443 86400 v1 in [-abc-]"},
      {"one that begins as a flag does", {"-v1-"}, "default fast 443 86400 v0 in [-v1-]"},
      {"one that begins with two", {"--name=-", "--debug"}, "default fast 443 86400 v0 in debug [--name=-]"},
      {"what follows two dashes is an argument", {"-v=1", "--", "-v"}, "default fast 443 86400 v1 in [-v]"},
      {"also when it has no dash", {"--", "file"}, "default fast 443 86400 v0 in [file]"},
      {"two dashes before nothing", {"--debug", "--"}, "default fast 443 86400 v0 in debug []"},
      {"a value is looked at before it is taken", {"--take=it", "--mode=slow", "--seconds=12"}, "default slow 443 12 v0 in []"}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    std::vector<std::string> words = c.words;
    words.insert(words.begin(), "serve");
    const Read done = read(words);
    EXPECT_EQ(done.status, kYes) << done.err;
    EXPECT_EQ(done.ran, std::vector<std::string>{"serve"});
    EXPECT_EQ(shown(done.values), c.values);
  }
}

TEST(Command, SaysWhatIsWrongWithTheWordsAndRunsNothing) {
  struct Case {
    std::vector<std::string> words;
    const char* error;
  };
  const Case cases[] = {{{}, "A subcommand is required"},
                        {{"nothing"}, "A subcommand is required"},
                        {{"serve", "--nothing"}, "The following argument was not expected: --nothing"},
                        {{"serve", "--nothing=1"}, "The following argument was not expected: --nothing=1"},
                        {{"serve", "-x"}, "The following argument was not expected: -x"},
                        {{"serve", "a", "b"}, "The following argument was not expected: b"},
                        {{"serve", "--", "-a", "-b"}, "The following arguments were not expected: -b --"},
                        {{"serve", "--name"}, "--name: 1 required TEXT missing"},
                        {{"serve", "--port="}, "Could not convert: --port = "},
                        {{"serve", "--port", ""}, "Could not convert: --port = "},
                        {{"serve", "-v="}, "Could not convert: -v = "},
                        {{"serve", "--port", "65536"}, "Could not convert: --port = 65536"},
                        {{"serve", "-v=ten"}, "--v: "},
                        {{"serve", "-v=10"}, "--v: Value 10 not in range 0 to 9"},
                        {{"serve", "--mode=middling"}, "--mode: middling not in {fast,slow}"},
                        {{"serve", "--mode="}, "--mode:  not in {fast,slow}"},
                        {{"serve", "--seconds=13"}, "--seconds: unlucky"},
                        {{"serve", "--take=that"}, "not it: that"},
                        {{"serve", "--debug="}, "Could not convert: --debug = "},
                        {{"serve", "--in-cluster=maybe"}, "Could not convert: --in-cluster = maybe"},
                        {{"serve", "--extend="}, "Could not convert: --extend = "},
                        {{"serve", "--extend=maybe"}, "Could not convert: --extend = maybe"},
                        {{"serve", "--name=wrong"}, "a file, or another name"},
                        {{"end"}, "Exactly 1 option from [jti,--node] is required"},
                        {{"end", "--node=a", "b"}, "Exactly 1 option from [jti,--node] is required and 2 were given"}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.error);
    const Read done = read(c.words);
    EXPECT_EQ(done.status, kUsage);
    EXPECT_TRUE(done.err.starts_with(c.error)) << done.err;
    EXPECT_EQ(done.out, "");
    EXPECT_TRUE(done.ran.empty());
  }
}

TEST(Command, GivesWhatItRanItsStatus) {
  EXPECT_EQ(read({"serve", "--name=wrong", "file"}).status, kYes) << "the options are good together";
  for (const std::vector<std::string>& words : {std::vector<std::string>{"end", "a"}, {"end", "--", "a"}, {"end", "--node=a"}}) {
    const Read done = read(words);
    EXPECT_EQ(done.status, kNo) << done.err;
    EXPECT_EQ(done.ran, std::vector<std::string>{"end"});
  }
}

TEST(Command, ShowsItsVersionAndWhatItTakes) {
  const Read version = read({"--version"}), help = read({"serve", "--debug", "--help"});
  EXPECT_EQ(version.status, kYes);
  EXPECT_EQ(version.out, "program 1.2\n");
  EXPECT_EQ(help.status, kYes);
  EXPECT_TRUE(help.ran.empty());
  for (const char* line : {"serve it", "--name TEXT=default", "--mode TEXT:{fast,slow}", "-v,--v INT:INT in [0 - 9]", "--issuer TEXT ..."})
    EXPECT_NE(help.out.find(line), std::string::npos) << line << "\n" << help.out;
  EXPECT_EQ(help.out.find("--debug"), std::string::npos) << "it is hidden";
}

TEST(Command, NamesItsCommandsAndFlagsForCompletion) {
  const CommandLine line("program", "");
  std::string text;
  const Command command = line.root().command("end", "");
  command.option("-o,--output,--format", text, "");
  command.option("argument", text, "");
  command.exactlyOne("which").option("--node", text, "");
  ASSERT_EQ(line.root().commands().size(), 1u);
  EXPECT_EQ(line.root().commands().front().name(), "end");
  EXPECT_TRUE(command.commands().empty()) << "a group is no command";
  EXPECT_EQ(command.longFlags(), (std::vector<std::string>{"help", "output", "node"}));
}

}  // namespace
}  // namespace podpass::cli
