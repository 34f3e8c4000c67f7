/* The memory of a call on dense rows, shared and of each thread. */

/* Rows that phase C processes at once; a panel is rounded up to a multiple of them. */
#if MATRIX_UNIT
#define ROWS_IN_REGISTER 64
#define ROWS_STAGED 32 /* in phase A */
#else
#define ROWS_IN_REGISTER LANES
#endif

/* One thread's. */
typedef struct {
    NAME(division) part;
    const ROW **rows[2];  /* [PANEL + 8] each: this panel's and the next one's */
    ROW *short_rows[2];   /* [PANEL + 8][LANES] each: copies of rows shorter than a vector */
    int32_t *labels;      /* [PANEL] */
    WEIGHT *row_weight;   /* [PANEL] */
    WEIGHT *residual;     /* [k_padded][PANEL]: its own, or all threads'; of each slice in a pass */
    WEIGHT *losses;       /* [PANEL]: likewise */
    WEIGHT *residual_sum; /* (k_padded) over the batch; in a pass [slice][k_padded], as offset */
    NAME(intercept) intercept; /* a copy: every thread updates the intercept for itself */
#if MATRIX_UNIT
    uint8_t *staged,
        *interleaved[2]; /* this thread's part of the panel: see matrix_unit/operands.h */
    int8_t *residual_digits;
    WEIGHT *residual_quantum; /* (k_padded) */
#endif
} NAME(own);
#define OWN NAME(own)

typedef struct {
    const request *ask;
    SHAPE shape;
    int64_t n_threads;
    /* Each thread computes the residuals of all rows for itself, unless there are so many that it
     * is faster to divide the rows among the threads and wait for one another. */
    bool residual_shared;
    arena memory;
    barrier *barrier;
    OWN *own;                             /* (n_threads) */
    WEIGHT *weights, *velocity, *average; /* packed */
    WEIGHT *shift, *gain;                 /* (n_vectors * LANES) */
    WEIGHT *gradient;                     /* packed; a batch of several panels */
    double *gradient_sum;                 /* packed; without steps */
    WEIGHT *partial;      /* [2 or 1][n_slices][k_padded][PANEL]: panels take turns unless shared */
    WEIGHT *offset;       /* [2][n_slices][k_padded]: what the shift takes off every logit */
    double *panel_losses; /* (panels); a pass */
    int64_t *panel_correct; /* (panels); a pass */
#if MATRIX_UNIT
    int8_t *weight_digits;  /* see matrix_unit/operands.h */
    WEIGHT *weight_quantum; /* [n_slices][k_padded] */
#endif
} NAME(run);
#define RUN NAME(run)

static void NAME(lay_out_own)(const RUN *run, arena *memory, int64_t thread, OWN *own) {
    const SHAPE *shape = &run->shape;
    own->part = NAME(divide)(shape, thread, run->n_threads);
    for (int i = 0; i < 2; i++) {
        own->rows[i] = take(memory, (PANEL + 8) * sizeof(ROW *));
        own->short_rows[i] = shape->d < LANES && !MATRIX_UNIT
                                 ? take(memory, (PANEL + 8) * LANES * sizeof(ROW))
                                 : NULL;
    }
    own->labels = take(memory, PANEL * sizeof(int32_t));
    own->row_weight = take(memory, PANEL * sizeof(WEIGHT));
    int64_t n_sums = is_pass(run->ask) ? shape->n_slices : 1;
    /* Each shared logit is overwritten right after its parts have been read. */
    own->residual = run->residual_shared
                        ? run->partial
                        : take(memory, n_sums * shape->k_padded * PANEL * sizeof(WEIGHT));
    own->losses = take(memory, PANEL * sizeof(WEIGHT));
    own->residual_sum = take(memory, n_sums * NAME(intercept_bytes)(shape->k_padded));
    own->intercept = NAME(take_intercept)(memory, run->ask->parameters);
#if MATRIX_UNIT
    int64_t width = (own->part.stop_vector - own->part.first_vector) * LANES;
    own->staged = take(memory, ROWS_STAGED * width);
    for (int i = 0; i < 2; i++) own->interleaved[i] = take(memory, PANEL * 64);
    own->residual_digits = take(memory, shape->k_padded * PANEL * 4);
    own->residual_quantum = take(memory, shape->k_padded * sizeof(WEIGHT));
#endif
}

