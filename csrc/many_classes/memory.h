/* The memory of a call of many classes. */

/* One thread's. */
typedef struct {
    int32_t *labels;      /* [panel] */
    WEIGHT *row_weight;   /* [panel] */
    WEIGHT *residual_sum; /* (classes) over the batch; only of the slices that it has a part of */
    WEIGHT *rows, *logits, *by_class; /* a pass: a panel, its logits, and these [class][PANEL] */
} NAME(many_own);
#define MANY_OWN NAME(many_own)

/* (classes): padded to whole vectors. */
typedef struct {
    const request *ask;
    MANY_SHAPE shape;
    int64_t n_threads;
    arena memory;
    barrier *barrier;
    MANY_OWN *own;                        /* (n_threads) */
    WEIGHT *weights, *velocity, *average; /* packed */
    WEIGHT *shift, *gain;                 /* (d_padded) */
    WEIGHT *gradient;                     /* packed; a batch of several panels */
    double *gradient_sum;                 /* packed; without steps */
    WEIGHT *rows[2];           /* [bundle of rows][feature][row in bundle] each: panels */
    void *zero_row;            /* (d) of any type, in place of rows after a panel's last */
    WEIGHT *residual;          /* [slice][panel][class in slice] */
    WEIGHT *losses;            /* [panel] */
    WEIGHT *offset;            /* (classes): what the shift takes off every logit */
    NAME(intercept) intercept; /* (classes) */
    double *panel_losses;      /* (panels); a pass */
    int64_t *panel_correct;    /* (panels); a pass */
} NAME(many_run);
#define MANY_RUN NAME(many_run)

/* What a pass needs, whose threads have panels of their own. */
static void NAME(lay_out_pass)(MANY_RUN *run, MANY_OWN *own) {
    const MANY_SHAPE *shape = &run->shape;
    int64_t classes = shape->n_vectors * LANES;
    own->rows = take(&run->memory, shape->panel / BUNDLE * shape->stride * sizeof(WEIGHT));
    own->logits = take(&run->memory, classes * shape->panel * sizeof(WEIGHT));
    own->by_class = take(&run->memory, classes * PANEL * sizeof(WEIGHT));
}

/* What steps and the gradient need. */
static void NAME(lay_out_descent)(MANY_RUN *run) {
    const request *ask = run->ask;
    const fastlin_parameters *p = ask->parameters;
    const MANY_SHAPE *shape = &run->shape;
    arena *memory = &run->memory;
    bool steps = ask->options;
    int64_t packed = NAME(packed_before)(shape, shape->n_vectors);
    run->velocity = p->weights_velocity ? take(memory, packed * sizeof(WEIGHT)) : NULL;
    run->average = p->weights_average ? take(memory, packed * sizeof(WEIGHT)) : NULL;
    run->gain = steps ? take(memory, shape->d_padded * sizeof(WEIGHT)) : NULL;
    run->gradient = ask->batch_size > shape->panel ? take(memory, packed * sizeof(WEIGHT)) : NULL;
    run->gradient_sum = steps ? NULL : take(memory, packed * sizeof(double));
    for (int i = 0; i < 2; i++)
        run->rows[i] = take(memory, shape->panel / BUNDLE * shape->stride * sizeof(WEIGHT));
    run->residual = take(memory, shape->n_vectors * LANES * shape->panel * sizeof(WEIGHT));
    run->losses = take(memory, shape->panel * sizeof(WEIGHT));
}

/* Place all arrays; called twice, first with an arena that only counts. */
static void NAME(lay_out_many)(MANY_RUN *run) {
    const request *ask = run->ask;
    const MANY_SHAPE *shape = &run->shape;
    arena *memory = &run->memory;
    int64_t packed = NAME(packed_before)(shape, shape->n_vectors);
    int64_t classes = shape->n_vectors * LANES;
    int64_t n_panels = is_pass(ask) ? (ask->n_order + PANEL - 1) / PANEL : 0;
    run->weights = take(memory, packed * sizeof(WEIGHT));
    run->shift = ask->samples->shift ? take(memory, shape->d_padded * sizeof(WEIGHT)) : NULL;
    run->zero_row = take(memory, shape->d * sizeof(WEIGHT));
    run->offset = take(memory, classes * sizeof(WEIGHT));
    run->intercept = NAME(take_intercept)(memory, ask->parameters);
    run->panel_losses = take(memory, n_panels * sizeof(double));
    run->panel_correct = take(memory, n_panels * sizeof(int64_t));
    run->barrier = take(memory, sizeof(barrier));
    if (!is_pass(ask)) NAME(lay_out_descent)(run);
    run->own = take(memory, run->n_threads * sizeof(MANY_OWN));
    for (int64_t t = 0; t < run->n_threads; t++) {
        MANY_OWN counted, *own = run->own ? &run->own[t] : &counted;
        own->labels = take(memory, shape->panel * sizeof(int32_t));
        own->row_weight = take(memory, shape->panel * sizeof(WEIGHT));
        own->residual_sum = take(memory, classes * sizeof(WEIGHT));
        if (is_pass(ask)) NAME(lay_out_pass)(run, own);
    }
}

/* Allocate the memory of a call on n_threads threads, which will copy the weights to it. */
static int NAME(many_set_up)(void *context, int64_t n_threads) {
    MANY_RUN *run = context;
    const request *ask = run->ask;
    size_t features = run->shape.d * sizeof(WEIGHT);
    run->n_threads = n_threads;
    NAME(lay_out_many)(run);
    if (!reserve(&run->memory)) return FASTLIN_NO_MEMORY;
    NAME(lay_out_many)(run);
    if (run->shift) memcpy(run->shift, ask->samples->shift, features);
    if (run->gain) memcpy(run->gain, ask->options->gain, features);
    NAME(copy_intercept)(ask->parameters, run->intercept, false);
    return FASTLIN_OK;
}
