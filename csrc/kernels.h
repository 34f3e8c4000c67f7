/* The kernels, for one instruction set, one type of weights and one type of rows.
 *
 * A batch is worked off in tiles of TILE rows, each in three phases:
 *   A  partial logits   each slice of the features gives partial[slice][class][row]
 *   B  residual         logits, cross-entropy and its gradient by the logits, [class][row]
 *   C  gradient         a register tile of weights runs over the rows; with the batch's last tile
 *                       the weights are updated at once, so that no gradient is ever stored
 * Threads split the features: each keeps its part of the weights in its own cache, and they
 * exchange partial logits alone, at one barrier a tile. With more threads than slices a slice is
 * shared, its rows in phase A and its features in phase C.
 *
 * The slices depend on the shape and never on the threads, so the bits do not either.
 *
 * Packed weights: [class block][feature vector][class in block][lane], zero where there is no such
 * class. The last feature vector holds the last LANES features; lanes that it shares with the one
 * before are zero and stay zero (their gain and decay are). Rows shorter than a vector are copied.
 */

/* Rows that the phases take together. */
#define ROWS_AT_ONCE (INTEGER_TILES ? 64 : LANES)

typedef struct {
    /* What was asked for. */
    const fastlin_samples *samples;
    const fastlin_parameters *parameters;
    const fastlin_step_options *options; /* NULL: sum the gradient up, update nothing */
    const int64_t *order;                /* (n_order,) or NULL: 0, 1, 2, ... */
    int64_t n_order, batch_size;
    double *losses_out;
    /* Shapes. */
    int64_t d, k, n_vectors, n_slices, n_threads;
    int64_t block, n_blocks, k_padded;
    int64_t row_bytes;
    bool residual_shared;
    /* Shared by all threads. */
    barrier *meeting;
    WEIGHT *weights, *velocity, *average; /* packed */
    WEIGHT *shift, *decay, *gain;         /* (n_vectors * LANES) */
    WEIGHT *gradient;                     /* packed; a batch of several tiles */
    double *gradient_sum;                 /* packed; without options */
    WEIGHT *partial;                      /* [2 or 1][n_slices][k_padded][TILE] */
    WEIGHT *offset;                       /* [2][n_slices][k_padded] */
    WEIGHT *residual;                     /* [k_padded][TILE]; where it is shared */
    WEIGHT *losses;                       /* [TILE] */
    WEIGHT *intercept_out, *intercept_velocity_out, *intercept_average_out; /* (k_padded) */
    double *intercept_gradient_sum;       /* (k_padded) */
#if INTEGER_TILES
    int8_t *weight_digits;                /* see integer_tiles.h */
    WEIGHT *weight_unit;                  /* [n_slices][k_padded] */
#endif
} NAME(engine);
#define ENGINE NAME(engine)

/* One thread's share. */
typedef struct {
    int64_t thread;
    int64_t first_slice, stop_slice;   /* phase A */
    int64_t part, n_parts;             /* of the rows of that slice, where it is shared */
    int64_t first_vector, stop_vector; /* phase C */
    const ROW **rows[2];               /* [TILE] each; of this tile and of the next */
    ROW *short_rows[2];                /* [TILE][LANES] each; rows of fewer than LANES features */
    WEIGHT *row_weight;                /* [TILE] sample weight over batch size */
    WEIGHT *residual;                  /* [k_padded][TILE]: its own, or the shared one */
    WEIGHT *losses;                    /* [TILE]: likewise */
    WEIGHT *residual_sum;              /* (k_padded) over the batch */
    WEIGHT *intercept, *intercept_velocity, *intercept_average; /* (k_padded), its own copies */
#if INTEGER_TILES
    uint8_t *staged, *interleaved[2]; /* parts of this tile's rows; see integer_tiles.h */
    int8_t *residual_digits;
    WEIGHT *residual_unit;             /* (k_padded) */
#endif
} NAME(share);
#define SHARE NAME(share)

/* ---------------------------------------------------------------- layout */

/* First feature of a vector. */
INLINE int64_t NAME(column)(int64_t d, int64_t n_vectors, int64_t vector) {
    if (INTEGER_TILES || vector < n_vectors - 1 || d < LANES) return vector * LANES;
    return d - LANES;
}

/* Whether a lane of a vector holds a feature that no earlier vector holds. */
INLINE bool NAME(owns)(int64_t d, int64_t n_vectors, int64_t vector, int lane) {
    int64_t feature = NAME(column)(d, n_vectors, vector) + lane;
    return feature >= vector * LANES && feature < d;
}

/* Where the LANES weights of a class and a feature vector lie in packed weights. */
INLINE int64_t NAME(packed_at)(const ENGINE *e, int64_t c, int64_t vector) {
    int64_t in_block = c % e->block;
    return ((c - in_block) * e->n_vectors + vector * e->block + in_block) * LANES;
}

static void NAME(pack)(const ENGINE *e, WEIGHT *packed, const WEIGHT *weights) {
    for (int64_t c = 0; c < e->k; c++)
        for (int64_t v = 0; v < e->n_vectors; v++) {
            const WEIGHT *from = weights + c * e->d + NAME(column)(e->d, e->n_vectors, v);
            WEIGHT *to = packed + NAME(packed_at)(e, c, v);
            if (v * LANES + LANES <= e->d) {
                memcpy(to, from, LANES * sizeof(WEIGHT));
                continue;
            }
            for (int lane = 0; lane < LANES; lane++)
                to[lane] = NAME(owns)(e->d, e->n_vectors, v, lane) ? from[lane] : 0;
        }
}

