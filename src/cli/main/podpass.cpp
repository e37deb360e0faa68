#include <sys/prctl.h>

#include "cli/command_line.h"

int main(int count, char** words) {
  ::prctl(PR_SET_DUMPABLE, 0);  // no core dump and no debugger of the same user: the memory holds private keys
  return podpass::cli::run(count, words);
}
