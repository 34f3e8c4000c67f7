/* The memory of a call on sparse rows, and how threads share the work.
 *
 * State: [feature][weight, velocity, average][class], without those of the three that are not used,
 * in the coordinates of a mixture (mixture.h); classes padded to whole vectors, 1 for the sigmoid:
 *
 *     feature 0                    feature 1
 *     | weights | velocities |     | weights | velocities |     ...
 *       c0 c1 .. 0 0
 *
 * So a non-zero accesses one run of memory, whatever the number of classes.
 */
typedef struct {
    int64_t d, k, stride;      /* numbers from one array of a feature to the next */
    int64_t velocity, average; /* index of the array in a feature; 0: there is none */
    int64_t n_arrays, feature_size;
    int64_t n_read; /* arrays that logits depend on: the weights, and the velocities */
} NAME(shape);
#define SHAPE NAME(shape)

/* One thread's. */
typedef struct {
    WEIGHT *z;       /* [class][PANEL] logits of a panel, then residuals */
    WEIGHT *sums;    /* (n_read * stride) of a row */
    WEIGHT *factors; /* (n_arrays * stride) of a row */
} NAME(own);
#define OWN NAME(own)

typedef struct {
    const request *ask;
    SHAPE shape;
    const WEIGHT *values;
    const COLUMN *columns, *row_starts;
    int64_t n_threads;
    bool in_place; /* steps add rows directly to the state, not to `gradient` first */
    bool one_gain; /* the same for all features */
    arena memory;
    barrier *barrier;
    OWN *own;             /* (n_threads) */
    WEIGHT *state;        /* [d][n_arrays][stride] */
    WEIGHT *gradient;     /* [d][stride], zero between sums; NULL: in place, and passes */
    uint8_t *touched;     /* (d) whether `gradient` holds something; NULL without steps */
    WEIGHT *residual;     /* [batch][stride] */
    WEIGHT *losses;       /* [batch] */
    WEIGHT *residual_sum; /* (stride) */
    NAME(intercept) intercept;
    int64_t *range;         /* (n_threads + 1) first feature of each thread */
    int64_t *splits[2];     /* [batch][n_threads + 1] first non-zero of each; batches take turns */
    double *panel_losses;   /* (panels); a pass */
    int64_t *panel_correct; /* (panels); a pass */
} NAME(run);
#define RUN NAME(run)

static SHAPE NAME(shape_of)(const request *ask) {
    const fastlin_parameters *p = ask->parameters;
    SHAPE shape = {.d = ask->samples->n_features, .k = p->n_classes, .n_arrays = 1};
    shape.stride = shape.k == 1 ? 1 : round_up(shape.k, LANES);
    if (p->weights_velocity) shape.velocity = shape.n_arrays++;
    if (p->weights_average) shape.average = shape.n_arrays++;
    shape.feature_size = shape.n_arrays * shape.stride;
    shape.n_read = p->weights_velocity ? 2 : 1;
    return shape;
}

/* Place all arrays; called twice, first with an arena that only counts. */
static void NAME(lay_out)(RUN *run) {
    const request *ask = run->ask;
    const SHAPE *shape = &run->shape;
    arena *memory = &run->memory;
    bool pass = is_pass(ask), summed = !pass && !run->in_place;
    int64_t batch = pass ? 0 : at_most(ask->batch_size, ask->n_order);
    int64_t n_panels = pass ? (ask->n_order + PANEL - 1) / PANEL : 0;
    run->state = take(memory, shape->d * shape->feature_size * sizeof(WEIGHT));
    run->gradient = summed ? take(memory, shape->d * shape->stride * sizeof(WEIGHT)) : NULL;
    run->touched = summed && ask->options ? take(memory, shape->d) : NULL;
    run->residual = take(memory, batch * shape->stride * sizeof(WEIGHT));
    run->losses = take(memory, batch * sizeof(WEIGHT));
    run->residual_sum = take(memory, NAME(intercept_bytes)(shape->stride));
    run->intercept = NAME(take_intercept)(memory, ask->parameters);
    run->range = take(memory, (run->n_threads + 1) * sizeof(int64_t));
    for (int i = 0; i < 2; i++)
        run->splits[i] = take(memory, batch * (run->n_threads + 1) * sizeof(int64_t));
    run->panel_losses = take(memory, n_panels * sizeof(double));
    run->panel_correct = take(memory, n_panels * sizeof(int64_t));
    run->barrier = take(memory, sizeof(barrier));
    run->own = take(memory, run->n_threads * sizeof(OWN));
    for (int64_t t = 0; t < run->n_threads; t++) {
        OWN own = {
            .z = take(memory, shape->k * PANEL * sizeof(WEIGHT)),
            .sums = take(memory, shape->n_read * shape->stride * sizeof(WEIGHT)),
            .factors = take(memory, shape->feature_size * sizeof(WEIGHT)),
        };
        if (run->own) run->own[t] = own;
    }
}

