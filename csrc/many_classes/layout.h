/* The layout of the weights and logits of many classes.
 *
 * Vectors hold classes. A slice of the classes is two or three vectors wide, as many as a
 * micro-kernel takes at once, and slices depend on the shape alone, as the bits do. Packed weights:
 * [slice][feature][class in slice], zero where there is no such feature or class. With vectors of
 * two classes:
 *
 *     slice of classes 0 to 5                 slice of classes 6 to 9
 *     | f0 c0-5 | f1 c0-5 | f2 c0-5 | ...     | f0 c6-9 | f1 c6-9 | f2 c6-9 | ...
 *
 * Logits and residuals of a panel: [slice][row][class in slice], so that both are the operand of
 * a product that the micro-kernels read from front to back.
 */

/* Rows of a panel at most: fewer would add to a large batch's gradient more often, and more would
 * not stay in the caches. */
#define MOST_ROWS 256

typedef struct {
    int64_t d, k;
    int64_t d_padded;  /* whole groups of features */
    int64_t panel;     /* rows of a panel, whole bundles and whole vectors */
    int64_t stride;    /* numbers from one bundle of rows of a panel to the next */
    int64_t n_vectors; /* of classes */
    int64_t n_slices;
} NAME(many_shape);
#define MANY_SHAPE NAME(many_shape)

static MANY_SHAPE NAME(many_shape_of)(const request *ask) {
    MANY_SHAPE shape = {.d = ask->samples->n_features, .k = ask->parameters->n_classes};
    shape.d_padded = round_up(shape.d, GROUP);
    /* An odd number of blocks: at a large power of two the caches would hold only a few bundles. */
    shape.stride = (shape.d_padded / GROUP | 1) * GROUP * BUNDLE;
    int64_t rows = at_most(is_pass(ask) ? PANEL : ask->batch_size, ask->n_order);
    int64_t n_panels = (rows + MOST_ROWS - 1) / MOST_ROWS;
    shape.panel = round_up((rows + n_panels - 1) / n_panels, at_least(BUNDLE, LANES));
    shape.n_vectors = round_up(shape.k, LANES) / LANES;
    shape.n_slices = (shape.n_vectors + MOST_WIDE - 1) / MOST_WIDE;
    return shape;
}

/* A slice: its first vector, and its width in vectors. */
typedef struct {
    int64_t first, width;
} NAME(slice);

INLINE NAME(slice) NAME(slice_at)(const MANY_SHAPE *shape, int64_t slice) {
    int64_t first = shape->n_vectors * slice / shape->n_slices;
    return (NAME(slice)){first, shape->n_vectors * (slice + 1) / shape->n_slices - first};
}

/* Index of a class in the logits of a row of a panel. */
INLINE int64_t NAME(logit_at)(const MANY_SHAPE *shape, int64_t c, int64_t row) {
    int64_t vector = c / LANES;
    NAME(slice) of = NAME(slice_at)(shape, ((vector + 1) * shape->n_slices - 1) / shape->n_vectors);
    return of.first * shape->panel * LANES + row * of.width * LANES + c - of.first * LANES;
}

/* Numbers in packed weights before a slice, or in all if `vector` is n_vectors. */
INLINE int64_t NAME(packed_before)(const MANY_SHAPE *shape, int64_t vector) {
    return vector * shape->d_padded * LANES;
}

typedef struct {
    int64_t first, stop;
} NAME(range);

/* A thread's part of n pieces of a slice: bundles of rows, or groups of features. The pieces of all
 * slices are laid end to end and divided by their work, so a thread has some whole slices, and
 * shares at most its first and its last. */
INLINE NAME(range) NAME(part_of)(const MANY_SHAPE *shape, NAME(slice) slice, int64_t n,
                                 int64_t thread, int64_t n_threads) {
    int64_t work = shape->n_vectors * n, before = slice.first * n;
    int64_t from = work * thread / n_threads - before,
            to = work * (thread + 1) / n_threads - before;
    return (NAME(range)){
        at_least(0, at_most(n, (from + slice.width - 1) / slice.width)),
        at_least(0, at_most(n, (to + slice.width - 1) / slice.width)),
    };
}

/* ---------------------------------------------------------------- weights */

/* Copy the weights (k, d) of LANES features and a vector of classes to packed weights, or back. */
INLINE void NAME(pack_block)(const MANY_SHAPE *shape, WEIGHT *packed, WEIGHT *weights,
                             NAME(slice) slice, int64_t vector, int64_t feature, bool back) {
    int64_t c = vector * LANES, stride = slice.width * LANES, d = shape->d;
    WEIGHT *inside = packed + NAME(packed_before)(shape, slice.first) + feature * stride + c -
                     slice.first * LANES;
    WEIGHT *outside = weights + c * d + feature;
    int64_t n_features = at_most(LANES, d - feature), n_classes = at_most(LANES, shape->k - c);
    if (n_features < LANES || n_classes < LANES) {
        for (int64_t i = 0; i < n_classes; i++)
            for (int64_t j = 0; j < n_features; j++) {
                if (back)
                    outside[i * d + j] = inside[j * stride + i];
                else
                    inside[j * stride + i] = outside[i * d + j];
            }
        return;
    }
    WEIGHT *from = back ? inside : outside, *to = back ? outside : inside;
    int64_t from_stride = back ? stride : d, to_stride = back ? d : stride;
    V block[LANES];
    UNROLL for (int i = 0; i < LANES; i++)
        block[i] = NAME(load)(from + i * from_stride);
    NAME(transpose)(LANES, block);
    UNROLL for (int i = 0; i < LANES; i++)
        NAME(store)(to + i * to_stride, block[i]);
}

/* Copy a thread's part of weights (k, d) to packed weights, or back. */
static void NAME(pack_part)(const MANY_SHAPE *shape, WEIGHT *packed, WEIGHT *weights,
                            int64_t thread, int64_t n_threads, bool back) {
    int64_t n_blocks = (shape->d + LANES - 1) / LANES;
    for (int64_t s = 0; s < shape->n_slices; s++) {
        NAME(slice) slice = NAME(slice_at)(shape, s);
        NAME(range) part = NAME(part_of)(shape, slice, n_blocks, thread, n_threads);
        for (int64_t v = slice.first; v < slice.first + slice.width; v++)
            for (int64_t b = part.first; b < part.stop; b++)
                NAME(pack_block)(shape, packed, weights, slice, v, b * LANES, back);
    }
}