static void NAME(unpack)(const ENGINE *e, WEIGHT *weights, const WEIGHT *packed) {
    for (int64_t c = 0; c < e->k; c++)
        for (int64_t v = 0; v < e->n_vectors; v++) {
            WEIGHT *to = weights + c * e->d + NAME(column)(e->d, e->n_vectors, v);
            const WEIGHT *from = packed + NAME(packed_at)(e, c, v);
            if (v * LANES + LANES <= e->d) {
                memcpy(to, from, LANES * sizeof(WEIGHT));
                continue;
            }
            for (int lane = 0; lane < LANES; lane++)
                if (NAME(owns)(e->d, e->n_vectors, v, lane)) to[lane] = from[lane];
        }
}

static void NAME(pack_features)(const ENGINE *e, WEIGHT *packed, const WEIGHT *features) {
    for (int64_t v = 0; v < e->n_vectors; v++)
        for (int lane = 0; lane < LANES; lane++)
            packed[v * LANES + lane] =
                NAME(owns)(e->d, e->n_vectors, v, lane)
                    ? features[NAME(column)(e->d, e->n_vectors, v) + lane]
                    : 0;
}

/* First feature vector of a slice; a multiple of the widest register tile but for the last. */
static int64_t NAME(slice_bound)(const ENGINE *e, int64_t slice) {
    if (slice >= e->n_slices) return e->n_vectors;
    return e->n_vectors * slice / e->n_slices / 8 * 8;
}

#if !INTEGER_TILES
/* ---------------------------------------------------------------- register tiles */

/* Logits of n_samples rows for one block of classes, from one run of feature vectors.
 * block_weights: [vector][class][lane] from the run's first vector on. rows point at the run's
 * first feature; tail_rows, where not NULL, at the row's first: the run ends with the tail.
 * out: [class][TILE] at the first of these rows. */
INLINE void NAME(logit_tile)(const int block, const int n_samples, const ROW *const *rows,
                             int64_t first_column, int64_t n_full, int64_t tail_column,
                             const WEIGHT *block_weights, WEIGHT *out) {
    V sums[24];
    const ROW *at[8];
    UNROLL for (int i = 0; i < block * n_samples; i++) sums[i] = (V){0};
    UNROLL for (int s = 0; s < n_samples; s++) at[s] = rows[s] + first_column;
    const WEIGHT *w = block_weights;
    for (int64_t v = 0; v < n_full; v++) {
        V x[8];
        UNROLL for (int s = 0; s < n_samples; s++) x[s] = NAME(load_row)(at[s] + v * LANES);
        UNROLL for (int s = 0; s < n_samples; s++)
            __builtin_prefetch(rows[n_samples + s] + first_column + v * LANES, 0, 3);
        UNROLL for (int c = 0; c < block; c++) {
            V weight = *(const V *)(w + c * LANES);
            KEEP_IN_REGISTER(weight);
            UNROLL for (int s = 0; s < n_samples; s++) sums[c * n_samples + s] += x[s] * weight;
        }
        w += block * LANES;
    }
    if (tail_column >= 0)
        UNROLL for (int s = 0; s < n_samples; s++) {
            V x = NAME(load_row)(rows[s] + tail_column);
            UNROLL for (int c = 0; c < block; c++)
                sums[c * n_samples + s] += x * *(const V *)(w + c * LANES);
        }
    WEIGHT flat[24 + LANES] __attribute__((aligned(VECTOR_BYTES)));
    UNROLL for (int first = 0; first < block * n_samples; first += LANES) {
        V chunk[LANES];
        const int count = block * n_samples - first < LANES ? block * n_samples - first : LANES;
        const int cycle = count > 8 ? 16 : count > 4 ? 8 : count > 2 ? 4 : count > 1 ? 2 : 1;
        /* Where there are fewer sums than lanes they repeat, and the compiler folds them once. */
        UNROLL for (int i = 0; i < LANES; i++)
            chunk[i] = i % cycle < count ? sums[first + i % cycle] : sums[first];
        *(V *)(flat + first) = NAME(sum_each)(chunk);
    }
    UNROLL for (int c = 0; c < block; c++)
        memcpy(out + c * TILE, flat + c * n_samples, n_samples * sizeof(WEIGHT));
}

/* residual^T x over the rows of a tile, for one block of classes and n_wide feature vectors.
 * sums_out: [vector][class]. Touches the next tile's rows where it goes, one line at a time, and
 * the weights, [vector][class], that will take the sums. */
INLINE void NAME(gradient_tile)(const int block, const int n_wide, const ROW *const *rows,
                                const ROW *const *next_rows, int64_t column, int64_t n_rows,
                                const WEIGHT *residual, const WEIGHT *weights, V *sums_out) {
    enum { BYTES = LANES * sizeof(ROW) };
    V sums[24];
    UNROLL for (int i = 0; i < block * n_wide; i++) sums[i] = (V){0};
    for (int i = 0; i < block * n_wide; i++) __builtin_prefetch(weights + i * LANES, 1, 3);
    for (int64_t i = 0; i < n_rows; i++) {
        V x[8];
        UNROLL for (int v = 0; v < n_wide; v++)
            x[v] = NAME(load_row)(rows[i] + column + v * LANES);
        UNROLL for (int byte = 0; byte < n_wide * BYTES; byte += 64)
            __builtin_prefetch((const char *)(next_rows[i] + column) + byte, 0, 2);
        UNROLL for (int c = 0; c < block; c++) {
            V r = NAME(splat)(residual[c * TILE + i]);
            KEEP_IN_REGISTER(r);
            UNROLL for (int v = 0; v < n_wide; v++) sums[v * block + c] += x[v] * r;
        }
    }
    UNROLL for (int i = 0; i < block * n_wide; i++) sums_out[i] = sums[i];
}

/* ---------------------------------------------------------------- phase A */

