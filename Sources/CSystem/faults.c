// SPDX-License-Identifier: Apache-2.0
#include "CSystem.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

// A file that gets shorter while it is mapped raises SIGBUS where its pages are touched. The handler
// puts zeros in the place of the pages that are lost, from the fault to the end of the mapping, and
// marks the mapping: whoever reads it looks at the mark afterwards and says what happened.

enum { SLOTS = 1 << 16 };

struct mapping {
  atomic_int used;
  _Atomic uintptr_t start;
  _Atomic uintptr_t end;
  atomic_int lost;
};

static struct mapping mappings[SLOTS];
static atomic_int highest;
static uintptr_t page;
static struct sigaction previous;

static void pass_on(int number, siginfo_t *info, void *context) {
  if (previous.sa_flags & SA_SIGINFO) {
    previous.sa_sigaction(number, info, context);
  } else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
    previous.sa_handler(number);
  } else {
    // The same access faults again, and ends the process as it would have without this handler.
    signal(number, SIG_DFL);
  }
}

static void on_fault(int number, siginfo_t *info, void *context) {
  int saved = errno;
  uintptr_t address = (uintptr_t)info->si_addr;
  int count = atomic_load(&highest);
  for (int slot = 0; slot < count; slot++) {
    struct mapping *mapping = &mappings[slot];
    uintptr_t start = atomic_load(&mapping->start), end = atomic_load(&mapping->end);
    if (start == 0 || address < start || address >= end) continue;
    uintptr_t first = address & ~(page - 1);
    atomic_store(&mapping->lost, 1);
    void *zeros = mmap((void *)first, end - first, PROT_READ,
                       MAP_PRIVATE | MAP_ANON | MAP_NORESERVE | MAP_FIXED, -1, 0);
    errno = saved;
    if (zeros != MAP_FAILED) return;
    break;
  }
  errno = saved;
  pass_on(number, info, context);
}

static void install(void) {
  page = (uintptr_t)sysconf(_SC_PAGESIZE);
  struct sigaction action = {0};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGBUS, &action, &previous);
}

int regate_watch_mapping(const void *start, uint64_t count) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, install);
  for (int slot = 0; slot < SLOTS; slot++) {
    struct mapping *mapping = &mappings[slot];
    int unused = 0;
    if (!atomic_compare_exchange_strong(&mapping->used, &unused, 1)) continue;
    atomic_store(&mapping->lost, 0);
    atomic_store(&mapping->end, (uintptr_t)start + count);
    atomic_store(&mapping->start, (uintptr_t)start);
    int seen = atomic_load(&highest);
    while (seen <= slot && !atomic_compare_exchange_weak(&highest, &seen, slot + 1)) {}
    return slot;
  }
  return -1;
}

int regate_mapping_lost(int slot) { return atomic_load(&mappings[slot].lost); }

void regate_unwatch_mapping(int slot) {
  atomic_store(&mappings[slot].start, 0);
  atomic_store(&mappings[slot].used, 0);
}