/* Place all arrays; called twice, first with an arena that only counts. */
static void NAME(lay_out)(RUN *run) {
    const request *ask = run->ask;
    const SHAPE *shape = &run->shape;
    arena *memory = &run->memory;
    bool steps = ask->options, pass = is_pass(ask);
    size_t packed = NAME(packed_size)(shape), logits = shape->k_padded * PANEL * sizeof(WEIGHT);
    size_t features = shape->n_vectors * LANES * sizeof(WEIGHT);
    run->weights = take(memory, packed * sizeof(WEIGHT));
    run->velocity =
        ask->parameters->weights_velocity ? take(memory, packed * sizeof(WEIGHT)) : NULL;
    run->average = ask->parameters->weights_average ? take(memory, packed * sizeof(WEIGHT)) : NULL;
    run->shift = take(memory, features);
    run->gain = steps ? take(memory, features) : NULL;
    run->gradient = steps && ask->batch_size > PANEL ? take(memory, packed * sizeof(WEIGHT)) : NULL;
    run->gradient_sum = steps || pass ? NULL : take(memory, packed * sizeof(double));
    run->partial =
        pass ? NULL : take(memory, (run->residual_shared ? 1 : 2) * shape->n_slices * logits);
    run->offset = take(memory, 2 * shape->n_slices * shape->k_padded * sizeof(WEIGHT));
    int64_t n_panels = pass ? (ask->n_order + PANEL - 1) / PANEL : 0;
    run->panel_losses = take(memory, n_panels * sizeof(double));
    run->panel_correct = take(memory, n_panels * sizeof(int64_t));
    run->barrier = take(memory, sizeof(barrier));
#if MATRIX_UNIT
    run->weight_digits = take(memory, packed * 4);
    run->weight_quantum = take(memory, shape->n_slices * shape->k_padded * sizeof(WEIGHT));
#endif
    WEIGHT *shared_losses = run->residual_shared ? take(memory, PANEL * sizeof(WEIGHT)) : NULL;
    run->own = take(memory, run->n_threads * sizeof(OWN));
    for (int64_t t = 0; t < run->n_threads; t++) {
        OWN counted, *own = run->own ? &run->own[t] : &counted;
        NAME(lay_out_own)(run, memory, t, own);
        if (shared_losses) own->losses = shared_losses;
    }
}

/* Allocate the memory of a call on n_threads threads, and copy the caller's arrays to it. */
static int NAME(set_up)(void *context, int64_t n_threads) {
    RUN *run = context;
    const request *ask = run->ask;
    const SHAPE *shape = &run->shape;
    const fastlin_parameters *p = ask->parameters;
    run->n_threads = n_threads;
    run->residual_shared = !is_pass(ask) && ask->blocking->shares_residuals;
    NAME(lay_out)(run);
    if (!reserve(&run->memory)) return FASTLIN_NO_MEMORY;
    NAME(lay_out)(run);
    NAME(pack)(shape, run->weights, p->weights, false);
    if (run->velocity) NAME(pack)(shape, run->velocity, p->weights_velocity, false);
    if (run->average) NAME(pack)(shape, run->average, p->weights_average, false);
    if (ask->samples->shift) NAME(pack_features)(shape, run->shift, ask->samples->shift);
    if (ask->options) NAME(pack_features)(shape, run->gain, ask->options->gain);
    for (int64_t t = 0; t < n_threads; t++) NAME(copy_intercept)(p, run->own[t].intercept, false);
    return FASTLIN_OK;
}