INLINE void NAME(slice_logits_of)(const int block, const int n_samples, const ENGINE *e,
                                  const ROW *const *rows, int64_t first_row, int64_t stop_row,
                                  int64_t first_vector, int64_t stop_vector, WEIGHT *out) {
    bool tail = stop_vector == e->n_vectors && e->d % LANES != 0 && e->d > LANES;
    int64_t n_full = stop_vector - first_vector - (tail ? 1 : 0);
    for (int64_t b = 0; b < e->n_blocks; b++) {
        const WEIGHT *w = e->weights + (b * e->n_vectors + first_vector) * block * LANES;
        for (int64_t i = first_row; i < stop_row; i += n_samples)
            NAME(logit_tile)(block, n_samples, rows + i, first_vector * LANES, n_full,
                             tail ? e->d - LANES : -1, w, out + b * block * TILE + i);
    }
}

/* Partial logits of rows first_row .. stop_row - 1 (rounded up to whole register tiles, for which
 * rows has entries) from a run of feature vectors. out: [class][TILE]. */
static void NAME(slice_logits)(const ENGINE *e, const ROW *const *rows, int64_t first_row,
                               int64_t stop_row, int64_t first_vector, int64_t stop_vector,
                               WEIGHT *out) {
    switch (e->block) {
#define CASE(block, n_samples, n_wide)                                                          \
    case block:                                                                                 \
        NAME(slice_logits_of)(block, n_samples, e, rows, first_row, stop_row, first_vector,     \
                              stop_vector, out);                                                \
        break;
        REGISTER_TILES(CASE)
#undef CASE
    }
}
#endif

/* What the shift takes off every logit, from a run of feature vectors: out (k_padded). */
static void NAME(slice_offset)(const ENGINE *e, int64_t first_vector, int64_t stop_vector,
                               WEIGHT *out) {
    for (int64_t c = 0; c < e->k; c++) {
        V sum = {0};
        const WEIGHT *w = e->weights + NAME(packed_at)(e, c, first_vector);
        for (int64_t v = first_vector; v < stop_vector; v++, w += e->block * LANES)
            sum += *(const V *)w * *(const V *)(e->shift + v * LANES);
        out[c] = NAME(sum)(sum);
    }
}

/* ---------------------------------------------------------------- phase B */

/* Logits of rows first_row .. stop_row - 1 (whole vectors) from n_slices partial sums; their
 * losses; and, where `gradient`, the loss's gradient in place of the logits. All arrays but
 * labels [class][TILE] or [TILE]; labels are those of the tile, n_rows of them. */
static void NAME(cross_entropy)(const ENGINE *e, const WEIGHT *partial, const WEIGHT *offset,
                                int64_t n_slices, const WEIGHT *intercept,
                                const WEIGHT *row_weight, const int32_t *labels, int64_t n_rows,
                                int64_t first_row, int64_t stop_row, bool gradient,
                                WEIGHT *residual, WEIGHT *losses) {
    const V one = NAME(splat)(1);
    const V zero = NAME(splat)(0);
    for (int64_t i = first_row; i < stop_row; i += LANES) {
        V largest = NAME(splat)(-INFINITY);
        for (int64_t c = 0; c < e->k; c++) {
            WEIGHT constant = intercept[c];
            for (int64_t s = 0; s < n_slices; s++) constant -= offset[s * e->k_padded + c];
            V z = *(const V *)(partial + c * TILE + i);
            for (int64_t s = 1; s < n_slices; s++)
                z += *(const V *)(partial + (s * e->k_padded + c) * TILE + i);
            z += constant;
            *(V *)(residual + c * TILE + i) = z;
            largest = NAME(largest)(z, largest);
        }
        V weight = *(const V *)(row_weight + i);
        if (e->k == 1) {
            V z = *(const V *)(residual + i);
            V y = zero;
            for (int lane = 0; lane < LANES && i + lane < n_rows; lane++)
                y[lane] = (WEIGHT)labels[i + lane];
            V small = NAME(exp)(NAME(select)(z > zero, -z, z));
            V sum = one + small;
            /* log1p(small): the second term is what rounding took from the sum. */
            V softplus = NAME(largest)(z, zero) + NAME(log)(sum) + (small - (sum - one)) / sum;
            *(V *)(losses + i) = weight * (softplus - y * z);
            if (gradient)
                *(V *)(residual + i) =
                    weight * (NAME(select)(z >= zero, one, small) / sum - y);
            continue;
        }
        WEIGHT of_label[LANES] __attribute__((aligned(VECTOR_BYTES))) = {0};
        for (int lane = 0; lane < LANES && i + lane < n_rows; lane++)
            of_label[lane] = residual[labels[i + lane] * TILE + i + lane];
        V total = zero;
        for (int64_t c = 0; c < e->k; c++) {
            V exponential = NAME(exp)(*(const V *)(residual + c * TILE + i) - largest);
            if (gradient) *(V *)(residual + c * TILE + i) = exponential;
            total += exponential;
        }
        *(V *)(losses + i) = weight * (NAME(log)(total) + (largest - *(const V *)of_label));
        if (!gradient) continue;
        V factor = weight / total;
        for (int64_t c = 0; c < e->k; c++) *(V *)(residual + c * TILE + i) *= factor;
        for (int lane = 0; lane < LANES && i + lane < n_rows; lane++)
            residual[labels[i + lane] * TILE + i + lane] -= row_weight[i + lane];
    }
}

/* ---------------------------------------------------------------- phase C */

/* Finish one register tile of the gradient: keep it for the batch's next tile, add it to the sums,
 * or step. sums: [vector][class]; n_classes are part of a block, or all of it where n_wide > 1. */
