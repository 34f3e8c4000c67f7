/* What every family of kernels needs once: memory, threads (team.h), and what compilers call things. */
#ifndef FASTLIN_COMMON_H
#define FASTLIN_COMMON_H
#define _GNU_SOURCE /* affinities, madvise, syscall */
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "fastlin_api.h"
#include "team.h"

/* Tell AddressSanitizer of the bytes between the arrays of one block (`make sanitize`). */
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define FORBID(from, to) __asan_poison_memory_region(from, (size_t)((to) - (from)))
#else
#define FORBID(from, to) ((void)0)
#endif

/* Whether AMX is compiled: GCC knows it from version 11 on, and Linux is asked for it. */
#if defined(__x86_64__) && defined(__linux__) && !defined(__clang__) && __GNUC__ >= 11
#define HAS_AMX 1
#else
#define HAS_AMX 0
#endif

/* Rows of a tile: few enough to stay in a core's cache from phase A to phase C. */
#define TILE 128

#define INLINE static inline __attribute__((always_inline, unused))
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 64")
#endif

#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE(I, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(I, a, b, ...) __builtin_shuffle(a, b, (I){__VA_ARGS__})
#endif

/* Keep a vector that is used several times in a register: compilers would rather read it from
 * memory again in each instruction, and the loads, not the products, would set the pace. */
#if defined(__x86_64__)
#define KEEP_IN_REGISTER(v) __asm__("" : "+v"(v))
#elif defined(__aarch64__)
#define KEEP_IN_REGISTER(v) __asm__("" : "+w"(v))
#else
#define KEEP_IN_REGISTER(v) ((void)0)
#endif

#define LARGE_PAGE ((size_t)2 << 20)

/* A block of memory from which arrays are taken in turn, each on cache lines of its own. Without
 * a block it only counts. */
typedef struct {
    char *block;
    size_t used;
} arena;

static inline void *take(arena *memory, size_t bytes) {
    char *p = memory->block ? memory->block + memory->used : NULL;
    memory->used += (bytes + 63) / 64 * 64 + 64;
    if (p) FORBID(p + bytes, memory->block + memory->used);
    return p;
}

/* Large blocks lie in large pages where there are such: what is read here and there in them is then
 * found without a walk through the page tables. */
static inline bool reserve(arena *memory, size_t bytes) {
    size_t page = bytes < LARGE_PAGE ? 64 : LARGE_PAGE;
    size_t size = (bytes + 64 + page - 1) / page * page;
    memory->block = aligned_alloc(page, size);
#if defined(MADV_HUGEPAGE)
    if (memory->block && page == LARGE_PAGE) madvise(memory->block, size, MADV_HUGEPAGE);
#endif
    if (memory->block) memset(memory->block, 0, size);
    return memory->block != NULL;
}

static inline void release(arena *memory) { free(memory->block); }

#endif
