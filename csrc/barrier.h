/* The barrier of the threads of a call. */
#ifndef FASTLIN_BARRIER_H
#define FASTLIN_BARRIER_H
#include "compiler.h"

#include <sched.h>
#include <stdatomic.h>

#if defined(__x86_64__)
#define PAUSE _mm_pause()
#elif defined(__aarch64__)
#define PAUSE __asm__ volatile("yield")
#else
#define PAUSE ((void)0)
#endif

/* How often a thread checks before it yields its core. Waits are short, but on a busy machine the
 * awaited thread may have lost its core, and gets one only if another thread yields. */
#define SPINS_BEFORE_YIELD 200

/* Whether this thread's team has more threads than there are cores. Then the awaited thread has no
 * core, and checking again keeps it from getting one. */
static _Thread_local bool crowded;

static inline void wait_a_little(int *spins) {
    if (!crowded && (*spins)++ < SPINS_BEFORE_YIELD)
        PAUSE;
    else
        sched_yield();
}

/* Each field has its own cache line; otherwise an arriving thread would take the line from those
 * that watch the generation. */
typedef struct {
    _Alignas(64) atomic_int arrived;
    _Alignas(64) atomic_int generation;
    _Alignas(64) atomic_llong leaves_off; /* 1 + the position at which to stop, or 0: none */
} barrier;

/* The last thread to arrive begins the next generation, which the others wait for. */
static inline void wait_for_all(barrier *here, int64_t n_threads) {
    if (n_threads == 1) return;
    int generation = atomic_load_explicit(&here->generation, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&here->arrived, 1, memory_order_acq_rel) + 1 == n_threads) {
        atomic_store_explicit(&here->arrived, 0, memory_order_relaxed);
        atomic_store_explicit(&here->generation, generation + 1, memory_order_release);
        return;
    }
    int spins = 0;
    while (atomic_load_explicit(&here->generation, memory_order_acquire) == generation)
        wait_a_little(&spins);
}

/* Whether the caller has asked the kernel to stop, as it may at any moment. */
static inline bool told_to_stop(const int32_t *stop) {
    return __atomic_load_n(stop, __ATOMIC_RELAXED) != 0;
}

/* All threads must stop at the same position of the work, or one would wait forever. Thread 0
 * decides at a position, before the barrier. It may decide at the next position before a slower
 * thread has asked about this one, which does not change the answer. */
static inline void decide_to_leave_off(barrier *here, const int32_t *stop, int64_t thread,
                                       int64_t position) {
    if (thread == 0 && told_to_stop(stop))
        atomic_store_explicit(&here->leaves_off, position + 1, memory_order_relaxed);
}

static inline bool leaves_off(barrier *here, int64_t position) {
    int64_t decided = atomic_load_explicit(&here->leaves_off, memory_order_relaxed);
    return decided && position + 1 >= decided;
}

#endif
