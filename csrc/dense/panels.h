/* The phases that multiply, A and C, by the micro-kernels of tiles.h. */

/* Whether there are micro-kernels for the blocking, on which memory and loops depend. */
static bool NAME(is_sane)(const request *ask) {
    const fastlin_blocking *blocking = ask->blocking;
    switch (blocking->block) {
#define CASE(block, n_at_once, n_wide) case block:
        EACH_SHAPE(CASE)
#undef CASE
        return blocking->n_slices > 0 && blocking->n_threads > 0;
    }
    return false;
}

INLINE void NAME(slice_logits_of)(const int block, const int n_at_once, const bool streamed,
                                  const RUN *run, const ROW *const *rows, int64_t first_row,
                                  int64_t stop_row, int64_t slice, WEIGHT *out) {
    const SHAPE *shape = &run->shape;
    int64_t first_vector = NAME(slice_bound)(shape, slice);
    int64_t stop_vector = NAME(slice_bound)(shape, slice + 1);
    int64_t n_whole = at_most(stop_vector, NAME(n_whole)(shape));
    int64_t tail_column = n_whole < stop_vector ? NAME(column)(shape, n_whole) : -1;
    for (int64_t b = 0; b < shape->n_blocks; b++) {
        const WEIGHT *w = run->weights + (b * shape->n_vectors + first_vector) * block * LANES;
        for (int64_t i = first_row; i < stop_row; i += n_at_once)
            NAME(logit_kernel)(block, n_at_once, streamed, rows + i, first_vector * LANES,
                               n_whole - first_vector, tail_column, w, out + b * block * PANEL + i);
    }
}

/* Sums over a slice for rows first_row .. stop_row - 1, rounded up to the number of rows of the
 * micro-kernel (`rows` has entries for them). streamed: see tiles.h. out: [class][PANEL]. */
INLINE void NAME(slice_logits)(const bool streamed, const RUN *run, const ROW *const *rows,
                               int64_t first_row, int64_t stop_row, int64_t slice, WEIGHT *out) {
    switch (run->shape.block) {
#define CASE(block, n_at_once, n_wide)                                                           \
    case block:                                                                                  \
        NAME(slice_logits_of)(block, n_at_once, streamed, run, rows, first_row, stop_row, slice, \
                              out);                                                              \
        break;
        EACH_SHAPE(CASE)
#undef CASE
    }
}

/* Phase A: out [slice][class][PANEL]. Threads get multiples of 8 rows, because micro-kernels take
 * 2, 4 or 8. */
static void NAME(partial_logits)(const RUN *run, OWN *own, const NAME(panel) * panel, WEIGHT *out) {
    const SHAPE *shape = &run->shape;
    const slices *part = &own->part.of;
    int64_t eights = (panel->n_rows + 7) / 8;
    for (int64_t s = part->first; s < part->stop; s++)
        NAME(slice_logits)(false, run, panel->rows, eights * part->part / part->n_parts * 8,
                           eights * (part->part + 1) / part->n_parts * 8, s,
                           out + s * shape->k_padded * PANEL);
}

INLINE void NAME(gradient_of)(const int block, const int most_wide, const RUN *run, const OWN *own,
                              const NAME(panel) * panel, const ROW *const *next_rows) {
    const SHAPE *shape = &run->shape;
    V sums[MOST_SUMS];
    int64_t vector = own->part.first_vector, stop = own->part.stop_vector;
    int64_t stop_wide = at_most(stop, NAME(n_whole)(shape)) - most_wide;
    while (vector < stop) {
        int64_t column = NAME(column)(shape, vector);
        bool wide = vector <= stop_wide;
        for (int64_t b = 0; b < shape->n_blocks; b++) {
            const WEIGHT *residual = own->residual + b * block * PANEL;
            const WEIGHT *w = run->weights + (b * shape->n_vectors + vector) * block * LANES;
            if (wide) {
                NAME(gradient_kernel)(block, most_wide, panel->rows, next_rows, column,
                                      panel->n_rows, residual, w, sums);
                NAME(finish)(block, most_wide, run, own, panel, b * block, vector, sums);
            } else {
                NAME(gradient_kernel)(block, 1, panel->rows, next_rows, column, panel->n_rows,
                                      residual, w, sums);
                NAME(finish)(block, 1, run, own, panel, b * block, vector, sums);
            }
        }
        vector += wide ? most_wide : 1;
    }
}

/* Phase C for a thread's vectors. next_rows: the next panel's. */
static void NAME(gradient)(const RUN *run, OWN *own, const NAME(panel) * panel,
                           const ROW *const *next_rows) {
    switch (run->shape.block) {
#define CASE(block, n_at_once, n_wide)                                \
    case block:                                                       \
        NAME(gradient_of)(block, n_wide, run, own, panel, next_rows); \
        break;
        EACH_SHAPE(CASE)
#undef CASE
    }
}

/* What the matrix unit needs before and after a call. */
INLINE void NAME(begin)(const RUN *run, OWN *own) {
    (void)run, (void)own;
}
INLINE void NAME(end)(void) {}
