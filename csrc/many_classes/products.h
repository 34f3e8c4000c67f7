/* The micro-kernels of many classes: a group of rows, or of features, against a slice of classes.
 *
 * Both products, rows by weights and rows by residuals, are sums of GROUP numbers of rows by the
 * vectors of a slice, so one loop serves both. Its sums stay in registers, and each step loads the
 * slice's vectors once and broadcasts each number once. */

/* Add products to sums [number][vector]. numbers: those of a step are `next` apart, and those of
 * the next step begin `step` further on. vectors: (n_steps, width) of them. */
INLINE void NAME(add_products)(const int width, const int next, const int step, int64_t n_steps,
                               const WEIGHT *numbers, const WEIGHT *vectors, V *sums) {
    for (int64_t i = 0; i < n_steps; i++, numbers += step, vectors += width * LANES) {
        V of_slice[MOST_WIDE];
        UNROLL for (int v = 0; v < width; v++) {
            of_slice[v] = *(const V *)(vectors + v * LANES);
            KEEP_IN_REGISTER(of_slice[v]);
        }
        UNROLL for (int n = 0; n < GROUP; n++) {
            V number = NAME(splat)(numbers[n * next]);
            KEEP_IN_REGISTER(number);
            UNROLL for (int v = 0; v < width; v++)
                sums[n * width + v] += number * of_slice[v];
        }
    }
}

/* Features over which one register sums up products: longer sums round more. */
#define FEATURES_OF_A_SUM 512

/* Logits of a group of rows, [feature][row], for a slice: out [row][class]. */
INLINE void NAME(group_logits)(const int width, int64_t d, const WEIGHT *rows,
                               const WEIGHT *weights, WEIGHT *out) {
    for (int64_t first = 0; first < d; first += FEATURES_OF_A_SUM) {
        V sums[GROUP * MOST_WIDE];
        UNROLL for (int i = 0; i < GROUP * width; i++)
            sums[i] = (V){0};
        NAME(add_products)(width, 1, GROUP, at_most(d - first, FEATURES_OF_A_SUM),
                           rows + first * GROUP, weights + first * width * LANES, sums);
        UNROLL for (int i = 0; i < GROUP * width; i++) {
            V *to = (V *)(out + i * LANES);
            if (first) sums[i] += *to;
            *to = sums[i];
        }
    }
}

/* Lines of the next panel's rows to be fetched bit by bit: a burst would stall. */
typedef struct {
    const request *ask;
    int64_t position, stop; /* of rows */
    int64_t byte, n_bytes;  /* of a row */
    int64_t at_once;
} NAME(fetcher);

INLINE const char *NAME(address_of)(const request *ask, int64_t position) {
    return (const char *)ask->samples->rows + row_at(ask, position) * ask->samples->row_stride;
}

INLINE void NAME(fetch)(NAME(fetcher) * next) {
    for (int64_t i = 0; i < next->at_once && next->position < next->stop; i++) {
        __builtin_prefetch(NAME(address_of)(next->ask, next->position) + next->byte, 0, 2);
        next->byte += CACHE_LINE;
        if (next->byte >= next->n_bytes) next->byte = 0, next->position++;
    }
}

/* residual^T x of a group of features, for a slice: sums_out [feature][class]. rows: at these
 * features of the first group of rows; the next group's are `stride` further on. */
INLINE void NAME(group_gradient)(const int width, int64_t n_groups, int64_t stride,
                                 const WEIGHT *rows, const WEIGHT *residual, NAME(fetcher) * next,
                                 V *sums_out) {
    V sums[GROUP * MOST_WIDE];
    UNROLL for (int i = 0; i < GROUP * width; i++)
        sums[i] = (V){0};
    for (int64_t g = 0; g < n_groups; g++) {
        UNROLL for (int i = 0; i < GROUP * GROUP * (int)sizeof(WEIGHT) / CACHE_LINE; i++)
            __builtin_prefetch((const char *)(rows + GROUP * GROUP) + i * CACHE_LINE, 0, 3);
        NAME(fetch)(next);
        NAME(add_products)(width, GROUP, 1, GROUP, rows, residual, sums);
        rows += stride;
        residual += GROUP * width * LANES;
    }
    UNROLL for (int i = 0; i < GROUP * width; i++)
        sums_out[i] = sums[i];
}
