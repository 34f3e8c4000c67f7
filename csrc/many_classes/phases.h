/* The phases of many classes that multiply: A logits, and C gradient and update. */

/* ---------------------------------------------------------------- A */

/* What the shift subtracts from the logits of a slice. */
static void NAME(offset_of_slice)(const MANY_RUN *run, NAME(slice) slice) {
    const WEIGHT *weights = run->weights + NAME(packed_before)(&run->shape, slice.first);
    V sums[MOST_WIDE] = {{0}};
    if (!run->shift) return;
    for (int64_t j = 0; j < run->shape.d; j++)
        for (int64_t v = 0; v < slice.width; v++, weights += LANES)
            sums[v] += *(const V *)weights * run->shift[j];
    for (int64_t v = 0; v < slice.width; v++)
        *(V *)(run->offset + (slice.first + v) * LANES) = sums[v];
}

/* The sums over all features of some bundles of a panel's rows for a slice: logits [slice][row]
 * [class]. */
INLINE void NAME(logits_of_slice)(const int width, const MANY_RUN *run, NAME(slice) slice,
                                  NAME(range) part, const WEIGHT *rows, WEIGHT *logits) {
    const MANY_SHAPE *shape = &run->shape;
    const WEIGHT *weights = run->weights + NAME(packed_before)(shape, slice.first);
    WEIGHT *out = logits + slice.first * shape->panel * LANES;
    for (int64_t b = part.first; b < part.stop; b++)
        for (int i = 0; i < BUNDLE; i += GROUP)
            NAME(group_logits)(width, shape->d, rows + b * shape->stride + i, weights,
                               out + (b * BUNDLE + i) * width * LANES);
}

static void NAME(slice_sums)(const MANY_RUN *run, NAME(slice) slice, NAME(range) part,
                             const WEIGHT *rows, WEIGHT *logits) {
    if (slice.width == MOST_WIDE)
        NAME(logits_of_slice)(MOST_WIDE, run, slice, part, rows, logits);
    else
        NAME(logits_of_slice)(MOST_WIDE - 1, run, slice, part, rows, logits);
}

/* Phase A for a thread's part. */
static void NAME(many_logits)(const MANY_RUN *run, int64_t thread, const NAME(panel) * panel,
                              const WEIGHT *rows) {
    int64_t n_bundles = NAME(n_bundles)(panel);
    for (int64_t s = 0; s < run->shape.n_slices; s++) {
        NAME(slice) slice = NAME(slice_at)(&run->shape, s);
        NAME(range) part = NAME(part_of)(&run->shape, slice, n_bundles, thread, run->n_threads);
        NAME(slice_sums)(run, slice, part, rows, run->residual);
        if (part.first == 0 && part.stop > 0) NAME(offset_of_slice)(run, slice);
    }
}

/* ---------------------------------------------------------------- C */

/* Finish a group of features of a slice: keep its gradient for the batch's next panel, add it to
 * the sums over all rows, or step. sums: [feature][class]. */
INLINE void NAME(finish_group)(const int width, const MANY_RUN *run, const MANY_OWN *own,
                               const NAME(panel) * panel, NAME(slice) slice, int64_t at,
                               int64_t feature, V *sums) {
    const fastlin_step_options *options = run->ask->options;
    if (!panel->begins_batch) {
        UNROLL for (int i = 0; i < GROUP * width; i++)
            sums[i] += *(const V *)(run->gradient + at + i * LANES);
    }
    if (!panel->ends_batch) {
        UNROLL for (int i = 0; i < GROUP * width; i++)
            *(V *)(run->gradient + at + i * LANES) = sums[i];
        return;
    }
    if (!options) {
        /* A copy: the address of the sums would keep them from staying in registers. */
        V copy[GROUP * MOST_WIDE];
        UNROLL for (int i = 0; i < GROUP * width; i++)
            copy[i] = sums[i];
        double *to = run->gradient_sum + at;
        for (int i = 0; i < GROUP * width * LANES; i++) to[i] += ((const WEIGHT *)copy)[i];
        return;
    }
    if (run->shift) {
        UNROLL for (int i = 0; i < GROUP * width; i++)
            sums[i] -= *(const V *)(own->residual_sum + (slice.first + i % width) * LANES) *
                       run->shift[feature + i / width];
    }
    NAME(rates) rates = NAME(rates_of)(options, panel->step);
    const WEIGHT decay = (WEIGHT)options->decay, *gain = run->gain + feature;
    if (!run->velocity && !run->average) {
        V *weights = (V *)(run->weights + at), *none = NULL;
        UNROLL for (int i = 0; i < GROUP * width; i++) {
            V weight = weights[i], gradient = sums[i] * gain[i / width] + weight * decay;
            DESCEND(rates, gradient, &weight, none, none);
            weights[i] = weight;
        }
        return;
    }
    for (int i = 0; i < GROUP * width; i++, at += LANES) {
        V weight = *(const V *)(run->weights + at);
        V gradient = sums[i] * gain[i / width] + weight * decay;
        V *velocity = run->velocity ? (V *)(run->velocity + at) : NULL;
        V *average = run->average ? (V *)(run->average + at) : NULL;
        DESCEND(rates, gradient, &weight, velocity, average);
        *(V *)(run->weights + at) = weight;
    }
}

