// SPDX-License-Identifier: Apache-2.0
// glibc declares copy_file_range only under _GNU_SOURCE, which Swift's importer does not set.
#define _GNU_SOURCE
#include "CSystem.h"
#include <errno.h>
#include <unistd.h>

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
