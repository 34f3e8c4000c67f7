/* The phases of a batch of sparse rows: A partial logits, B residuals, C update. */

/* ---------------------------------------------------------------- A */

/* The logits of row i of a panel from its sums: z [class][PANEL]. */
INLINE void NAME(take_logits)(const RUN *run, mixture m, const WEIGHT *sums, int64_t i, WEIGHT *z) {
    const SHAPE *shape = &run->shape;
    WEIGHT ww = (WEIGHT)m.ww, wv = (WEIGHT)m.wv;
    const WEIGHT *x = sums, *y = sums + shape->stride;
    if (shape->n_read == 1)
        for (int64_t c = 0; c < shape->k; c++)
            z[c * PANEL + i] = ww * x[c] + run->intercept.values[c];
    else
        for (int64_t c = 0; c < shape->k; c++)
            z[c * PANEL + i] = ww * x[c] + wv * y[c] + run->intercept.values[c];
}

/* A pass: logits of n_rows <= PANEL rows from a position on: own->z [class][PANEL]. The rows after
 * them, up to `stop`, are prefetched. */
static void NAME(panel_logits)(const RUN *run, OWN *own, int64_t first, int64_t n_rows,
                               int64_t stop) {
    NAME(non_zeros) row = NAME(row_from)(run, first, stop);
    for (int64_t i = 0; i < n_rows; i++) {
        NAME(non_zeros) next = NAME(row_from)(run, first + i + 1, stop);
        NAME(touch_row)(NAME(row_from)(run, first + i + 2, stop));
        NAME(row_sums)(run, row, next, own->sums);
        NAME(take_logits)(run, identity, own->sums, i, own->z);
        row = next;
    }
}

/* One thread's partial logits: sums over its slices of the rows from a position on, or of its part
 * of these rows. starts: of the first row. */
static void NAME(sum_slices)(const RUN *run, const OWN *own, int64_t first, int64_t n_rows,
                             WEIGHT *partial, int64_t *starts) {
    enum { ROWS_AHEAD = 4 };
    const SHAPE *shape = &run->shape;
    int64_t width = shape->n_read * shape->stride, n_slices = own->of.stop - own->of.first;
    int64_t from = n_rows * own->of.part / own->of.n_parts;
    int64_t to = n_rows * (own->of.part + 1) / own->of.n_parts;
    int64_t *here = starts + from * (n_slices + 1);
    if (from < to) NAME(find_slices)(run, own, first + from, here);
    for (int64_t i = from; i < to && !told_to_stop(run->ask->samples->stop); i++) {
        int64_t later = at_most(first + i + 2 * ROWS_AHEAD, run->ask->n_order - 1);
        __builtin_prefetch(run->row_starts + row_at(run->ask, later), 0, 3);
        NAME(touch_row)(NAME(row_from)(run, first + i + ROWS_AHEAD, run->ask->n_order));
        int64_t *next = here + n_slices + 1;
        if (i + 1 < to) NAME(find_slices)(run, own, first + i + 1, next);
        for (int64_t s = 0; s < n_slices; s++) {
            NAME(non_zeros) ahead = NAME(non_zeros_at)(run, 0, 0);
            if (i + 1 < to) ahead = NAME(non_zeros_at)(run, next[s], next[s + 1]);
            NAME(row_sums)(run, NAME(non_zeros_at)(run, here[s], here[s + 1]), ahead,
                           partial + ((own->of.first + s) * NAME(ROWS_AT_ONCE) + i) * width);
        }
        here = next;
    }
}

/* ---------------------------------------------------------------- B */

/* Sums of a row over all features; partial: those of the first slice. */
INLINE void NAME(join_slices)(const RUN *run, const WEIGHT *partial, WEIGHT *out) {
    int64_t width = run->shape.n_read * run->shape.stride, n_slices = run->ask->blocking->n_slices;
    if (run->shape.stride == 1)
        for (int64_t c = 0; c < width; c++) {
            out[c] = partial[c];
            for (int64_t s = 1; s < n_slices; s++)
                out[c] += partial[s * NAME(ROWS_AT_ONCE) * width + c];
        }
    else
        for (int64_t c = 0; c < width; c += LANES) {
            V sum = *(const V *)(partial + c);
            for (int64_t s = 1; s < n_slices; s++)
                sum += *(const V *)(partial + s * NAME(ROWS_AT_ONCE) * width + c);
            *(V *)(out + c) = sum;
        }
}