INLINE void NAME(finish)(const int n_classes, const int n_wide, const ENGINE *e,
                         const SHARE *share, int64_t step, int64_t first_class, int64_t vector,
                         bool first, bool last, const V *sums) {
    int64_t at = NAME(packed_at)(e, first_class, vector);
    const fastlin_step_options *options = e->options;
    WEIGHT *weights = e->weights, *velocities = e->velocity, *averages = e->average;
    WEIGHT rate = options ? (WEIGHT)options->learning_rates[step] : 0;
    WEIGHT momentum = options ? (WEIGHT)options->momentum : 0;
    WEIGHT part = averages ? (WEIGHT)options->average_rates[step] : 0;
    bool nesterov = options && options->nesterov;
    for (int i = 0; i < n_classes * n_wide; i++, at += LANES) {
        V sum = sums[i];
        if (!options) {
            for (int lane = 0; lane < LANES; lane++) e->gradient_sum[at + lane] += sum[lane];
            continue;
        }
        if (!first) sum += *(const V *)(e->gradient + at);
        if (!last) {
            *(V *)(e->gradient + at) = sum;
            continue;
        }
        int64_t lanes = (vector + i / n_classes) * LANES;
        V residual_sum = NAME(splat)(share->residual_sum[first_class + i % n_classes]);
        V w = *(const V *)(weights + at);
        V step_gradient =
            *(const V *)(e->gain + lanes) * (sum - residual_sum * *(const V *)(e->shift + lanes)) +
            *(const V *)(e->decay + lanes) * w;
        V direction = step_gradient;
        if (velocities) {
            V velocity = *(const V *)(velocities + at) * momentum + step_gradient;
            *(V *)(velocities + at) = velocity;
            direction = velocity;
            if (nesterov) direction = step_gradient + velocity * momentum;
        }
        w -= direction * rate;
        *(V *)(weights + at) = w;
        if (averages) {
            V average = *(const V *)(averages + at);
            *(V *)(averages + at) = average + (w - average) * part;
        }
    }
}

#if INTEGER_TILES
#include "integer_tiles.h"
#else
INLINE void NAME(gradient_of)(const int block, const int n_wide, const ENGINE *e,
                              const SHARE *share, const ROW *const *rows,
                              const ROW *const *next_rows, int64_t n_rows, int64_t step,
                              bool first, bool last) {
    V sums[24];
    int64_t vector = share->first_vector;
    int64_t n_aligned = e->n_vectors - (e->d % LANES != 0 && e->d > LANES ? 1 : 0);
    while (vector < share->stop_vector) {
        int64_t column = NAME(column)(e->d, e->n_vectors, vector);
        bool wide = vector + n_wide <= share->stop_vector && vector + n_wide <= n_aligned;
        for (int64_t b = 0; b < e->n_blocks; b++) {
            const WEIGHT *residual = share->residual + b * block * TILE;
            const WEIGHT *w = e->weights + (b * e->n_vectors + vector) * block * LANES;
            if (wide) {
                NAME(gradient_tile)(block, n_wide, rows, next_rows, column, n_rows, residual, w,
                                    sums);
                NAME(finish)(block, n_wide, e, share, step, b * block, vector, first, last, sums);
            } else {
                NAME(gradient_tile)(block, 1, rows, next_rows, column, n_rows, residual, w, sums);
                NAME(finish)(block, 1, e, share, step, b * block, vector, first, last, sums);
            }
        }
        vector += wide ? n_wide : 1;
    }
}

static void NAME(gradient)(const ENGINE *e, SHARE *share, const ROW *const *rows,
                           const ROW *const *next_rows, int64_t n_rows, int64_t step, bool first,
                           bool last) {
    switch (e->block) {
#define CASE(block, n_samples, n_wide)                                                          \
    case block:                                                                                 \
        NAME(gradient_of)(block, n_wide, e, share, rows, next_rows, n_rows, step, first, last); \
        break;
        REGISTER_TILES(CASE)
#undef CASE
    }
}
#endif

/* The intercept's part of a step; every thread does it for its own copy. */
static void NAME(step_intercept)(const ENGINE *e, SHARE *share, int64_t step) {
    const fastlin_step_options *options = e->options;
    for (int64_t c = 0; c < e->k; c++) {
        WEIGHT b = share->intercept[c];
        WEIGHT gradient = (WEIGHT)options->intercept_gain *
                          (share->residual_sum[c] + (WEIGHT)options->intercept_decay * b);
        WEIGHT direction = gradient;
        if (e->velocity) {
            WEIGHT momentum = (WEIGHT)options->momentum;
            WEIGHT velocity = share->intercept_velocity[c] * momentum + gradient;
            share->intercept_velocity[c] = velocity;
            direction = options->nesterov ? gradient + velocity * momentum : velocity;
        }
        b -= direction * (WEIGHT)options->learning_rates[step];
        share->intercept[c] = b;
        if (e->average)
            share->intercept_average[c] +=
                (b - share->intercept_average[c]) * (WEIGHT)options->average_rates[step];
    }
}

/* ---------------------------------------------------------------- tiles */

INLINE int64_t NAME(row_at)(const ENGINE *e, int64_t position) {
    return e->order ? e->order[position] : position;
}

/* Point `rows` at a tile's rows; entries after the last repeat it. */
static void NAME(gather)(const ENGINE *e, int64_t first, int64_t n_rows, const ROW **rows,
                         ROW *short_rows) {
    for (int64_t i = 0; i < TILE + 8; i++) {
        int64_t row = NAME(row_at)(e, first + (i < n_rows ? i : n_rows - 1));
        rows[i] = (const ROW *)((const char *)e->samples->rows + row * e->samples->row_stride);
        if (e->d < LANES && !INTEGER_TILES) {
            memcpy(short_rows + i * LANES, rows[i], e->d * sizeof(ROW));
            rows[i] = short_rows + i * LANES;
        }
    }
}

/* Factors of a tile's losses, and its labels. */
static void NAME(weigh)(const ENGINE *e, int64_t first, int64_t n_rows, double divisor,
                        WEIGHT *row_weight, int32_t *labels) {
    for (int64_t i = 0; i < TILE; i++) {
        row_weight[i] = 0;
        if (i >= n_rows) continue;
        int64_t row = NAME(row_at)(e, first + i);
        labels[i] = e->samples->labels[row];
        row_weight[i] = (WEIGHT)((e->samples->sample_weight ? e->samples->sample_weight[row] : 1) /
                                 divisor);
    }
}

