/* Sums over the non-zeros of a row, and a row's products added to its features.
 *
 * Both work on runs of vectors. The weights and velocities of a feature are next to each other, so
 * n vectors of classes may be n / 2 of weights and n / 2 of velocities.
 */

/* Maximum number of vectors whose sums stay in registers. */
#if REGISTERS >= 32
#define MOST_VECTORS 8
#define EACH_WIDTH(CASE) CASE(8) CASE(7) CASE(6) CASE(5) CASE(4) CASE(3) CASE(2) CASE(1)
#else
#define MOST_VECTORS 6
#define EACH_WIDTH(CASE) CASE(6) CASE(5) CASE(4) CASE(3) CASE(2) CASE(1)
#endif

/* Some non-zeros of a row. */
typedef struct {
    const WEIGHT *values;
    const COLUMN *columns;
    int64_t count;
} NAME(non_zeros);

INLINE NAME(non_zeros) NAME(non_zeros_at)(const RUN *run, int64_t start, int64_t stop) {
    return (NAME(non_zeros)){run->values + start, run->columns + start, stop - start};
}

/* Of the row at a position, or none after `stop`. */
INLINE NAME(non_zeros) NAME(row_from)(const RUN *run, int64_t position, int64_t stop) {
    if (position >= stop) return NAME(non_zeros_at)(run, 0, 0);
    int64_t row = row_at(run->ask, position);
    return NAME(non_zeros_at)(run, run->row_starts[row], run->row_starts[row + 1]);
}

/* Prefetch the stored values and columns of a row. */
INLINE void NAME(touch_row)(NAME(non_zeros) row) {
    for (int64_t s = 0; s < row.count; s += CACHE_LINE / sizeof(WEIGHT)) {
        __builtin_prefetch(row.values + s, 0, 3);
        __builtin_prefetch(row.columns + s, 0, 3);
        if (sizeof(COLUMN) > sizeof(WEIGHT))
            __builtin_prefetch(row.columns + s + CACHE_LINE / sizeof(COLUMN), 0, 3);
    }
}

/* Prefetch n numbers of the feature of a non-zero of the next row. */
INLINE void NAME(touch)(const int64_t n, const WEIGHT *of_features, int64_t feature_size,
                        const NAME(non_zeros) * next, int64_t s) {
    if (s >= next->count) return;
    const char *at = (const char *)(of_features + (int64_t)next->columns[s] * feature_size);
    UNROLL for (int64_t byte = 0; byte < n * (int64_t)sizeof(WEIGHT); byte += CACHE_LINE)
        __builtin_prefetch(at + byte, 1, 3);
}

/* out (n * LANES): the sum of value * n vectors of its feature, from `state` on. */
INLINE void NAME(dot)(const int n, NAME(non_zeros) row, NAME(non_zeros) next, const WEIGHT *state,
                      int64_t feature_size, WEIGHT *out) {
    /* Neighbours have separate sums, so that a product need not wait for the one before. */
    const int n_sets = n == 1 ? 4 : 2 * n <= MOST_VECTORS ? 2 : 1;
    V sums[MOST_VECTORS];
    UNROLL for (int i = 0; i < n * n_sets; i++)
        sums[i] = (V){0};
    int64_t s = 0;
    for (; s + n_sets <= row.count; s += n_sets) {
        UNROLL for (int set = 0; set < n_sets; set++) {
            NAME(touch)(n * LANES, state, feature_size, &next, s + set);
            V x = NAME(splat)(row.values[s + set]);
            const WEIGHT *w = state + (int64_t)row.columns[s + set] * feature_size;
            UNROLL for (int v = 0; v < n; v++)
                sums[set * n + v] += x * *(const V *)(w + v * LANES);
        }
    }
    for (; s < row.count; s++) {
        V x = NAME(splat)(row.values[s]);
        const WEIGHT *w = state + (int64_t)row.columns[s] * feature_size;
        UNROLL for (int v = 0; v < n; v++)
            sums[v] += x * *(const V *)(w + v * LANES);
    }
    for (s = row.count / n_sets * n_sets; s < next.count; s++)
        NAME(touch)(n * LANES, state, feature_size, &next, s);
    UNROLL for (int v = 0; v < n; v++) {
        UNROLL for (int set = 1; set < n_sets; set++)
            sums[v] += sums[set * n + v];
        *(V *)(out + v * LANES) = sums[v];
    }
}

/* The same for one class: out (n), of n numbers of each feature. */
INLINE void NAME(dot_of_one)(const int n, NAME(non_zeros) row, NAME(non_zeros) next,
                             const WEIGHT *state, int64_t feature_size, WEIGHT *out) {
    enum { N_SETS = 8 };
    WEIGHT sums[2 * N_SETS] = {0};
    int64_t s = 0;
    for (; s + N_SETS <= row.count; s += N_SETS) {
        UNROLL for (int i = 0; i < N_SETS; i++) {
            NAME(touch)(n, state, feature_size, &next, s + i);
            const WEIGHT *w = state + (int64_t)row.columns[s + i] * feature_size;
            UNROLL for (int a = 0; a < n; a++)
                sums[a * N_SETS + i] += row.values[s + i] * w[a];
        }
    }
    for (; s < row.count; s++) {
        const WEIGHT *w = state + (int64_t)row.columns[s] * feature_size;
        UNROLL for (int a = 0; a < n; a++)
            sums[a * N_SETS + s % N_SETS] += row.values[s] * w[a];
    }
    UNROLL for (int a = 0; a < n; a++) {
        const WEIGHT *t = sums + a * N_SETS;
        out[a] = ((t[0] + t[4]) + (t[2] + t[6])) + ((t[1] + t[5]) + (t[3] + t[7]));
    }
}