/* Give every thread features with about as many non-zeros, counted in evenly spaced rows. */
static int NAME(divide)(RUN *run) {
    enum { MOST_ROWS = 2048 };
    const SHAPE *shape = &run->shape;
    run->range[run->n_threads] = shape->d;
    if (run->n_threads == 1) return FASTLIN_OK;
    int64_t n = run->ask->samples->n_rows, total = shape->d;
    int32_t *counts = calloc(shape->d, sizeof(int32_t));
    if (!counts) return FASTLIN_NO_MEMORY;
    for (int64_t row = 0; row < n; row += n / MOST_ROWS + 1)
        for (int64_t s = run->row_starts[row]; s < run->row_starts[row + 1]; s++, total++)
            counts[run->columns[s]]++;
    int64_t thread = 1, so_far = 0;
    for (int64_t f = 0; f < shape->d && thread < run->n_threads; f++) {
        so_far += counts[f] + 1;
        while (thread < run->n_threads && so_far * run->n_threads >= total * thread)
            run->range[thread++] = f + 1;
    }
    free(counts);
    return FASTLIN_OK;
}

static int NAME(set_up)(void *context, int64_t n_threads) {
    RUN *run = context;
    run->n_threads = n_threads;
    NAME(lay_out)(run);
    if (!reserve(&run->memory)) return FASTLIN_NO_MEMORY;
    NAME(lay_out)(run);
    NAME(copy_intercept)(run->ask->parameters, run->intercept, false);
    return NAME(divide)(run);
}

/* Copy some features of the caller's arrays, each [class][feature], to the state, or back. */
static void NAME(pack)(const RUN *run, int64_t first, int64_t stop, bool back) {
    const SHAPE *shape = &run->shape;
    const fastlin_parameters *p = run->ask->parameters;
    WEIGHT *outside[] = {p->weights, p->weights_velocity, p->weights_average};
    WEIGHT *array = run->state;
    if (shape->feature_size == 1) { /* the weights of two classes, in the same order */
        memcpy((WEIGHT *)(back ? p->weights : run->state) + first,
               (const WEIGHT *)(back ? run->state : p->weights) + first,
               (stop - first) * sizeof(WEIGHT));
        return;
    }
    for (int i = 0; i < 3; i++) {
        if (!outside[i]) continue;
        /* A few features at a time: one cache line of each class, and all of the features'. */
        for (int64_t from = first; from < stop; from += LANES)
            for (int64_t c = 0; c < shape->k; c++)
                for (int64_t f = from; f < at_most(from + LANES, stop); f++) {
                    WEIGHT *out = outside[i] + c * shape->d + f;
                    WEIGHT *in = array + f * shape->feature_size + c;
                    *(back ? out : in) = *(back ? in : out);
                }
        array += shape->stride;
    }
}

/* First non-zero of a row, from start on, whose column is not below `column`. */
INLINE int64_t NAME(lower_bound)(const COLUMN *columns, int64_t start, int64_t stop,
                                 int64_t column) {
    int64_t length = stop - start;
    while (length > 1) {
        int64_t half = length / 2;
        start += columns[start + half - 1] < column ? half : 0;
        length -= half;
    }
    return start + (length == 1 && columns[start] < column);
}

/* Where each thread's features begin within the rows first .. stop - 1 of a batch. */
static void NAME(split)(const RUN *run, int64_t batch_first, int64_t first, int64_t stop,
                        int64_t *splits) {
    for (int64_t i = first; i < stop; i++) {
        int64_t row = row_at(run->ask, batch_first + i),
                *of_row = splits + i * (run->n_threads + 1);
        of_row[0] = run->row_starts[row];
        of_row[run->n_threads] = run->row_starts[row + 1];
        for (int64_t t = 1; t < run->n_threads; t++)
            of_row[t] = NAME(lower_bound)(run->columns, of_row[t - 1], of_row[run->n_threads],
                                          run->range[t]);
    }
}

/* First position of a thread's rows of a batch; all threads get about as many non-zeros. */
static int64_t NAME(first_position)(const RUN *run, int64_t first, int64_t stop, int64_t thread) {
    enum { COST_OF_A_ROW = 16 };
    if (thread == 0) return first;
    if (thread == run->n_threads) return stop;
    int64_t total = 0, so_far = 0;
    for (int64_t i = first; i < stop; i++) {
        int64_t row = row_at(run->ask, i);
        total += run->row_starts[row + 1] - run->row_starts[row] + COST_OF_A_ROW;
    }
    for (int64_t i = first; i < stop; i++) {
        if (so_far * run->n_threads >= total * thread) return i;
        int64_t row = row_at(run->ask, i);
        so_far += run->row_starts[row + 1] - run->row_starts[row] + COST_OF_A_ROW;
    }
    return stop;
}