static int64_t NAME(tile_rows)(const ENGINE *e, int64_t first) {
    int64_t batch_end = (first / e->batch_size + 1) * e->batch_size;
    int64_t end = batch_end < e->n_order ? batch_end : e->n_order;
    return end - first < TILE ? end - first : TILE;
}

/* All of one thread's work. */
static void NAME(run)(const ENGINE *e, SHARE *share) {
    int32_t labels[TILE];
    int current = 0;
    int64_t n_rows = NAME(tile_rows)(e, 0);
    NAME(gather)(e, 0, n_rows, share->rows[0], share->short_rows[0]);
#if INTEGER_TILES
    NAME(configure_tiles)();
    for (int64_t s = share->first_slice; s < share->stop_slice; s++)
        NAME(write_weight_digits)(e, s);
#endif
    for (int64_t first = 0; first < e->n_order;) {
        int64_t step = first / e->batch_size;
        int64_t batch_first = step * e->batch_size;
        int64_t batch_rows =
            e->n_order - batch_first < e->batch_size ? e->n_order - batch_first : e->batch_size;
        bool first_tile = first == batch_first;
        bool last_tile = first + n_rows == batch_first + batch_rows;
        const ROW *const *rows = (const ROW *const *)share->rows[current];
        WEIGHT *partial =
            e->partial + (e->residual_shared ? 0 : current) * e->n_slices * e->k_padded * TILE;
        WEIGHT *offset = e->offset + current * e->n_slices * e->k_padded;
        decide_to_leave_off(e->meeting, e->samples->stop, share->thread, first);

        /* A */
#if INTEGER_TILES
        NAME(tile_logits)(e, share, rows, n_rows, partial);
#endif
        for (int64_t s = share->first_slice; s < share->stop_slice; s++) {
            int64_t first_vector = NAME(slice_bound)(e, s);
            int64_t stop_vector = NAME(slice_bound)(e, s + 1);
#if !INTEGER_TILES
            int64_t groups = (n_rows + 7) / 8;
            int64_t first_row = groups * share->part / share->n_parts * 8;
            int64_t stop_row = groups * (share->part + 1) / share->n_parts * 8;
            NAME(slice_logits)(e, rows, first_row, stop_row, first_vector, stop_vector,
                               partial + s * e->k_padded * TILE);
#endif
            if (e->samples->shift && share->part == 0)
                NAME(slice_offset)(e, first_vector, stop_vector, offset + s * e->k_padded);
        }
        wait_for_all(e->meeting, e->n_threads);
        if (leaves_off(e->meeting, first)) break;

        /* B */
        NAME(weigh)(e, first, n_rows, e->options ? (double)batch_rows : 1.0, share->row_weight,
                    labels);
        int64_t padded_rows = (n_rows + ROWS_AT_ONCE - 1) / ROWS_AT_ONCE * ROWS_AT_ONCE;
        if (e->residual_shared) {
            int64_t groups = padded_rows / LANES;
            NAME(cross_entropy)(e, partial, offset, e->n_slices, share->intercept,
                                share->row_weight, labels, n_rows,
                                groups * share->thread / e->n_threads * LANES,
                                groups * (share->thread + 1) / e->n_threads * LANES, true,
                                share->residual, share->losses);
            wait_for_all(e->meeting, e->n_threads);
        } else {
            NAME(cross_entropy)(e, partial, offset, e->n_slices, share->intercept,
                                share->row_weight, labels, n_rows, 0, padded_rows, true,
                                share->residual, share->losses);
        }
        if (share->thread == 0) {
            double loss = 0;
            for (int64_t i = 0; i < n_rows; i++) loss += share->losses[i];
            e->losses_out[step] = (first_tile ? 0 : e->losses_out[step]) + loss;
        }
        for (int64_t c = 0; c < e->k; c++) {
            V sum = {0}; /* rows past the last have weight 0, hence residual 0 */
            for (int64_t i = 0; i < padded_rows; i += LANES)
                sum += *(const V *)(share->residual + c * TILE + i);
            WEIGHT total = NAME(sum)(sum);
            share->residual_sum[c] = (first_tile ? 0 : share->residual_sum[c]) + total;
            if (!e->options && share->thread == 0) e->intercept_gradient_sum[c] += total;
        }

        /* C */
        int64_t next = first + n_rows;
        const ROW *const *next_rows = rows;
        int64_t next_n_rows = 0;
        if (next < e->n_order) {
            next_n_rows = NAME(tile_rows)(e, next);
            NAME(gather)(e, next, next_n_rows, share->rows[1 - current],
                         share->short_rows[1 - current]);
            next_rows = (const ROW *const *)share->rows[1 - current];
        }
        NAME(gradient)(e, share, rows, next_rows, n_rows, step, first_tile, last_tile);
        if (e->options && last_tile) NAME(step_intercept)(e, share, step);
        /* The next tile needs all of a shared slice's weights, and overwrites shared residuals. */
        if ((e->n_threads > e->n_slices && last_tile) || e->residual_shared)
            wait_for_all(e->meeting, e->n_threads);
        current = 1 - current;
        first = next;
        n_rows = next_n_rows;
    }
#if INTEGER_TILES
    _tile_release();
#endif
    if (share->thread == 0 && e->options)
        for (int64_t c = 0; c < e->k; c++) {
            e->intercept_out[c] = share->intercept[c];
            if (e->velocity) e->intercept_velocity_out[c] = share->intercept_velocity[c];
            if (e->average) e->intercept_average_out[c] = share->intercept_average[c];
        }
}

/* ---------------------------------------------------------------- setting up */

