// SPDX-License-Identifier: Apache-2.0
#ifndef CSYSTEM_H
#define CSYSTEM_H
#include <stdint.h>

// Copies up to `count` bytes between descriptors inside the kernel, from and to the given offsets.
// Returns the number of bytes copied, or -1 with errno (ENOSYS where the system has no such call).
long regate_copy_range(int from, int64_t from_offset, int to, int64_t to_offset, uint64_t count);

// Makes `to`, an empty file, share all blocks of `from` (Linux FICLONE); 0, or -1 with errno.
int regate_clone_file(int from, int to);

// Renames a file or a directory, to a name that nothing has: EEXIST otherwise, or ENOTEMPTY. Where
// neither the system nor the file system can see to that, what has the name may be replaced.
int regate_rename_new(const char *from, const char *to);

// Opens a new file in `folder` for writing that has no name and goes when it is closed (Linux); its
// descriptor, or -1 with errno.
int regate_open_unnamed(const char *folder);

// Has the C library give freed buffers of 8 MB or more back to the system at once (glibc). By
// itself it comes to keep ever larger ones, up to 32 MB each.
void regate_return_freed_memory(void);

// Watches a mapped file of `count` bytes for pages that are lost because the file got shorter or its
// device failed: they read as zeros then, and the mapping is marked. Returns its slot, to be given
// back with `regate_unwatch_mapping` before the mapping goes; -1 where too many are watched.
int regate_watch_mapping(const void *start, uint64_t count);

// Whether pages of the mapping were lost.
int regate_mapping_lost(int slot);

void regate_unwatch_mapping(int slot);
#endif
