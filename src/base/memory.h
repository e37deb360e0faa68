#pragma once

namespace podpass {

// Gives back what only starting needed: free heap, and the pages of code and constants, ours and the libraries', that are mapped. The
// kernel keeps those in its cache, and what is used again is mapped again by a minor fault. Once, when a long-lived process has started;
// any thread may call it while others run.
void releaseStartupMemory();

}  // namespace podpass