/* Register tile whose padded classes cost least; a narrow one loads more for each product. */
static int64_t NAME(choose_block)(int64_t k) {
    if (INTEGER_TILES) return (k + 3) / 4 * 4;
    int64_t best = 1;
    double best_cost = INFINITY;
#define CASE(block, n_samples, n_wide)                                                  \
    {                                                                                   \
        double cost = (double)((k + block - 1) / block * block) * (1.0 + 1.0 / block);  \
        if (cost <= best_cost) best = block, best_cost = cost;                          \
    }
    REGISTER_TILES(CASE)
#undef CASE
    return best;
}

static void NAME(shape)(ENGINE *e, const fastlin_samples *samples,
                        const fastlin_parameters *parameters) {
    e->samples = samples;
    e->parameters = parameters;
    e->d = samples->n_features;
    e->k = parameters->n_classes;
    e->n_vectors = (e->d + LANES - 1) / LANES;
    if (INTEGER_TILES) e->n_vectors = (e->n_vectors + 3) / 4 * 4;
    e->block = NAME(choose_block)(e->k);
    e->n_blocks = (e->k + e->block - 1) / e->block;
    e->k_padded = e->n_blocks * e->block;
    e->n_slices = e->d >= 2048 ? 4 : e->n_vectors >= 16 ? 2 : 1;
    /* What 32 bits can hold of a sum; and a slice belongs to one thread. */
    if (INTEGER_TILES && e->d >= 4096) e->n_slices = e->d / 1024 < 64 ? e->d / 1024 : e->d / 32768 + 64;
}

/* No more threads than have something worth doing between two barriers, and in all. */
static int64_t NAME(useful_threads)(const ENGINE *e, int n_threads) {
    int64_t rows = e->batch_size < TILE ? e->batch_size : TILE;
    if (rows > e->n_order) rows = e->n_order;
    int64_t of_row = e->d * (e->k_padded + 16) / (INTEGER_TILES ? 4 : 1);
    int64_t useful = rows * of_row / 200000;
    int64_t in_all = 1 + e->n_order * of_row / PRODUCTS_WORTH_A_START;
    if (useful > in_all) useful = in_all;
    if (INTEGER_TILES && useful > e->n_slices) useful = e->n_slices;
    int64_t parts = e->n_vectors / 2 > 1 ? e->n_vectors / 2 : 1;
    if (useful > parts) useful = parts;
    if (useful > n_threads) useful = n_threads;
    return useful < 1 ? 1 : useful;
}

static void NAME(share_of)(const ENGINE *e, arena *memory, int64_t thread, SHARE *share) {
    share->thread = thread;
    share->part = 0;
    share->n_parts = 1;
    if (e->n_threads <= e->n_slices) {
        share->first_slice = e->n_slices * thread / e->n_threads;
        share->stop_slice = e->n_slices * (thread + 1) / e->n_threads;
        share->first_vector = NAME(slice_bound)(e, share->first_slice);
        share->stop_vector = NAME(slice_bound)(e, share->stop_slice);
    } else {
        int64_t slice = thread * e->n_slices / e->n_threads;
        int64_t first = (slice * e->n_threads + e->n_slices - 1) / e->n_slices;
        int64_t stop = ((slice + 1) * e->n_threads + e->n_slices - 1) / e->n_slices;
        share->first_slice = slice;
        share->stop_slice = slice + 1;
        share->part = thread - first;
        share->n_parts = stop - first;
        int64_t from = NAME(slice_bound)(e, slice), to = NAME(slice_bound)(e, slice + 1);
        share->first_vector = from + (to - from) * share->part / share->n_parts / 2 * 2;
        share->stop_vector = share->part + 1 == share->n_parts
                                 ? to
                                 : from + (to - from) * (share->part + 1) / share->n_parts / 2 * 2;
    }
    for (int i = 0; i < 2; i++) {
        share->rows[i] = take(memory, (TILE + 8) * sizeof(ROW *));
        share->short_rows[i] = e->d < LANES && !INTEGER_TILES
                                   ? take(memory, (TILE + 8) * LANES * sizeof(ROW))
                                   : NULL;
    }
    share->row_weight = take(memory, TILE * sizeof(WEIGHT));
    size_t residual_bytes = e->k_padded * TILE * sizeof(WEIGHT);
    share->residual = e->residual_shared ? e->residual : take(memory, residual_bytes);
    share->losses = e->residual_shared ? e->losses : take(memory, TILE * sizeof(WEIGHT));
    size_t class_bytes = e->k_padded * sizeof(WEIGHT);
    share->residual_sum = take(memory, class_bytes);
    share->intercept = take(memory, class_bytes);
    share->intercept_velocity = take(memory, class_bytes);
    share->intercept_average = take(memory, class_bytes);
#if INTEGER_TILES
    size_t width = (share->stop_vector - share->first_vector) * LANES;
    share->staged = take(memory, ROWS_STAGED * width);
    for (int i = 0; i < 2; i++) share->interleaved[i] = take(memory, TILE * 64);
    share->residual_digits = take(memory, e->k_padded * TILE * 4);
    share->residual_unit = take(memory, class_bytes);
#endif
}

