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

/* Rows of a batch between two barriers: their partial logits stay in the cache. */
enum { NAME(ROWS_AT_ONCE) = 128 };

/* One thread's. */
typedef struct {
    slices of;                           /* the features of its partial logits */
    int64_t first_feature, stop_feature; /* of its updates: those slices, or its part of one */
    int64_t *starts; /* [batch][its slices + 1] where they begin and end in each row */
    WEIGHT *z;       /* [class][PANEL] logits of some rows, then residuals */
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
    WEIGHT *partial;      /* [2][slice][ROWS_AT_ONCE][n_read * stride] sums, halves take turns */
    WEIGHT *residual;     /* [batch][stride] */
    WEIGHT *panel_sums;   /* [panel][stride] sums of the residuals; not in a pass */
    WEIGHT *residual_sum; /* (stride) */
    NAME(intercept) intercept;
    double *panel_losses;   /* (panels) of a pass or of a batch */
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

/* Numbers of the partial logits of ROWS_AT_ONCE rows. */
static int64_t NAME(partial_size)(const RUN *run) {
    const SHAPE *shape = &run->shape;
    return run->ask->blocking->n_slices * NAME(ROWS_AT_ONCE) * shape->n_read * shape->stride;
}

/* Place all arrays; called twice, first with an arena that only counts. */
static void NAME(lay_out)(RUN *run) {
    const request *ask = run->ask;
    const SHAPE *shape = &run->shape;
    arena *memory = &run->memory;
    bool pass = is_pass(ask), summed = !pass && !run->in_place;
    int64_t batch = pass ? 0 : at_most(ask->batch_size, ask->n_order);
    int64_t n_panels = ((pass ? ask->n_order : batch) + PANEL - 1) / PANEL;
    run->state = take(memory, shape->d * shape->feature_size * sizeof(WEIGHT));
    run->gradient = summed ? take(memory, shape->d * shape->stride * sizeof(WEIGHT)) : NULL;
    run->touched = summed && ask->options ? take(memory, shape->d) : NULL;
    run->partial = take(memory, pass ? 0 : 2 * NAME(partial_size)(run) * sizeof(WEIGHT));
    run->residual = take(memory, batch * shape->stride * sizeof(WEIGHT));
    run->panel_sums = take(memory, pass ? 0 : n_panels * shape->stride * sizeof(WEIGHT));
    run->residual_sum = take(memory, NAME(intercept_bytes)(shape->stride));
    run->intercept = NAME(take_intercept)(memory, ask->parameters);
    run->panel_losses = take(memory, n_panels * sizeof(double));
    run->panel_correct = take(memory, pass ? n_panels * sizeof(int64_t) : 0);
    run->barrier = take(memory, sizeof(barrier));
    run->own = take(memory, run->n_threads * sizeof(OWN));
    for (int64_t t = 0; t < run->n_threads; t++) {
        slices of = pass ? (slices){0} : slices_of(ask->blocking->n_slices, t, run->n_threads);
        OWN own = {
            .of = of,
            .starts = take(memory, batch * (of.stop - of.first + 1) * sizeof(int64_t)),
            .z = take(memory, shape->k * PANEL * sizeof(WEIGHT)),
            .sums = take(memory, shape->n_read * shape->stride * sizeof(WEIGHT)),
            .factors = take(memory, shape->feature_size * sizeof(WEIGHT)),
        };
        if (run->own) run->own[t] = own;
    }
}

/* The features whose weights a thread updates. */
static void NAME(divide)(const RUN *run, OWN *own) {
    const fastlin_blocking *blocking = run->ask->blocking;
    int64_t n_parts = (own->of.stop - own->of.first) * blocking->n_parts;
    const int64_t *bounds = blocking->bounds + own->of.first * blocking->n_parts;
    own->first_feature = bounds[n_parts * own->of.part / own->of.n_parts];
    own->stop_feature = bounds[n_parts * (own->of.part + 1) / own->of.n_parts];
}

static int NAME(set_up)(void *context, int64_t n_threads) {
    RUN *run = context;
    run->n_threads = n_threads;
    NAME(lay_out)(run);
    if (!reserve(&run->memory)) return FASTLIN_NO_MEMORY;
    NAME(lay_out)(run);
    NAME(copy_intercept)(run->ask->parameters, run->intercept, false);
    for (int64_t t = 0; t < n_threads && !is_pass(run->ask); t++) NAME(divide)(run, &run->own[t]);
    return FASTLIN_OK;
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

/* Where a thread's slices begin and end in the row at a position of the order. */
static void NAME(find_slices)(const RUN *run, const OWN *own, int64_t position, int64_t *starts) {
    const fastlin_blocking *blocking = run->ask->blocking;
    int64_t row = row_at(run->ask, position);
    int64_t at = run->row_starts[row], stop = run->row_starts[row + 1];
    for (int64_t s = own->of.first; s <= own->of.stop; s++) {
        if (s == blocking->n_slices)
            at = stop;
        else if (s > 0)
            at = NAME(lower_bound)(run->columns, at, stop, blocking->bounds[s * blocking->n_parts]);
        *starts++ = at;
    }
}
