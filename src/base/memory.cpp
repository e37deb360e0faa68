#include "base/memory.h"

#include <link.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>

namespace podpass {
namespace {

// Only segments that were never writable: their pages are the file's own, so that none of them can be lost.
int releaseReadOnly(dl_phdr_info* object, std::size_t, void*) {
  const auto page = static_cast<ElfW(Addr)>(::sysconf(_SC_PAGESIZE));
  for (ElfW(Half) i = 0; i < object->dlpi_phnum; ++i) {
    const auto& segment = object->dlpi_phdr[i];
    if (segment.p_type != PT_LOAD || (segment.p_flags & PF_W) != 0) continue;
    const ElfW(Addr) begin = (object->dlpi_addr + segment.p_vaddr) & ~(page - 1);
    ::madvise(reinterpret_cast<void*>(begin), object->dlpi_addr + segment.p_vaddr + segment.p_memsz - begin, MADV_DONTNEED);
  }
  return 0;
}

}  // namespace

void releaseUnusedMemory() {
  ::malloc_trim(0);
  ::dl_iterate_phdr(releaseReadOnly, nullptr);
}

}  // namespace podpass