/* Lay everything out; called twice, first with an arena that only counts. */
static void NAME(lay_out)(ENGINE *e, arena *memory, SHARE *shares) {
    const fastlin_parameters *p = e->parameters;
    size_t packed = e->k_padded * e->n_vectors * LANES;
    e->weights = take(memory, packed * sizeof(WEIGHT));
    e->velocity = p->weights_velocity ? take(memory, packed * sizeof(WEIGHT)) : NULL;
    e->average = p->weights_average ? take(memory, packed * sizeof(WEIGHT)) : NULL;
    e->gradient_sum = e->options ? NULL : take(memory, packed * sizeof(double));
    e->gradient =
        e->options && e->batch_size > TILE ? take(memory, packed * sizeof(WEIGHT)) : NULL;
    e->shift = take(memory, e->n_vectors * LANES * sizeof(WEIGHT));
    e->decay = take(memory, e->n_vectors * LANES * sizeof(WEIGHT));
    e->gain = take(memory, e->n_vectors * LANES * sizeof(WEIGHT));
    e->partial = take(memory, (e->residual_shared ? 1 : 2) * e->n_slices * e->k_padded * TILE *
                                  sizeof(WEIGHT));
    e->offset = take(memory, 2 * e->n_slices * e->k_padded * sizeof(WEIGHT));
    /* Each logit is overwritten right after its parts have been read. */
    e->residual = e->residual_shared ? e->partial : NULL;
    e->losses = e->residual_shared ? take(memory, TILE * sizeof(WEIGHT)) : NULL;
    e->intercept_gradient_sum = take(memory, e->k_padded * sizeof(double));
    e->meeting = take(memory, sizeof(barrier));
#if INTEGER_TILES
    e->weight_digits = take(memory, packed * 4);
    e->weight_unit = take(memory, e->n_slices * e->k_padded * sizeof(WEIGHT));
#endif
    for (int64_t t = 0; t < e->n_threads; t++) NAME(share_of)(e, memory, t, &shares[t]);
}

/* Build the memory of an engine for n_threads threads, all zero. */
static int NAME(set_up)(ENGINE *e, int64_t n_threads, arena *memory, SHARE **shares) {
    e->n_threads = n_threads;
    e->residual_shared = e->k_padded * TILE > 8192;
    *shares = calloc(e->n_threads, sizeof(SHARE));
    if (!*shares) return FASTLIN_NO_MEMORY;
    arena counting = {0};
    NAME(lay_out)(e, &counting, *shares);
    if (!reserve(memory, counting.used)) {
        free(*shares);
        return FASTLIN_NO_MEMORY;
    }
    NAME(lay_out)(e, memory, *shares);
    const fastlin_parameters *p = e->parameters;
    NAME(pack)(e, e->weights, p->weights);
    if (e->samples->shift) NAME(pack_features)(e, e->shift, e->samples->shift);
    for (int64_t t = 0; t < e->n_threads; t++)
        memcpy((*shares)[t].intercept, p->intercept, e->k * sizeof(WEIGHT));
    return FASTLIN_OK;
}

/* What a thread of a team needs. */
typedef struct {
    const ENGINE *engine;
    SHARE *shares;
} NAME(job);

static void NAME(run_member)(void *context, int64_t thread) {
    NAME(job) *job = context;
    NAME(run)(job->engine, &job->shares[thread]);
}

/* ---------------------------------------------------------------- entry points */

int NAME(sgd_steps)(const fastlin_samples *samples, const int64_t *order, int64_t n_order,
                    const fastlin_parameters *p, const fastlin_step_options *options,
                    double *losses_out, int n_threads) {
    if (n_order == 0) return FASTLIN_OK;
    ENGINE e = {.options = options,
                .order = order,
                .n_order = n_order,
                .batch_size = options->batch_size,
                .losses_out = losses_out,
                .intercept_out = p->intercept,
                .intercept_velocity_out = p->intercept_velocity,
                .intercept_average_out = p->intercept_average};
    NAME(shape)(&e, samples, p);
    arena memory = {0};
    SHARE *shares;
    team threads;
    int64_t size = start_team(&threads, NAME(useful_threads)(&e, n_threads));
    int status = NAME(set_up)(&e, size, &memory, &shares);
    if (status != FASTLIN_OK) {
        finish_team(&threads, NULL, NULL);
        return status;
    }
    if (e.velocity) NAME(pack)(&e, e.velocity, p->weights_velocity);
    if (e.average) NAME(pack)(&e, e.average, p->weights_average);
    NAME(pack_features)(&e, e.decay, options->decay);
    NAME(pack_features)(&e, e.gain, options->gain);
    for (int64_t t = 0; t < e.n_threads; t++) {
        size_t bytes = e.k * sizeof(WEIGHT);
        if (e.velocity) memcpy(shares[t].intercept_velocity, p->intercept_velocity, bytes);
        if (e.average) memcpy(shares[t].intercept_average, p->intercept_average, bytes);
    }
    finish_team(&threads, NAME(run_member), &(NAME(job)){&e, shares});
    NAME(unpack)(&e, p->weights, e.weights);
    if (e.velocity) NAME(unpack)(&e, p->weights_velocity, e.velocity);
    if (e.average) NAME(unpack)(&e, p->weights_average, e.average);
    free(shares);
    release(&memory);
    return FASTLIN_OK;
}

int NAME(loss_gradient)(const fastlin_samples *samples, const fastlin_parameters *p,
                        double *loss_sum_out, double *weights_gradient_out,
                        double *intercept_gradient_out, int n_threads) {
    *loss_sum_out = 0;
    ENGINE e = {.n_order = samples->n_rows,
                .batch_size = samples->n_rows,
                .losses_out = loss_sum_out};
    NAME(shape)(&e, samples, p);
    memset(weights_gradient_out, 0, e.k * e.d * sizeof(double));
    memset(intercept_gradient_out, 0, e.k * sizeof(double));
    if (samples->n_rows == 0) return FASTLIN_OK;
    arena memory = {0};
    SHARE *shares;
    team threads;
    int64_t size = start_team(&threads, NAME(useful_threads)(&e, n_threads));
    int status = NAME(set_up)(&e, size, &memory, &shares);
    if (status != FASTLIN_OK) {
        finish_team(&threads, NULL, NULL);
        return status;
    }
    finish_team(&threads, NAME(run_member), &(NAME(job)){&e, shares});
    for (int64_t c = 0; c < e.k; c++) {
        intercept_gradient_out[c] = e.intercept_gradient_sum[c];
        for (int64_t v = 0; v < e.n_vectors; v++) {
            const double *from = e.gradient_sum + NAME(packed_at)(&e, c, v);
            double *to = weights_gradient_out + c * e.d + NAME(column)(e.d, e.n_vectors, v);
            for (int lane = 0; lane < LANES; lane++)
                if (NAME(owns)(e.d, e.n_vectors, v, lane))
                    to[lane] = from[lane] - e.intercept_gradient_sum[c] *
                                                (double)e.shift[v * LANES + lane];
        }
    }
    free(shares);
    release(&memory);
    return FASTLIN_OK;
}

