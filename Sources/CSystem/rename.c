// SPDX-License-Identifier: Apache-2.0
// glibc declares renameat2 only under _GNU_SOURCE, which Swift's importer does not set.
#define _GNU_SOURCE
#include "CSystem.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

// File systems that cannot rename so (NFS, some in user space) mostly have hard links, of files
// only. Without these, a directory with contents is not replaced, and all else is.
static int rename_by_link(const char *from, const char *to) {
  if (link(from, to) == 0) return unlink(from);
  return errno == EEXIST ? -1 : rename(from, to);
}

int regate_rename_new(const char *from, const char *to) {
#if defined(__linux__) && defined(RENAME_NOREPLACE)
  if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) return 0;
#elif defined(__APPLE__)
  if (renamex_np(from, to, RENAME_EXCL) == 0) return 0;
#else
  errno = ENOSYS;
#endif
  if (errno != EINVAL && errno != ENOSYS && errno != ENOTSUP) return -1;
  return rename_by_link(from, to);
}
