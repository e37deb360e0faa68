#pragma once

namespace podpass::cli {

// `podpass VERB …`: exit status 0 (done, or the answer is yes), 1 (the answer is no, or it failed), 2 (usage).
int run(int count, char** words);

}  // namespace podpass::cli
