/* The rows of a panel of many classes: which they are, and how they get into the panel.
 *
 * They are widened and copied, since each number will be read once for every slice of classes. In a
 * panel the rows of a bundle lie in turn, [bundle][feature][row], so that a micro-kernel finds the
 * numbers that it needs at one step, of some rows or of some features, close together. */

/* Panels without steps whose gradient is added up before it is added to the float64 sums. */
#define PANELS_OF_A_SUM 4

/* The panel that begins at a position. */
static NAME(panel) NAME(many_bounds)(const MANY_RUN *run, int64_t first) {
    int64_t most_rows = run->shape.panel;
    NAME(panel) panel = NAME(bounds_of_panel)(run->ask, first, most_rows);
    if (!run->ask->options && panel.n_rows > 0) {
        int64_t number = first / most_rows % PANELS_OF_A_SUM;
        panel.begins_batch = number == 0;
        panel.ends_batch |= number == PANELS_OF_A_SUM - 1;
    }
    return panel;
}

INLINE int64_t NAME(n_bundles)(const NAME(panel) * panel) {
    return (panel->n_rows + BUNDLE - 1) / BUNDLE;
}

/* The bundles of a panel that a thread gathers. */
INLINE NAME(range)
    NAME(bundles_of)(const MANY_RUN *run, int64_t thread, const NAME(panel) * panel) {
    int64_t n = NAME(n_bundles)(panel);
    return (NAME(range)){n * thread / run->n_threads, n * (thread + 1) / run->n_threads};
}

INLINE const char *NAME(address_of)(const request *ask, int64_t position) {
    return (const char *)ask->samples->rows + row_at(ask, position) * ask->samples->row_stride;
}

/* Widen the rows of a bundle, of a fastlin_type, and lay them in turn: out [feature][row]. */
INLINE void NAME(interleave)(const int type, int64_t d, const char *const *rows, WEIGHT *out) {
    const int64_t size = type_bytes(type);
    V block[BUNDLE];
    if (d < LANES) {
        char copies[BUNDLE][VECTOR_BYTES] = {{0}};
        for (int i = 0; i < BUNDLE; i++) {
            memcpy(copies[i], rows[i], d * size);
            block[i] = NAME(load_row)(type, copies[i]);
        }
        NAME(transpose)(BUNDLE, block);
        memcpy(out, block, d * BUNDLE * sizeof(WEIGHT));
        return;
    }
    for (int64_t next = 0; next < d; next += LANES) {
        int64_t j = at_most(next, d - LANES); /* the last features overlap those before */
        UNROLL for (int i = 0; i < BUNDLE; i++)
            block[i] = NAME(load_row)(type, rows[i] + j * size);
        NAME(transpose)(BUNDLE, block);
        UNROLL for (int i = 0; i < BUNDLE; i++)
            NAME(store)(out + j * BUNDLE + i * LANES, block[i]);
    }
}

static void NAME(interleave_any)(int type, int64_t d, const char *const *rows, WEIGHT *out) {
    switch (type) {
    case FASTLIN_UINT8:
        NAME(interleave)(FASTLIN_UINT8, d, rows, out);
        break;
    case FASTLIN_INT8:
        NAME(interleave)(FASTLIN_INT8, d, rows, out);
        break;
    case FASTLIN_FLOAT16:
        NAME(interleave)(FASTLIN_FLOAT16, d, rows, out);
        break;
    case FASTLIN_FLOAT32:
        NAME(interleave)(FASTLIN_FLOAT32, d, rows, out);
        break;
    default:
        NAME(interleave)(FASTLIN_FLOAT64, d, rows, out);
    }
}

/* Copy the rows of some bundles of a panel. */
static void NAME(gather_bundles)(const MANY_RUN *run, NAME(range) part, const NAME(panel) * panel,
                                 WEIGHT *out) {
    for (int64_t b = part.first; b < part.stop; b++) {
        const char *rows[BUNDLE];
        for (int i = 0; i < BUNDLE; i++) {
            int64_t at = b * BUNDLE + i;
            rows[i] =
                at < panel->n_rows ? NAME(address_of)(run->ask, panel->first + at) : run->zero_row;
        }
        NAME(interleave_any)(run->ask->samples->row_type, run->shape.d, rows,
                             out + b * run->shape.stride);
    }
}

/* ---------------------------------------------------------------- fetching */

/* The rows that a thread will gather next, whose lines are fetched bit by bit in the course of a
 * gradient: a burst would stall. */
typedef struct {
    const request *ask;
    int64_t position, stop; /* of rows */
    int64_t byte, n_bytes;  /* of a row */
    int64_t n_at_once;
} NAME(fetcher);

/* Bundles of rows between two fetches, so that these take little time. */
#define BUNDLES_OF_A_FETCH (REGISTERS >= 32 ? 1 : 4)

static NAME(fetcher)
    NAME(fetcher_of)(const MANY_RUN *run, int64_t thread, const NAME(panel) * panel) {
    const MANY_SHAPE *shape = &run->shape;
    NAME(panel) next = NAME(many_bounds)(run, panel->first + panel->n_rows);
    NAME(range) part = NAME(bundles_of)(run, thread, &next);
    int64_t n_bytes = shape->d * type_bytes(run->ask->samples->row_type);
    int64_t n_lines = (part.stop - part.first) * BUNDLE * (n_bytes / CACHE_LINE + 1);
    int64_t n_tiles = shape->n_vectors * shape->d_padded / (MOST_WIDE * GROUP * run->n_threads);
    int64_t n_fetches = n_tiles * NAME(n_bundles)(panel) / BUNDLES_OF_A_FETCH;
    return (NAME(fetcher)){.ask = run->ask,
                           .position = next.first + part.first * BUNDLE,
                           .stop = next.first + at_most(next.n_rows, part.stop * BUNDLE),
                           .n_bytes = n_bytes,
                           .n_at_once = n_lines / at_least(1, n_fetches) + 1};
}

INLINE void NAME(fetch)(NAME(fetcher) * rows) {
    for (int64_t i = 0; i < rows->n_at_once && rows->position < rows->stop; i++) {
        __builtin_prefetch(NAME(address_of)(rows->ask, rows->position) + rows->byte, 0, 2);
        rows->byte += CACHE_LINE;
        if (rows->byte >= rows->n_bytes) rows->byte = 0, rows->position++;
    }
}
