/* The layout of the weights of dense rows, and the part of each slice and thread.
 *
 * Packed weights: [block of classes][vector of features][class in block][lane], 0 if there is no
 * such class. With blocks of two classes and vectors of four features:
 *
 *     classes 0 and 1                             classes 2 and 3
 *     | c0 f0-3 | c1 f0-3 | c0 f4-7 | c1 f4-7 |   | c2 f0-3 | c3 f0-3 | c2 f4-7 | ...
 *
 * So a micro-kernel, which keeps a block in registers, reads the weights from front to back. The
 * last vector holds the last LANES features. The lanes that it shares with the vector before are 0
 * and stay 0, since their gain is 0. Rows that are shorter than a vector are copied.
 */
typedef struct {
    int64_t d, k;
    int64_t n_vectors; /* of features */
    int64_t n_slices;  /* of features; depends only on the shape, and so do the sums over them */
    int64_t block, n_blocks, k_padded;
} NAME(shape);
#define SHAPE NAME(shape)

static SHAPE NAME(shape_of)(const request *ask) {
    const fastlin_blocking *blocking = ask->blocking;
    SHAPE shape = {.d = ask->samples->n_features,
                   .k = ask->parameters->n_classes,
                   .n_slices = blocking->n_slices,
                   .block = blocking->block};
    /* A tile register of the matrix unit holds four vectors. */
    shape.n_vectors = round_up(shape.d, MATRIX_UNIT ? 4 * LANES : LANES) / LANES;
    shape.k_padded = round_up(shape.k, shape.block);
    shape.n_blocks = shape.k_padded / shape.block;
    return shape;
}

/* First feature of a vector. */
INLINE int64_t NAME(column)(const SHAPE *shape, int64_t vector) {
    if (MATRIX_UNIT || vector < shape->n_vectors - 1 || shape->d < LANES) return vector * LANES;
    return shape->d - LANES;
}

/* Vectors whose features no other vector holds. */
INLINE int64_t NAME(n_whole)(const SHAPE *shape) {
    return shape->n_vectors - (shape->d % LANES != 0 && shape->d > LANES);
}

/* Whether a lane of a vector holds a feature that no earlier vector holds. */
INLINE bool NAME(owns)(const SHAPE *shape, int64_t vector, int lane) {
    int64_t feature = NAME(column)(shape, vector) + lane;
    return feature >= vector * LANES && feature < shape->d;
}

/* Index in packed weights of the LANES weights of a class and a vector of features. */
INLINE int64_t NAME(packed_at)(const SHAPE *shape, int64_t c, int64_t vector) {
    int64_t in_block = c % shape->block;
    return ((c - in_block) * shape->n_vectors + vector * shape->block + in_block) * LANES;
}

static size_t NAME(packed_size)(const SHAPE *shape) {
    return shape->k_padded * shape->n_vectors * LANES;
}

/* Copy weights (k, d) to packed weights, or back. */
static void NAME(pack)(const SHAPE *shape, WEIGHT *packed, WEIGHT *weights, bool back) {
    for (int64_t c = 0; c < shape->k; c++)
        for (int64_t v = 0; v < shape->n_vectors; v++) {
            WEIGHT *outside = weights + c * shape->d + NAME(column)(shape, v);
            WEIGHT *inside = packed + NAME(packed_at)(shape, c, v);
            if (v * LANES + LANES <= shape->d) {
                memcpy(back ? outside : inside, back ? inside : outside, LANES * sizeof(WEIGHT));
                continue;
            }
            for (int lane = 0; lane < LANES; lane++) {
                if (!NAME(owns)(shape, v, lane)) continue;
                if (back)
                    outside[lane] = inside[lane];
                else
                    inside[lane] = outside[lane];
            }
        }
}

/* Copy a number of each feature to vectors: (n_vectors * LANES), zeros. */
static void NAME(pack_features)(const SHAPE *shape, WEIGHT *packed, const WEIGHT *features) {
    for (int64_t v = 0; v < shape->n_vectors; v++)
        for (int lane = 0; lane < LANES; lane++)
            if (NAME(owns)(shape, v, lane))
                packed[v * LANES + lane] = features[NAME(column)(shape, v) + lane];
}

/* First vector of a slice: a multiple of what the micro-kernels take at once, unless it is the end.
 */
INLINE int64_t NAME(slice_bound)(const SHAPE *shape, int64_t slice) {
    enum { MOST_VECTORS_AT_ONCE = 8 };
    if (slice >= shape->n_slices) return shape->n_vectors;
    return shape->n_vectors * slice / shape->n_slices / MOST_VECTORS_AT_ONCE * MOST_VECTORS_AT_ONCE;
}

/* A thread's part: the sums over its slices, or over some rows of one that it shares, and the
 * update of its vectors. */
typedef struct {
    slices of;
    int64_t first_vector, stop_vector;
} NAME(division);

static NAME(division) NAME(divide)(const SHAPE *shape, int64_t thread, int64_t n_threads) {
    slices of = slices_of(shape->n_slices, thread, n_threads);
    int64_t first = NAME(slice_bound)(shape, of.first), stop = NAME(slice_bound)(shape, of.stop);
    int64_t n_vectors = stop - first;
    /* Even bounds, because micro-kernels are fastest with several vectors at once. */
    return (NAME(division)){
        .of = of,
        .first_vector = first + n_vectors * of.part / of.n_parts / 2 * 2,
        .stop_vector = of.part + 1 == of.n_parts
                           ? stop
                           : first + n_vectors * (of.part + 1) / of.n_parts / 2 * 2,
    };
}
