/* Which slices of the features a thread works on: whole ones, or if there are more threads than
 * slices, one that several threads share, as number `part` of n_parts. */
#ifndef FASTLIN_SLICES_H
#define FASTLIN_SLICES_H
#include "compiler.h"

typedef struct {
    int64_t first, stop;
    int64_t part, n_parts;
} slices;

static inline slices slices_of(int64_t n_slices, int64_t thread, int64_t n_threads) {
    int64_t first = n_slices * thread / n_threads;
    if (n_threads <= n_slices)
        return (slices){.first = first, .stop = n_slices * (thread + 1) / n_threads, .n_parts = 1};
    int64_t first_thread = (first * n_threads + n_slices - 1) / n_slices;
    int64_t stop_thread = ((first + 1) * n_threads + n_slices - 1) / n_slices;
    return (slices){first, first + 1, thread - first_thread, stop_thread - first_thread};
}

#endif
