/* The three phases of a panel of dense rows: A partial logits, B residuals, C gradient and update.
 */

/* Point `rows` at the rows of some positions; entries after the last repeat it. */
static void NAME(gather)(const RUN *run, int64_t first, int64_t n_rows, const ROW **rows,
                         ROW *short_rows) {
    const fastlin_samples *samples = run->ask->samples;
    for (int64_t i = 0; i < PANEL + 8; i++) {
        int64_t row = row_at(run->ask, first + at_most(i, n_rows - 1));
        rows[i] = (const ROW *)((const char *)samples->rows + row * samples->row_stride);
        if (!short_rows) continue;
        memcpy(short_rows + i * LANES, rows[i], run->shape.d * sizeof(ROW));
        rows[i] = short_rows + i * LANES;
    }
}

/* The panel that begins at a position; `buffer`, 0 or 1, holds its rows. */
static NAME(panel) NAME(panel_at)(const RUN *run, OWN *own, int64_t first, int buffer) {
    NAME(panel) panel = NAME(bounds_of_panel)(run->ask, first, PANEL);
    if (panel.n_rows == 0) return panel;
    NAME(gather)(run, first, panel.n_rows, own->rows[buffer], own->short_rows[buffer]);
    panel.rows = (const ROW *const *)own->rows[buffer];
    return panel;
}

/* ---------------------------------------------------------------- A */

/* What the shift subtracts from every logit, over a run of vectors of features: out (k_padded). */
static void NAME(slice_offset)(const RUN *run, int64_t first_vector, int64_t stop_vector,
                               WEIGHT *out) {
    const SHAPE *shape = &run->shape;
    for (int64_t c = 0; c < shape->k; c++) {
        V sum = {0};
        const WEIGHT *w = run->weights + NAME(packed_at)(shape, c, first_vector);
        for (int64_t v = first_vector; v < stop_vector; v++, w += shape->block * LANES)
            sum += *(const V *)w * *(const V *)(run->shift + v * LANES);
        out[c] = NAME(sum)(sum);
    }
}

/* ---------------------------------------------------------------- B */

/* Logits of rows first_row .. stop_row - 1, whole vectors, from the sums over n_slices slices:
 * z [class][PANEL], which may be those over the first slice. */
static void NAME(join_slices)(const RUN *run, const WEIGHT *partial, const WEIGHT *offset,
                              int64_t n_slices, const WEIGHT *intercept, int64_t first_row,
                              int64_t stop_row, WEIGHT *z) {
    int64_t k_padded = run->shape.k_padded;
    for (int64_t c = 0; c < run->shape.k; c++) {
        WEIGHT constant = intercept[c];
        for (int64_t s = 0; s < n_slices; s++) constant -= offset[s * k_padded + c];
        for (int64_t i = first_row; i < stop_row; i += LANES) {
            V sum = *(const V *)(partial + c * PANEL + i);
            for (int64_t s = 1; s < n_slices; s++)
                sum += *(const V *)(partial + (s * k_padded + c) * PANEL + i);
            *(V *)(z + c * PANEL + i) = sum + constant;
        }
    }
}

/* Residuals of all rows of a panel or of a thread's, and sums of the losses and residuals. */
static void NAME(residuals)(const RUN *run, OWN *own, int64_t thread, const NAME(panel) * panel,
                            const WEIGHT *partial, const WEIGHT *offset) {
    const request *ask = run->ask;
    int64_t k = run->shape.k, n_padded = round_up(panel->n_rows, ROWS_IN_REGISTER);
    NAME(weigh)(ask, panel->first, panel->n_rows, PANEL,
                ask->options ? (double)panel->n_batch_rows : 1.0, own->row_weight, own->labels);
    int64_t first_row = 0, stop_row = n_padded;
    if (run->residual_shared) {
        first_row = n_padded / LANES * thread / run->n_threads * LANES;
        stop_row = n_padded / LANES * (thread + 1) / run->n_threads * LANES;
    }
    NAME(join_slices)(run, partial, offset, run->shape.n_slices, own->intercept.values, first_row,
                      stop_row, own->residual);
    NAME(losses)(k, own->residual, own->labels, own->row_weight, panel->n_rows, first_row, stop_row,
                 true, own->losses);
    if (run->residual_shared) wait_for_all(run->barrier, run->n_threads);
    if (thread == 0) {
        double loss = 0;
        for (int64_t i = 0; i < panel->n_rows; i++) loss += own->losses[i];
        ask->losses_out[panel->step] += loss;
    }
    for (int64_t c = 0; c < k; c++) {
        V sum = {0}; /* rows after the last have weight 0, hence residual 0 */
        for (int64_t i = 0; i < n_padded; i += LANES)
            sum += *(const V *)(own->residual + c * PANEL + i);
        WEIGHT total = NAME(sum)(sum);
        own->residual_sum[c] = (panel->begins_batch ? 0 : own->residual_sum[c]) + total;
        if (!ask->options && thread == 0) ask->intercept_gradient_out[c] += total;
    }
}

/* ---------------------------------------------------------------- C */

/* Finish a part of the gradient: add it to the sums, keep it for the batch's next panel, or step,
 * so that the gradient of a batch of one panel is never stored. sums: [vector][class], of n_classes
 * from first_class on (part of a block, or all of it if n_wide > 1) and n_wide vectors. */
INLINE void NAME(finish)(const int n_classes, const int n_wide, const RUN *run, const OWN *own,
                         const NAME(panel) * panel, int64_t first_class, int64_t vector,
                         const V *sums) {
    int64_t at = NAME(packed_at)(&run->shape, first_class, vector);
    const fastlin_step_options *options = run->ask->options;
    if (!options) {
        for (int i = 0; i < n_classes * n_wide; i++, at += LANES)
            for (int lane = 0; lane < LANES; lane++) run->gradient_sum[at + lane] += sums[i][lane];
        return;
    }
    NAME(rates) rates = NAME(rates_of)(options, panel->step);
    WEIGHT decay = (WEIGHT)options->decay;
    /* In registers: the compiler must assume that a stored vector changes what a pointer reads. */
    WEIGHT *weights = run->weights, *velocities = run->velocity, *averages = run->average;
    WEIGHT *kept = run->gradient;
    const WEIGHT *gain = run->gain, *shift = run->shift, *residual_sum = own->residual_sum;
    const bool begins_batch = panel->begins_batch, ends_batch = panel->ends_batch;
    for (int i = 0; i < n_classes * n_wide; i++, at += LANES) {
        V sum = sums[i];
        if (!begins_batch) sum += *(const V *)(kept + at);
        if (!ends_batch) {
            *(V *)(kept + at) = sum;
            continue;
        }
        int64_t lanes = (vector + i / n_classes) * LANES; /* of this vector's features */
        V by_shift = *(const V *)(shift + lanes) * residual_sum[first_class + i % n_classes];
        V weight = *(const V *)(weights + at);
        V gradient = *(const V *)(gain + lanes) * (sum - by_shift) + weight * decay;
        V *velocity = velocities ? (V *)(velocities + at) : NULL;
        V *average = averages ? (V *)(averages + at) : NULL;
        DESCEND(rates, gradient, &weight, velocity, average);
        *(V *)(weights + at) = weight;
    }
}