/* The sum of n_rows rows (stride): out (stride). */
INLINE void NAME(add_up)(int64_t stride, int64_t n_rows, const WEIGHT *rows, WEIGHT *out) {
    memset(out, 0, stride * sizeof(WEIGHT));
    for (int64_t i = 0; i < n_rows; i++, rows += stride)
        if (stride == 1)
            *out += *rows;
        else
            for (int64_t c = 0; c < stride; c += LANES) *(V *)(out + c) += *(const V *)(rows + c);
}

/* Residuals and losses of a thread's share of n_rows <= ROWS_AT_ONCE rows from a position on, of
 * the batch from batch_first on. */
static void NAME(residuals)(const RUN *run, OWN *own, mixture m, int64_t thread,
                            int64_t batch_first, int64_t first, int64_t n_rows,
                            const WEIGHT *partial, double divisor) {
    const SHAPE *shape = &run->shape;
    int64_t width = shape->n_read * shape->stride, n_groups = (n_rows + PANEL - 1) / PANEL;
    int32_t labels[PANEL];
    WEIGHT row_weight[PANEL] __attribute__((aligned(VECTOR_BYTES)));
    WEIGHT losses[PANEL] __attribute__((aligned(VECTOR_BYTES)));
    int64_t to = at_most(n_groups * (thread + 1) / run->n_threads * PANEL, n_rows);
    for (int64_t from = n_groups * thread / run->n_threads * PANEL; from < to; from += PANEL) {
        int64_t n = at_most(to - from, PANEL), at = first - batch_first + from;
        for (int64_t i = 0; i < n; i++) {
            NAME(join_slices)(run, partial + (from + i) * width, own->sums);
            NAME(take_logits)(run, m, own->sums, i, own->z);
        }
        NAME(weigh)(run->ask, first + from, n, PANEL, divisor, row_weight, labels);
        NAME(losses)(shape->k, own->z, labels, row_weight, n, 0, PANEL, true, losses);
        double loss = 0;
        for (int64_t i = 0; i < n; i++) loss += losses[i];
        run->panel_losses[at / PANEL] = loss;
        WEIGHT *residual = run->residual + at * shape->stride;
        for (int64_t i = 0; i < n; i++)
            for (int64_t c = 0; c < shape->k; c++)
                residual[i * shape->stride + c] = own->z[c * PANEL + i];
        NAME(add_up)(shape->stride, n, residual, run->panel_sums + at / PANEL * shape->stride);
    }
}

/* ---------------------------------------------------------------- C */

/* What row i of the batch from a position on stores of a thread's features; none after the batch.
 */
INLINE NAME(non_zeros)
    NAME(own_non_zeros)(const RUN *run, const OWN *own, int64_t first, int64_t i, int64_t n_rows) {
    if (i >= n_rows) return NAME(non_zeros_at)(run, 0, 0);
    int64_t n_slices = own->of.stop - own->of.first;
    if (own->of.n_parts == 1) {
        const int64_t *starts = own->starts + i * (n_slices + 1);
        return NAME(non_zeros_at)(run, starts[0], starts[n_slices]);
    }
    int64_t row = row_at(run->ask, first + i), stop = run->row_starts[row + 1];
    int64_t start = NAME(lower_bound)(run->columns, run->row_starts[row], stop, own->first_feature);
    return NAME(non_zeros_at)(run, start,
                              NAME(lower_bound)(run->columns, start, stop, own->stop_feature));
}

/* Add the products of the rows of the batch from a position on to a thread's features of the state,
 * times `change`, the change of its coordinates for a gradient of 1. */
static void NAME(step_in_place)(const RUN *run, OWN *own, int64_t first, int64_t n_rows,
                                triple change) {
    const SHAPE *shape = &run->shape;
    const WEIGHT *gain = run->one_gain ? NULL : run->ask->options->gain;
    double all = run->one_gain ? *(const WEIGHT *)run->ask->options->gain : 1;
    WEIGHT weight = (WEIGHT)(change.weight * all), velocity = (WEIGHT)(change.velocity * all);
    WEIGHT average = (WEIGHT)(change.average * all);
    NAME(non_zeros) row = NAME(own_non_zeros)(run, own, first, 0, n_rows);
    for (int64_t i = 0; i < n_rows && !told_to_stop(run->ask->samples->stop); i++) {
        NAME(non_zeros) next = NAME(own_non_zeros)(run, own, first, i + 1, n_rows);
        const WEIGHT *residual = run->residual + i * shape->stride;
        WEIGHT *factors = own->factors;
        for (int64_t c = 0; c < shape->stride; c++) {
            factors[c] = weight * residual[c];
            if (shape->velocity)
                factors[shape->velocity * shape->stride + c] = velocity * residual[c];
            if (shape->average) factors[shape->average * shape->stride + c] = average * residual[c];
        }
        NAME(add_row)(shape->feature_size, row, next, factors, gain, run->state);
        row = next;
    }
}

