#include "cli/command_line.h"

int main(int count, char** words) { return podpass::cli::run(count, words); }
