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

/* Logits of a group of rows of a bundle, for a slice: out [row][class]. */
INLINE void NAME(group_logits)(const int width, int64_t d, const WEIGHT *rows,
                               const WEIGHT *weights, WEIGHT *out) {
    for (int64_t first = 0; first < d; first += FEATURES_OF_A_SUM) {
        V sums[GROUP * MOST_WIDE];
        UNROLL for (int i = 0; i < GROUP * width; i++)
            sums[i] = (V){0};
        NAME(add_products)(width, 1, BUNDLE, at_most(d - first, FEATURES_OF_A_SUM),
                           rows + first * BUNDLE, weights + first * width * LANES, sums);
        UNROLL for (int i = 0; i < GROUP * width; i++) {
            V *to = (V *)(out + i * LANES);
            if (first) sums[i] += *to;
            *to = sums[i];
        }
    }
}

/* residual^T x of a group of features, for a slice: sums_out [feature][class]. rows: at these
 * features of the first bundle of rows; the next bundle's are `stride` further on. */
INLINE void NAME(group_gradient)(const int width, int64_t n_bundles, int64_t stride,
                                 const WEIGHT *rows, const WEIGHT *residual,
                                 NAME(fetcher) * fetcher, V *sums_out) {
    V sums[GROUP * MOST_WIDE];
    UNROLL for (int i = 0; i < GROUP * width; i++)
        sums[i] = (V){0};
    for (int64_t b = 0; b < n_bundles; b++) {
        UNROLL for (int i = 0; i < GROUP * BUNDLE * (int)sizeof(WEIGHT) / CACHE_LINE; i++)
            __builtin_prefetch((const char *)(rows + GROUP * BUNDLE) + i * CACHE_LINE, 0, 3);
        if (b % BUNDLES_OF_A_FETCH == 0) NAME(fetch)(fetcher);
        NAME(add_products)(width, BUNDLE, 1, BUNDLE, rows, residual, sums);
        rows += stride;
        residual += BUNDLE * width * LANES;
    }
    UNROLL for (int i = 0; i < GROUP * width; i++)
        sums_out[i] = sums[i];
}