#if !INTEGER_TILES
/* Whether a row's label has the first of its largest logits; logits: [class][TILE] at the row. */
INLINE bool NAME(is_correct)(const WEIGHT *logits, int64_t k, int32_t label) {
    if (k == 1) return (logits[0] > 0) == (label == 1);
    WEIGHT of_label = logits[label * TILE];
    bool correct = true;
    for (int64_t c = 0; c < k; c++)
        correct &= c < label ? logits[c * TILE] < of_label : logits[c * TILE] <= of_label;
    return correct;
}

/* A pass over all rows that keeps nothing but what it is for: the sum of losses and the number of
 * correct predictions, or the logits where logits_out is not NULL. */
typedef struct {
    const ENGINE *engine;
    SHARE *shares;
    int64_t n_tiles;
    WEIGHT *of_threads;                 /* [n_threads][2][k_padded][TILE] */
    double *tile_loss;                  /* (n_tiles) */
    int64_t *tile_correct;              /* (n_tiles) */
    WEIGHT *logits_out;
} NAME(scan);

/* One thread's tiles. */
static void NAME(scan_member)(void *context, int64_t thread) {
    NAME(scan) *scan = context;
    const ENGINE *e = scan->engine;
    SHARE *share = &scan->shares[thread];
    WEIGHT *partial = scan->of_threads + thread * 2 * e->k_padded * TILE;
    WEIGHT *logits = partial + e->k_padded * TILE;
    int32_t labels[TILE];
    int64_t stop = scan->n_tiles * (thread + 1) / e->n_threads;
    for (int64_t tile = scan->n_tiles * thread / e->n_threads; tile < stop; tile++) {
        int64_t first = tile * TILE;
        int64_t n_rows = e->n_order - first < TILE ? e->n_order - first : TILE;
        if (told_to_stop(e->samples->stop)) break;
        NAME(gather)(e, first, n_rows, share->rows[0], share->short_rows[0]);
        NAME(slice_logits)(e, (const ROW *const *)share->rows[0], 0, (n_rows + 7) / 8 * 8, 0,
                           e->n_vectors, partial);
        NAME(weigh)(e, first, n_rows, 1.0, share->row_weight, labels);
        NAME(cross_entropy)(e, partial, e->offset, 1, share->intercept, share->row_weight, labels,
                            n_rows, 0, (n_rows + LANES - 1) / LANES * LANES, false, logits,
                            partial);
        for (int64_t i = 0; i < n_rows; i++) {
            scan->tile_loss[tile] += partial[i];
            scan->tile_correct[tile] += NAME(is_correct)(logits + i, e->k, labels[i]);
            if (scan->logits_out)
                for (int64_t c = 0; c < e->k; c++)
                    scan->logits_out[(first + i) * e->k + c] = logits[c * TILE + i];
        }
    }
}

/* Threads split the rows. */
static int NAME(pass)(const fastlin_samples *samples, const fastlin_parameters *p,
                      double *loss_sum_out, int64_t *n_correct_out, WEIGHT *logits_out,
                      int n_threads) {
    ENGINE e = {.n_order = samples->n_rows, .batch_size = TILE};
    NAME(shape)(&e, samples, p);
    int64_t n_tiles = (samples->n_rows + TILE - 1) / TILE;
    if (loss_sum_out) *loss_sum_out = 0, *n_correct_out = 0;
    if (n_tiles == 0) return FASTLIN_OK;
    arena memory = {0}, logits_memory = {0};
    SHARE *shares;
    team threads;
    int64_t useful = NAME(useful_threads)(&e, n_threads);
    int64_t size = start_team(&threads, useful > n_tiles ? n_tiles : useful);
    int status = NAME(set_up)(&e, size, &memory, &shares);
    if (status != FASTLIN_OK) {
        finish_team(&threads, NULL, NULL);
        return status;
    }
    double *tile_loss = calloc(n_tiles, sizeof(double));
    int64_t *tile_correct = calloc(n_tiles, sizeof(int64_t));
    size_t bytes = size * 2 * e.k_padded * TILE * sizeof(WEIGHT);
    if (!tile_loss || !tile_correct || !reserve(&logits_memory, bytes)) {
        finish_team(&threads, NULL, NULL);
        status = FASTLIN_NO_MEMORY;
    } else {
        NAME(scan) scan = {.engine = &e,
                           .shares = shares,
                           .n_tiles = n_tiles,
                           .of_threads = take(&logits_memory, bytes),
                           .tile_loss = tile_loss,
                           .tile_correct = tile_correct,
                           .logits_out = logits_out};
        if (samples->shift) NAME(slice_offset)(&e, 0, e.n_vectors, e.offset);
        finish_team(&threads, NAME(scan_member), &scan);
        for (int64_t tile = 0; tile < n_tiles && loss_sum_out; tile++) {
            *loss_sum_out += tile_loss[tile];
            *n_correct_out += tile_correct[tile];
        }
    }
    free(tile_loss);
    free(tile_correct);
    release(&logits_memory);
    free(shares);
    release(&memory);
    return status;
}

int NAME(score)(const fastlin_samples *samples, const fastlin_parameters *p, double *loss_sum_out,
                int64_t *n_correct_out, int n_threads) {
    return NAME(pass)(samples, p, loss_sum_out, n_correct_out, NULL, n_threads);
}

int NAME(logits)(const fastlin_samples *samples, const fastlin_parameters *p, void *logits_out,
                 int n_threads) {
    return NAME(pass)(samples, p, NULL, NULL, logits_out, n_threads);
}
#endif
