/* The two phases of a batch of sparse rows: A residuals, C update. */

/* ---------------------------------------------------------------- A */

/* Logits of n_rows <= PANEL rows from a position on: own->z [class][PANEL]. The rows after them, up
 * to `stop`, are prefetched. */
static void NAME(panel_logits)(const RUN *run, OWN *own, mixture m, int64_t first, int64_t n_rows,
                               int64_t stop) {
    const SHAPE *shape = &run->shape;
    WEIGHT ww = (WEIGHT)m.ww, wv = (WEIGHT)m.wv;
    NAME(non_zeros) row = NAME(row_from)(run, first, stop);
    for (int64_t i = 0; i < n_rows; i++) {
        NAME(non_zeros) next = NAME(row_from)(run, first + i + 1, stop);
        NAME(touch_row)(NAME(row_from)(run, first + i + 2, stop));
        NAME(row_sums)(run, row, next, own->sums);
        const WEIGHT *x = own->sums, *y = own->sums + shape->stride;
        if (shape->n_read == 1)
            for (int64_t c = 0; c < shape->k; c++)
                own->z[c * PANEL + i] = ww * x[c] + run->intercept.values[c];
        else
            for (int64_t c = 0; c < shape->k; c++)
                own->z[c * PANEL + i] = ww * x[c] + wv * y[c] + run->intercept.values[c];
        row = next;
    }
}

/* Residuals and losses of a thread's rows, first .. stop - 1, of the batch from batch_first on. */
static void NAME(residuals)(const RUN *run, OWN *own, mixture m, int64_t batch_first, int64_t first,
                            int64_t stop, double divisor) {
    const SHAPE *shape = &run->shape;
    int32_t labels[PANEL];
    WEIGHT row_weight[PANEL] __attribute__((aligned(VECTOR_BYTES)));
    WEIGHT losses[PANEL] __attribute__((aligned(VECTOR_BYTES)));
    for (; first < stop && !told_to_stop(run->ask->samples->stop); first += PANEL) {
        int64_t n_rows = at_most(stop - first, PANEL), at = first - batch_first;
        int64_t n_padded = round_up(n_rows, LANES);
        NAME(panel_logits)(run, own, m, first, n_rows, stop);
        NAME(weigh)(run->ask, first, n_rows, n_padded, divisor, row_weight, labels);
        NAME(losses)(shape->k, own->z, labels, row_weight, n_rows, 0, n_padded, true, losses);
        memcpy(run->losses + at, losses, n_rows * sizeof(WEIGHT));
        for (int64_t i = 0; i < n_rows; i++)
            for (int64_t c = 0; c < shape->k; c++)
                run->residual[(at + i) * shape->stride + c] = own->z[c * PANEL + i];
    }
}

/* ---------------------------------------------------------------- C */

/* Add the products of a batch's rows to a thread's features of the state, times `change`, the
 * change of its coordinates for a gradient of 1. */
static void NAME(step_in_place)(const RUN *run, OWN *own, int64_t thread, int64_t n_rows,
                                const int64_t *splits, triple change) {
    const SHAPE *shape = &run->shape;
    const WEIGHT *gain = run->one_gain ? NULL : run->ask->options->gain;
    double all = run->one_gain ? *(const WEIGHT *)run->ask->options->gain : 1;
    WEIGHT weight = (WEIGHT)(change.weight * all), velocity = (WEIGHT)(change.velocity * all);
    WEIGHT average = (WEIGHT)(change.average * all);
    for (int64_t i = 0; i < n_rows && !told_to_stop(run->ask->samples->stop); i++) {
        const int64_t *at = splits + i * (run->n_threads + 1) + thread;
        const int64_t *next = at + (i + 1 < n_rows ? run->n_threads + 1 : 0);
        const WEIGHT *residual = run->residual + i * shape->stride;
        WEIGHT *factors = own->factors;
        for (int64_t c = 0; c < shape->stride; c++) {
            factors[c] = weight * residual[c];
            if (shape->velocity)
                factors[shape->velocity * shape->stride + c] = velocity * residual[c];
            if (shape->average) factors[shape->average * shape->stride + c] = average * residual[c];
        }
        NAME(add_row)(shape->feature_size, NAME(non_zeros_at)(run, at[0], at[1]),
                      NAME(non_zeros_at)(run, next[0], next[1]), factors, gain, run->state);
    }
}

/* Add the products of a batch's rows to a thread's features of the gradient. */
static void NAME(add_gradient)(const RUN *run, int64_t thread, int64_t n_rows,
                               const int64_t *splits) {
    for (int64_t i = 0; i < n_rows && !told_to_stop(run->ask->samples->stop); i++) {
        const int64_t *at = splits + i * (run->n_threads + 1) + thread;
        const int64_t *next = at + (i + 1 < n_rows ? run->n_threads + 1 : 0);
        NAME(non_zeros) row = NAME(non_zeros_at)(run, at[0], at[1]);
        if (run->touched)
            for (int64_t s = 0; s < row.count; s++) run->touched[row.columns[s]] = 1;
        NAME(add_row)(run->shape.stride, row, NAME(non_zeros_at)(run, next[0], next[1]),
                      run->residual + i * run->shape.stride, NULL, run->gradient);
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
    double loss = 0;
    memset(run->residual_sum, 0, shape->stride * sizeof(WEIGHT));
    for (int64_t i = 0; i < n_rows; i++) {
        loss += run->losses[i];
        for (int64_t c = 0; c < shape->stride; c++)
            run->residual_sum[c] += run->residual[i * shape->stride + c];
    }
    ask->losses_out[ask->options ? step : 0] += loss;
    if (ask->options)
        NAME(step_intercept)(ask->options, step, shape->k, run->residual_sum, run->intercept);
    else
        for (int64_t c = 0; c < shape->k; c++)
            ask->intercept_gradient_out[c] += run->residual_sum[c];
}