/* Sum up the residuals of a slice for the intercept, whose step is its first group's owner's. */
INLINE void NAME(sum_residuals)(const int width, const MANY_RUN *run, const MANY_OWN *own,
                                const NAME(panel) * panel, NAME(slice) slice, int64_t n_rows,
                                bool steps_intercept) {
    const request *ask = run->ask;
    int64_t first = slice.first * LANES, k = run->shape.k;
    const WEIGHT *residual = run->residual + slice.first * run->shape.panel * LANES;
    V sums[MOST_WIDE] = {{0}};
    for (int64_t i = 0; i < n_rows; i++, residual += width * LANES) UNROLL
        for (int v = 0; v < width; v++) sums[v] += *(const V *)(residual + v * LANES);
    UNROLL for (int v = 0; v < width; v++) {
        V *sum = (V *)(own->residual_sum + first + v * LANES);
        if (!panel->begins_batch) sums[v] += *sum;
        *sum = sums[v];
    }
    if (!steps_intercept || !panel->ends_batch) return;
    if (!ask->options) {
        for (int64_t c = first; c < at_most(k, first + width * LANES); c++)
            ask->intercept_gradient_out[c] += own->residual_sum[c];
    } else {
        NAME(intercept) all = run->intercept;
        NAME(intercept)
        of_slice = {all.values + first, all.velocity ? all.velocity + first : NULL,
                    all.average ? all.average + first : NULL};
        NAME(step_intercept)(ask->options, panel->step, width * LANES, own->residual_sum + first,
                             of_slice);
    }
}

INLINE void NAME(gradient_of_slice)(const int width, const MANY_RUN *run, const MANY_OWN *own,
                                    const NAME(panel) * panel, NAME(slice) slice, NAME(range) part,
                                    const WEIGHT *rows, NAME(fetcher) * next) {
    const MANY_SHAPE *shape = &run->shape;
    int64_t n_bundles = NAME(n_bundles)(panel);
    const WEIGHT *residual = run->residual + slice.first * shape->panel * LANES;
    if (part.first == part.stop) return;
    NAME(sum_residuals)(width, run, own, panel, slice, n_bundles * BUNDLE, part.first == 0);
    /* The array that the gradient changes. */
    const WEIGHT *changed = panel->begins_batch && panel->ends_batch ? run->weights : run->gradient;
    for (int64_t g = part.first; g < part.stop; g++) {
        V sums[GROUP * MOST_WIDE];
        int64_t at = NAME(packed_before)(shape, slice.first) + g * GROUP * width * LANES;
        if (changed)
            for (int i = 0; i < GROUP * width; i++)
                __builtin_prefetch(changed + at + i * LANES, 1, 3);
        NAME(group_gradient)(width, n_bundles, shape->stride, rows + g * GROUP * BUNDLE, residual,
                             next, sums);
        NAME(finish_group)(width, run, own, panel, slice, at, g * GROUP, sums);
    }
}

/* Phase C for a thread's part. */
static void NAME(many_gradient)(const MANY_RUN *run, int64_t thread, const NAME(panel) * panel,
                                const WEIGHT *rows) {
    const MANY_SHAPE *shape = &run->shape;
    const MANY_OWN *own = &run->own[thread];
    NAME(fetcher) next = NAME(fetcher_of)(run, thread, panel);
    for (int64_t s = 0; s < shape->n_slices; s++) {
        NAME(slice) slice = NAME(slice_at)(shape, s);
        NAME(range)
        part = NAME(part_of)(shape, slice, shape->d_padded / GROUP, thread, run->n_threads);
        if (slice.width == MOST_WIDE)
            NAME(gradient_of_slice)(MOST_WIDE, run, own, panel, slice, part, rows, &next);
        else
            NAME(gradient_of_slice)(MOST_WIDE - 1, run, own, panel, slice, part, rows, &next);
    }
    if (thread == 0) {
        double loss = 0;
        for (int64_t i = 0; i < panel->n_rows; i++) loss += run->losses[i];
        run->ask->losses_out[panel->step] += loss;
    }
}
