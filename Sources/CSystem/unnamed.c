// SPDX-License-Identifier: Apache-2.0
// glibc declares O_TMPFILE only under _GNU_SOURCE, which Swift's importer does not set.
#define _GNU_SOURCE
#include "CSystem.h"
#include <errno.h>
#include <fcntl.h>

int regate_open_unnamed(const char *folder) {
#ifdef O_TMPFILE
  return open(folder, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
#else
  errno = ENOTSUP;
  return -1;
#endif
}