/* n vectors of each feature, from `target` on, += gain * value * factors (n * LANES). */
INLINE void NAME(scatter)(const int n, const bool gained, NAME(non_zeros) row, NAME(non_zeros) next,
                          const WEIGHT *factors, const WEIGHT *gain, WEIGHT *target,
                          int64_t feature_size) {
    V r[MOST_VECTORS];
    UNROLL for (int v = 0; v < n; v++)
        r[v] = *(const V *)(factors + v * LANES);
    for (int64_t s = 0; s < row.count; s++) {
        NAME(touch)(n * LANES, target, feature_size, &next, s);
        V x = NAME(splat)(gained ? row.values[s] * gain[row.columns[s]] : row.values[s]);
        WEIGHT *t = target + (int64_t)row.columns[s] * feature_size;
        UNROLL for (int v = 0; v < n; v++)
            *(V *)(t + v * LANES) += x * r[v];
    }
    for (int64_t s = row.count; s < next.count; s++)
        NAME(touch)(n * LANES, target, feature_size, &next, s);
}

/* The same for one class: n numbers of each feature. */
INLINE void NAME(scatter_one)(const int n, const bool gained, NAME(non_zeros) row,
                              NAME(non_zeros) next, const WEIGHT *factors, const WEIGHT *gain,
                              WEIGHT *target, int64_t feature_size) {
    WEIGHT r[3];
    UNROLL for (int a = 0; a < n; a++)
        r[a] = factors[a];
    for (int64_t s = 0; s < row.count; s++) {
        NAME(touch)(n, target, feature_size, &next, s);
        WEIGHT x = gained ? row.values[s] * gain[row.columns[s]] : row.values[s];
        WEIGHT *t = target + (int64_t)row.columns[s] * feature_size;
        UNROLL for (int a = 0; a < n; a++)
            t[a] += x * r[a];
    }
}

/* Sums of a row over the first n numbers of each feature: out (n), in whole vectors unless there is
 * one class. */
static void NAME(row_sums)(const RUN *run, NAME(non_zeros) row, NAME(non_zeros) next, WEIGHT *out) {
    const SHAPE *shape = &run->shape;
    int64_t size = shape->feature_size, n_vectors = shape->n_read * shape->stride / LANES;
    if (shape->stride == 1) {
        if (shape->n_read == 1 && size == 1)
            NAME(dot_of_one)(1, row, next, run->state, 1, out);
        else if (shape->n_read == 1)
            NAME(dot_of_one)(1, row, next, run->state, size, out);
        else
            NAME(dot_of_one)(2, row, next, run->state, size, out);
        return;
    }
    for (int64_t first = 0; first < n_vectors; first += MOST_VECTORS) {
        const WEIGHT *state = run->state + first * LANES;
        switch (n_vectors - first) {
        default: /* the widest */
#define CASE(n)                                                    \
    case n:                                                        \
        NAME(dot)(n, row, next, state, size, out + first * LANES); \
        break;
            EACH_WIDTH(CASE)
#undef CASE
        }
    }
}

/* Add a row's products with `factors` (n) to n numbers of each of its features. */
INLINE void NAME(add_row_with)(const bool gained, int64_t n, NAME(non_zeros) row,
                               NAME(non_zeros) next, const WEIGHT *factors, const WEIGHT *gain,
                               WEIGHT *target) {
    if (n <= 3) { /* one class, and a number of each array */
        if (n == 1)
            NAME(scatter_one)(1, gained, row, next, factors, gain, target, 1);
        else if (n == 2)
            NAME(scatter_one)(2, gained, row, next, factors, gain, target, 2);
        else
            NAME(scatter_one)(3, gained, row, next, factors, gain, target, 3);
        return;
    }
    for (int64_t first = 0; first < n / LANES; first += MOST_VECTORS) {
        switch (n / LANES - first) {
        default: /* the widest */
#define CASE(width)                                                            \
    case width:                                                                \
        NAME(scatter)(width, gained, row, next, factors + first * LANES, gain, \
                      target + first * LANES, n);                              \
        break;
            EACH_WIDTH(CASE)
#undef CASE
        }
    }
}

static void NAME(add_row)(int64_t n, NAME(non_zeros) row, NAME(non_zeros) next,
                          const WEIGHT *factors, const WEIGHT *gain, WEIGHT *target) {
    if (gain)
        NAME(add_row_with)(true, n, row, next, factors, gain, target);
    else
        NAME(add_row_with)(false, n, row, next, factors, gain, target);
}
