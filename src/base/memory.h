#pragma once

namespace podpass {

// Gives back what a start or a busy time needed and a quiet one does not: free heap, and the mapped pages of code and constants, ours and
// the libraries'. The kernel keeps those in its cache, and what is used again is mapped again by a minor fault. Any thread may call it
// while others run; it takes a millisecond.
void releaseUnusedMemory();

}  // namespace podpass
