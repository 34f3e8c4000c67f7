/* A block of memory from which a call takes its arrays, one after the other. */
#ifndef FASTLIN_ARENA_H
#define FASTLIN_ARENA_H
#include "compiler.h"
#if defined(__linux__)
#include <sys/mman.h>
#endif

/* Tell AddressSanitizer about the gaps between the arrays of a block (`make sanitize`). */
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define FORBID(from, to) __asan_poison_memory_region(from, (size_t)((to) - (from)))
#else
#define FORBID(from, to) ((void)0)
#endif

#define CACHE_LINE 64
#define LARGE_PAGE ((size_t)2 << 20)

/* Without a block it only counts the bytes that will be used. */
typedef struct {
    char *block;
    size_t used;
} arena;

/* The next array, on cache lines of its own: threads that write neighbouring arrays would fetch a
 * shared line from each other again and again. */
static inline void *take(arena *memory, size_t bytes) {
    char *p = memory->block ? memory->block + memory->used : NULL;
    memory->used += round_up(bytes, CACHE_LINE) + CACHE_LINE;
    if (p) FORBID(p + bytes, memory->block + memory->used);
    return p;
}

/* Allocate the counted bytes, all zero. Large blocks use large pages if the system has them, so
 * that scattered reads need no walk through the page tables. */
static inline bool reserve(arena *memory) {
    size_t page = memory->used < LARGE_PAGE ? CACHE_LINE : LARGE_PAGE;
    size_t size = round_up(memory->used + CACHE_LINE, page);
    memory->used = 0;
    memory->block = aligned_alloc(page, size);
    if (!memory->block) return false;
#if defined(MADV_HUGEPAGE)
    if (page == LARGE_PAGE) madvise(memory->block, size, MADV_HUGEPAGE);
#endif
    memset(memory->block, 0, size);
    return true;
}

#endif