/* Add the products of the rows of the batch from a position on to a thread's features of the
 * gradient. */
static void NAME(add_gradient)(const RUN *run, const OWN *own, int64_t first, int64_t n_rows) {
    NAME(non_zeros) row = NAME(own_non_zeros)(run, own, first, 0, n_rows);
    for (int64_t i = 0; i < n_rows && !told_to_stop(run->ask->samples->stop); i++) {
        NAME(non_zeros) next = NAME(own_non_zeros)(run, own, first, i + 1, n_rows);
        if (run->touched)
            for (int64_t s = 0; s < row.count; s++) run->touched[row.columns[s]] = 1;
        NAME(add_row)(run->shape.stride, row, next, run->residual + i * run->shape.stride, NULL,
                      run->gradient);
        row = next;
    }
}

/* Step with the gradient of those features from first to stop - 1 for which it is not zero. */
static void NAME(step_with_gradient)(const RUN *run, int64_t first, int64_t stop, triple change) {
    enum { AT_ONCE = 8 };
    const SHAPE *shape = &run->shape;
    const WEIGHT *gain = run->ask->options->gain;
    double of_array[3] = {change.weight};
    if (shape->velocity) of_array[shape->velocity] = change.velocity;
    if (shape->average) of_array[shape->average] = change.average;
    for (int64_t f = first; f < stop; f++) {
        uint64_t several = 1;
        if (f + AT_ONCE <= stop) memcpy(&several, run->touched + f, AT_ONCE);
        if (!several) f += AT_ONCE - 1; /* most features have none */
        if (!several || !run->touched[f]) continue;
        run->touched[f] = 0;
        WEIGHT *gradient = run->gradient + f * shape->stride;
        WEIGHT *state = run->state + f * shape->feature_size;
        for (int64_t array = 0; array < shape->n_arrays; array++, state += shape->stride) {
            WEIGHT factor = (WEIGHT)of_array[array] * gain[run->one_gain ? 0 : f];
            if (shape->stride == 1)
                state[0] += factor * gradient[0];
            else
                for (int64_t c = 0; c < shape->stride; c += LANES)
                    *(V *)(state + c) += *(const V *)(gradient + c) * factor;
        }
        memset(gradient, 0, shape->stride * sizeof(WEIGHT));
    }
}

/* Add a thread's features of the gradient to the result, and set them to zero. */
static void NAME(flush)(const RUN *run, int64_t first, int64_t stop) {
    const SHAPE *shape = &run->shape;
    for (int64_t from = first; from < stop; from += LANES) {
        int64_t to = at_most(from + LANES, stop);
        for (int64_t c = 0; c < shape->k; c++)
            for (int64_t f = from; f < to; f++)
                run->ask->weights_gradient_out[c * shape->d + f] +=
                    run->gradient[f * shape->stride + c];
        memset(run->gradient + from * shape->stride, 0,
               (to - from) * shape->stride * sizeof(WEIGHT));
    }
}

/* The loss of a batch and the intercept's step, which one thread computes for all. */
static void NAME(finish_batch)(const RUN *run, int64_t step, int64_t n_rows) {
    const request *ask = run->ask;
    const SHAPE *shape = &run->shape;
    int64_t n_panels = (n_rows + PANEL - 1) / PANEL;
    double loss = 0;
    for (int64_t i = 0; i < n_panels; i++) loss += run->panel_losses[i];
    NAME(add_up)(shape->stride, n_panels, run->panel_sums, run->residual_sum);
    ask->losses_out[ask->options ? step : 0] += loss;
    if (ask->options)
        NAME(step_intercept)(ask->options, step, shape->k, run->residual_sum, run->intercept);
    else
        for (int64_t c = 0; c < shape->k; c++)
            ask->intercept_gradient_out[c] += run->residual_sum[c];
}
