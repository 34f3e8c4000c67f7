/* The design of the C backend; the request of a call to the kernels, and the table of kernels.
 *
 * One text for all types and instruction sets. C has no templates, so headers are included again:
 *
 *   isa_avx2.c   defines ISA, VECTOR_BYTES and REGISTERS, and includes family.h
 *   family.h     includes pairs.h twice: to compile an instance of each pair, and to list them
 *   pairs.h      defines WEIGHT, ROW (and COLUMN) for each pair, and includes EACH_PAIR
 *   instance.h   is such an EACH_PAIR: vectors, loss and step, then dense/, many_classes/ or
 * sparse/
 *
 * NAME(x) gives each instance its own names. Arrays are plain pointers, and vectors are the
 * compiler's extension; intrinsics appear only if the compiler does badly without them, and for the
 * matrix unit. A call goes from dispatch.c to `descend` or `pass` of an instance, a pointer in a
 * table, and from there to micro-kernels that are inlined with constant sizes, so no loop over
 * features contains a call.
 *
 * Threads live as long as a call (team.h) and meet every few microseconds at a barrier that spins
 * (barrier.h); a barrier that sleeps would take longer than the work between two of them. For dense
 * rows each thread owns some features, so its weights stay in its core's cache (dense/run.h, and
 * dense/layout.h with a picture). With many classes it owns classes, and vectors hold classes
 * (many_classes/run.h, and many_classes/layout.h with a picture). For sparse rows see sparse/run.h,
 * and sparse/layout.h with a picture.
 *
 * fastlin/kernels/blocking.py decides how the work is divided, and passes a fastlin_blocking. */
#ifndef FASTLIN_REQUEST_H
#define FASTLIN_REQUEST_H
#include "half.h"
#include "slices.h"
#include "team.h"

/* s: the number of steps, or 1 without options. */
typedef struct {
    const fastlin_samples *samples;
    const fastlin_parameters *parameters;
    const fastlin_step_options *options; /* NULL: sum up the gradient, update nothing */
    const int64_t *order;                /* (n_order,) or NULL: 0, 1, 2, ... */
    int64_t n_order, batch_size;
    const fastlin_blocking *blocking;
    double *losses_out;             /* (s,), zeros */
    double *weights_gradient_out;   /* (k, d), zeros; without options */
    double *intercept_gradient_out; /* (k,), zeros; without options */
    int64_t *n_correct_out;         /* (1,), zero; a score */
    void *logits_out;               /* (n, k) T; logits */
} request;

/* The kernels of a pair of types. Each returns a fastlin_status; there is at least one row. */
typedef struct {
    int rows, weights;     /* fastlin_type; NO_MORE after a table's last */
    int columns;           /* fastlin_type of sparse rows' columns, or NO_COLUMNS: dense */
    bool matrix_unit;      /* whether it multiplies; such kernels make no passes */
    bool classes_in_lanes; /* whether vectors hold classes */
    int (*descend)(const request *); /* steps, or the gradient over all rows */
    int (*pass)(const request *);    /* the score of all rows, or their logits */
} kernels;
enum { NO_COLUMNS = -1, NO_MORE = -1 };

/* Bytes of a number of a fastlin_type. */
INLINE int64_t type_bytes(int type) {
    switch (type) {
    case FASTLIN_UINT8:
    case FASTLIN_INT8:
        return 1;
    case FASTLIN_FLOAT16:
        return 2;
    case FASTLIN_FLOAT32:
    case FASTLIN_INT32:
        return 4;
    default:
        return 8;
    }
}

INLINE int64_t row_at(const request *ask, int64_t position) {
    return ask->order ? ask->order[position] : position;
}

/* Whether the request is for the score or the logits of all rows. */
INLINE bool is_pass(const request *ask) {
    return !ask->options && !ask->weights_gradient_out;
}

/* Rows of the batch that begins at a position: 0 after the last. */
INLINE int64_t batch_rows(const request *ask, int64_t first) {
    return first < ask->n_order ? at_most(ask->n_order - first, ask->batch_size) : 0;
}

/* The factor of a row's loss: its weight over the divisor. */
INLINE double weight_of_row(const request *ask, int64_t row, double divisor) {
    return (ask->samples->sample_weight ? ask->samples->sample_weight[row] : 1) / divisor;
}

#endif
