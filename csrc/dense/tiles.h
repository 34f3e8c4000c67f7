/* Micro-kernels of dense rows: a block of classes against a few rows, or a few vectors of features,
 * whose sums of products stay in registers from the first to the last.
 */

/* Shapes: classes in a block, rows at once in phase A, vectors at once in phase C. The sums
 * (classes x rows, classes x vectors) must leave registers for operands. */
#if REGISTERS >= 32
#define EACH_SHAPE(CASE) \
    CASE(1, 8, 8)        \
    CASE(2, 8, 8)        \
    CASE(3, 8, 8) CASE(4, 4, 4) CASE(5, 4, 4) CASE(6, 4, 4) CASE(8, 2, 2) CASE(10, 2, 2)
#else
#define EACH_SHAPE(CASE) \
    CASE(1, 8, 8) CASE(2, 4, 4) CASE(3, 4, 4) CASE(4, 2, 2) CASE(5, 2, 2) CASE(6, 2, 2)
#endif
#define MOST_SUMS 24
#define MOST_AT_ONCE 8

/* Logits of n_rows rows for one block of classes, from one run of vectors of features.
 *
 * rows: at their first features; entries n_rows .. 2 n_rows - 1 are rows that are next.
 * first_column: where the run begins, with n_full vectors; tail_column: where the last vector of
 * all begins, if the run ends with it, else -1. block_weights: [vector][class][lane] of the run.
 * streamed: whether the rows come from main memory. Then those that are next are prefetched to the
 * second-level cache, for which there may be more requests at a time than for the first.
 * out: [class][PANEL] at the first of these rows. */
INLINE void NAME(logit_kernel)(const int block, const int n_rows, const bool streamed,
                               const ROW *const *rows, int64_t first_column, int64_t n_full,
                               int64_t tail_column, const WEIGHT *block_weights, WEIGHT *out) {
    V sums[MOST_SUMS];
    const ROW *at[MOST_AT_ONCE]; /* where the run begins in each row */
    UNROLL for (int i = 0; i < block * n_rows; i++)
        sums[i] = (V){0};
    UNROLL for (int s = 0; s < n_rows; s++)
        at[s] = rows[s] + first_column;
    const WEIGHT *w = block_weights; /* the block's weights for the next vector */
    for (int64_t v = 0; v < n_full; v++) {
        V x[MOST_AT_ONCE];
        UNROLL for (int s = 0; s < n_rows; s++)
            x[s] = NAME(load_row)(ROW_TYPE, at[s] + v * LANES);
        UNROLL for (int s = 0; s < n_rows; s++) {
            const ROW *next = rows[n_rows + s] + first_column + v * LANES;
            if (streamed)
                __builtin_prefetch(next, 0, 2);
            else
                __builtin_prefetch(next, 0, 3);
        }
        UNROLL for (int c = 0; c < block; c++) {
            V weight = *(const V *)(w + c * LANES);
            KEEP_IN_REGISTER(weight);
            UNROLL for (int s = 0; s < n_rows; s++)
                sums[c * n_rows + s] += x[s] * weight;
        }
        w += block * LANES;
    }
    if (tail_column >= 0) {
        UNROLL for (int s = 0; s < n_rows; s++) {
            V x = NAME(load_row)(ROW_TYPE, rows[s] + tail_column);
            UNROLL for (int c = 0; c < block; c++)
                sums[c * n_rows + s] += x * *(const V *)(w + c * LANES);
        }
    }
    WEIGHT flat[MOST_SUMS + LANES] __attribute__((aligned(VECTOR_BYTES)));
    UNROLL for (int first = 0; first < block * n_rows; first += LANES) {
        V chunk[LANES];
        const int left = block * n_rows - first, count = left < LANES ? left : LANES;
        const int cycle = count > 8 ? 16 : count > 4 ? 8 : count > 2 ? 4 : count > 1 ? 2 : 1;
        /* If there are fewer sums than lanes, they repeat, and the compiler folds them once. */
        UNROLL for (int i = 0; i < LANES; i++)
            chunk[i] = i % cycle < count ? sums[first + i % cycle] : sums[first];
        *(V *)(flat + first) = NAME(sum_each)(chunk);
    }
    UNROLL for (int c = 0; c < block; c++)
        memcpy(out + c * PANEL, flat + c * n_rows, n_rows * sizeof(WEIGHT));
}

/* residual^T x over the rows of a panel, for one block of classes and n_wide vectors of features.
 *
 * residual: [class][PANEL] of the block; weights: [vector][class][lane], which the sums will
 * change; sums_out: [vector][class]. Prefetches these weights and, along the way, the same features
 * of the next panel's rows, one cache line at a time. */
INLINE void NAME(gradient_kernel)(const int block, const int n_wide, const ROW *const *rows,
                                  const ROW *const *next_rows, int64_t column, int64_t n_rows,
                                  const WEIGHT *residual, const WEIGHT *weights, V *sums_out) {
    enum { BYTES = LANES * sizeof(ROW) };
    V sums[MOST_SUMS];
    UNROLL for (int i = 0; i < block * n_wide; i++)
        sums[i] = (V){0};
    for (int i = 0; i < block * n_wide; i++) __builtin_prefetch(weights + i * LANES, 1, 3);
    for (int64_t i = 0; i < n_rows; i++) {
        V x[MOST_AT_ONCE];
        UNROLL for (int v = 0; v < n_wide; v++)
            x[v] = NAME(load_row)(ROW_TYPE, rows[i] + column + v * LANES);
        UNROLL for (int byte = 0; byte < n_wide * BYTES; byte += 64)
            __builtin_prefetch((const char *)(next_rows[i] + column) + byte, 0, 2);
        UNROLL for (int c = 0; c < block; c++) {
            V r = NAME(splat)(residual[c * PANEL + i]);
            KEEP_IN_REGISTER(r);
            UNROLL for (int v = 0; v < n_wide; v++)
                sums[v * block + c] += x[v] * r;
        }
    }
    UNROLL for (int i = 0; i < block * n_wide; i++)
        sums_out[i] = sums[i];
}
