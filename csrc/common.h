/* What every family of kernels needs once: memory, threads, and what compilers call things. */
#ifndef FASTLIN_COMMON_H
#define FASTLIN_COMMON_H
#include <math.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#if defined(__x86_64__)
#include <immintrin.h>
#define PAUSE _mm_pause()
#elif defined(__aarch64__)
#define PAUSE __asm__ volatile("yield")
#else
#define PAUSE ((void)0)
#endif

#include "fastlin_api.h"

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

#if defined(_OPENMP)
#include <omp.h>
#define PRAGMA(text) _Pragma(#text)
#define PARALLEL(count) PRAGMA(omp parallel num_threads((int)(count)) if ((count) > 1))
#define THREAD_NUMBER omp_get_thread_num()
#define TEAM_SIZE omp_get_num_threads()
#define WAIT_FOR_TEAM PRAGMA(omp barrier)
#else
#define PARALLEL(count)
#define THREAD_NUMBER 0
#define TEAM_SIZE 1
#define WAIT_FOR_TEAM
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

/* Where the threads of a team wait for each other, every few microseconds. They spin, since the
 * wait is short; but not for long: on a busy machine the one they wait for may have lost its core,
 * and gets one back only where another gives it up. OpenMP's own barrier spins for milliseconds. */
typedef struct {
    _Alignas(64) atomic_int arrived;
    _Alignas(64) atomic_int generation;
} barrier;

#define SPINS 200

static inline void wait_for_all(barrier *here, int64_t n_threads) {
    if (n_threads == 1) return;
    int generation = atomic_load_explicit(&here->generation, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&here->arrived, 1, memory_order_acq_rel) + 1 == n_threads) {
        atomic_store_explicit(&here->arrived, 0, memory_order_relaxed);
        atomic_store_explicit(&here->generation, generation + 1, memory_order_release);
        return;
    }
    for (int spins = 0;
         atomic_load_explicit(&here->generation, memory_order_acquire) == generation; spins++) {
        if (spins < SPINS)
            PAUSE;
        else
            sched_yield();
    }
}

#define LARGE_PAGE ((size_t)2 << 20)

/* A block of memory from which arrays are taken in turn, each on cache lines of its own. Without
 * a block it only counts. */
typedef struct {
    char *block;
    size_t used;
} arena;

static inline void *take(arena *memory, size_t bytes) {
    void *p = memory->block ? memory->block + memory->used : NULL;
    memory->used += (bytes + 63) / 64 * 64 + 64;
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
