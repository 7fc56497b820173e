// SPDX-License-Identifier: Apache-2.0
// glibc declares copy_file_range only under _GNU_SOURCE, which Swift's importer does not set.
#define _GNU_SOURCE
#include "CSystem.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/fs.h>
#include <sys/ioctl.h>
#endif

long regate_copy_range(int from, int64_t from_offset, int to, int64_t to_offset, uint64_t count) {
#ifdef __linux__
  off_t input = from_offset, output = to_offset;
  return copy_file_range(from, &input, to, &output, count, 0);
#else
  (void)from, (void)from_offset, (void)to, (void)to_offset, (void)count;
  errno = ENOSYS;
  return -1;
#endif
}

int regate_clone_file(int from, int to) {
#if defined(__linux__) && defined(FICLONE)
  return ioctl(to, FICLONE, from);
#else
  (void)from, (void)to;
  errno = ENOSYS;
  return -1;
#endif
}
