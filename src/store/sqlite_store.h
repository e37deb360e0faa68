#pragma once

#include "store/store.h"

namespace podpass {

// openSqliteStore() with a database that may not grow past `maxPages` pages of 4 KiB (0: no limit): it then behaves as on a full disk.
Result<std::unique_ptr<Store>> openBoundedSqliteStore(const std::string& directory, std::size_t history, unsigned maxPages,
                                                      AtRest atRest = {});

}  // namespace podpass
