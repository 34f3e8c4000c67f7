/* What a thread does with a panel of many classes: gathers its rows, and the phases A logits,
 * B residuals, C gradient and update. */

/* ---------------------------------------------------------------- rows */

/* Widen a group of rows and lay them in turn: out [feature][row]. */
INLINE void NAME(interleave)(int64_t d, const ROW *const *rows, WEIGHT *out) {
    if (d < LANES) {
        for (int64_t j = 0; j < d; j++)
            for (int i = 0; i < GROUP; i++) out[j * GROUP + i] = rows[i][j];
        return;
    }
    for (int64_t next = 0; next < d; next += LANES) {
        int64_t j = at_most(next, d - LANES); /* the last features overlap those before */
        V block[GROUP];
        UNROLL for (int i = 0; i < GROUP; i++)
            block[i] = NAME(load_row)(rows[i] + j);
        NAME(transpose)(GROUP, block);
        UNROLL for (int i = 0; i < GROUP; i++)
            NAME(store)(out + j * GROUP + i * LANES, block[i]);
    }
}

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

/* The groups of rows of a panel that a thread gathers. */
static NAME(groups)
    NAME(groups_to_gather)(const MANY_RUN *run, int64_t thread, const NAME(panel) * panel) {
    int64_t n_groups = (panel->n_rows + GROUP - 1) / GROUP;
    return (NAME(groups)){n_groups * thread / run->n_threads,
                          n_groups * (thread + 1) / run->n_threads};
}

static void NAME(gather_groups)(const MANY_RUN *run, int64_t thread, const NAME(panel) * panel,
                                WEIGHT *out) {
    NAME(groups) part = NAME(groups_to_gather)(run, thread, panel);
    for (int64_t g = part.first; g < part.stop; g++) {
        const ROW *rows[GROUP];
        for (int i = 0; i < GROUP; i++) {
            int64_t position = g * GROUP + i;
            rows[i] = run->zero_row;
            if (position >= panel->n_rows) continue;
            rows[i] = (const ROW *)NAME(address_of)(run->ask, panel->first + position);
        }
        NAME(interleave)(run->shape.d, rows, out + g * run->shape.stride);
    }
}

/* ---------------------------------------------------------------- A */

/* What the shift subtracts from the logits of a slice, for some width: out [class]. */
INLINE void NAME(offset_of_slice)(const int width, const MANY_RUN *run, const WEIGHT *weights,
                                  WEIGHT *out) {
    V sums[MOST_WIDE] = {{0}};
    for (int64_t j = 0; j < run->shape.d; j++) UNROLL
        for (int v = 0; v < width; v++)
            sums[v] += *(const V *)(weights + (j * width + v) * LANES) * run->shift[j];
    UNROLL for (int v = 0; v < width; v++)
        *(V *)(out + v * LANES) = sums[v];
}

INLINE void NAME(logits_of_slice)(const int width, const MANY_RUN *run, NAME(slice) slice,
                                  NAME(groups) part, const WEIGHT *rows) {
    const MANY_SHAPE *shape = &run->shape;
    const WEIGHT *weights = run->weights + NAME(packed_before)(shape, slice.first);
    WEIGHT *out = run->residual + slice.first * shape->panel * LANES;
    for (int64_t g = part.first; g < part.stop; g++)
        NAME(group_logits)(width, shape->d, rows + g * shape->stride, weights,
                           out + g * GROUP * width * LANES);
    if (run->shift && part.first == 0 && part.stop > 0)
        NAME(offset_of_slice)(width, run, weights, run->offset + slice.first * LANES);
}

/* Phase A for a thread's part: the sums over all features. */
static void NAME(many_logits)(const MANY_RUN *run, int64_t thread, const NAME(panel) * panel,
                              const WEIGHT *rows) {
    int64_t n_groups = (panel->n_rows + GROUP - 1) / GROUP;
    for (int64_t s = 0; s < run->shape.n_slices; s++) {
        NAME(slice) slice = NAME(slice_at)(&run->shape, s);
        NAME(groups)
        part = NAME(groups_of)(&run->shape, slice, n_groups, thread, run->n_threads);
        if (slice.width == 2)
            NAME(logits_of_slice)(2, run, slice, part, rows);
        else
            NAME(logits_of_slice)(3, run, slice, part, rows);
    }
}

/* ---------------------------------------------------------------- B */

/* The softmax of LANES rows from row `first` on: their logits, without the intercept, become
 * row_weight * dC/dz. Returns row_weight * losses. labels: n_rows of them. */
static V NAME(many_cross_entropy)(const MANY_RUN *run, int64_t first, const int32_t *labels,
                                  int64_t n_rows, const WEIGHT *row_weight) {
    const MANY_SHAPE *shape = &run->shape;
    const int64_t last = shape->n_vectors - 1;
    I absent = {0}; /* lanes of the last vector without a class */
    for (int lane = 0; lane < LANES; lane++) absent[lane] = last * LANES + lane < shape->k ? 0 : -1;
    V tops[LANES], totals[LANES];
    WEIGHT top[LANES] __attribute__((aligned(VECTOR_BYTES)));
    WEIGHT of_label[LANES] __attribute__((aligned(VECTOR_BYTES))) = {0};
    for (int i = 0; i < LANES; i++) tops[i] = NAME(splat)(-INFINITY), totals[i] = (V){0};
    for (int64_t s = 0; s < shape->n_slices; s++) {
        NAME(slice) slice = NAME(slice_at)(shape, s);
        WEIGHT *z = run->residual + (slice.first * shape->panel + first * slice.width) * LANES;
        V constant[MOST_WIDE];
        for (int64_t v = 0; v < slice.width; v++) {
            int64_t at = (slice.first + v) * LANES;
            constant[v] = *(const V *)(run->intercept.values + at) - *(const V *)(run->offset + at);
            if (slice.first + v == last)
                constant[v] = NAME(select)(absent, NAME(splat)(-INFINITY), constant[v]);
        }
        for (int i = 0; i < LANES; i++)
            for (int64_t v = 0; v < slice.width; v++, z += LANES) {
                *(V *)z += constant[v];
                tops[i] = NAME(largest)(*(const V *)z, tops[i]);
            }
    }
    for (int i = 0; i < LANES; i++) {
        top[i] = tops[i][0];
        for (int lane = 1; lane < LANES; lane++)
            top[i] = tops[i][lane] > top[i] ? tops[i][lane] : top[i];
    }
    for (int64_t i = 0; i < n_rows; i++)
        of_label[i] = run->residual[NAME(logit_at)(shape, labels[i], first + i)];
    for (int64_t s = 0; s < shape->n_slices; s++) {
        NAME(slice) slice = NAME(slice_at)(shape, s);
        WEIGHT *z = run->residual + (slice.first * shape->panel + first * slice.width) * LANES;
        for (int i = 0; i < LANES; i++)
            for (int64_t v = 0; v < slice.width; v++, z += LANES) {
                *(V *)z = NAME(exp)(*(const V *)z - top[i]);
                totals[i] += *(const V *)z;
            }
    }
    V total = NAME(sum_each)(totals), weight = *(const V *)row_weight;
    WEIGHT factor[LANES] __attribute__((aligned(VECTOR_BYTES)));
    *(V *)factor = weight / total;
    for (int64_t s = 0; s < shape->n_slices; s++) {
        NAME(slice) slice = NAME(slice_at)(shape, s);
        WEIGHT *z = run->residual + (slice.first * shape->panel + first * slice.width) * LANES;
        for (int i = 0; i < LANES; i++)
            for (int64_t v = 0; v < slice.width; v++, z += LANES) *(V *)z *= factor[i];
        /* exp has a least value, but what is no class must leave no trace in the weights. */
        if (s == shape->n_slices - 1)
            for (int i = 0; i < LANES; i++, z -= slice.width * LANES)
                *(V *)(z - LANES) = NAME(select)(absent, (V){0}, *(V *)(z - LANES));
    }
    for (int64_t i = 0; i < n_rows; i++)
        run->residual[NAME(logit_at)(shape, labels[i], first + i)] -= row_weight[i];
    return NAME(softmax_losses)(total, *(const V *)top, *(const V *)of_label, weight);
}

/* Phase B for a thread's rows. */
static void NAME(many_residuals)(const MANY_RUN *run, int64_t thread, const NAME(panel) * panel) {
    const request *ask = run->ask;
    const MANY_OWN *own = &run->own[thread];
    int64_t n_vectors = round_up(round_up(panel->n_rows, GROUP), LANES) / LANES;
    int64_t first = n_vectors * thread / run->n_threads * LANES;
    int64_t stop = n_vectors * (thread + 1) / run->n_threads * LANES;
    NAME(weigh)(ask, panel->first + first, panel->n_rows - first, stop - first,
                ask->options ? (double)panel->n_batch_rows : 1.0, own->row_weight, own->labels);
    for (int64_t i = first; i < stop; i += LANES)
        *(V *)(run->losses + i) = NAME(many_cross_entropy)(
            run, i, own->labels + i - first, at_least(0, at_most(LANES, panel->n_rows - i)),
            own->row_weight + i - first);
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
                                const NAME(panel) * panel, NAME(slice) slice, int64_t n_groups,
                                bool steps_intercept) {
    const request *ask = run->ask;
    int64_t first = slice.first * LANES, k = run->shape.k;
    const WEIGHT *residual = run->residual + slice.first * run->shape.panel * LANES;
    V sums[MOST_WIDE] = {{0}};
    for (int64_t i = 0; i < n_groups * GROUP; i++, residual += width * LANES) UNROLL
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
                                    const NAME(panel) * panel, NAME(slice) slice, NAME(groups) part,
                                    const WEIGHT *rows, NAME(fetcher) * next) {
    const MANY_SHAPE *shape = &run->shape;
    int64_t n_groups = (panel->n_rows + GROUP - 1) / GROUP;
    const WEIGHT *residual = run->residual + slice.first * shape->panel * LANES;
    if (part.first == part.stop) return;
    NAME(sum_residuals)(width, run, own, panel, slice, n_groups, part.first == 0);
    /* The array that the gradient changes. */
    const WEIGHT *changed = panel->begins_batch && panel->ends_batch ? run->weights : run->gradient;
    for (int64_t g = part.first; g < part.stop; g++) {
        V sums[GROUP * MOST_WIDE];
        int64_t at = NAME(packed_before)(shape, slice.first) + g * GROUP * width * LANES;
        if (changed)
            for (int i = 0; i < GROUP * width; i++)
                __builtin_prefetch(changed + at + i * LANES, 1, 3);
        NAME(group_gradient)(width, n_groups, shape->stride, rows + g * GROUP * GROUP, residual,
                             next, sums);
        NAME(finish_group)(width, run, own, panel, slice, at, g * GROUP, sums);
    }
}

/* What a thread will gather of the panel that is next, fetched in the course of this panel's C. */
static NAME(fetcher)
    NAME(fetcher_of)(const MANY_RUN *run, int64_t thread, const NAME(panel) * panel) {
    const MANY_SHAPE *shape = &run->shape;
    const request *ask = run->ask;
    NAME(panel) next = NAME(many_bounds)(run, panel->first + panel->n_rows);
    NAME(groups) part = NAME(groups_to_gather)(run, thread, &next);
    NAME(fetcher)
    of_rows = {.ask = ask,
               .position = next.first + part.first * GROUP,
               .stop = next.first + at_most(next.n_rows, part.stop * GROUP),
               .n_bytes = shape->d * sizeof(ROW)};
    int64_t lines = (part.stop - part.first) * GROUP * (of_rows.n_bytes / CACHE_LINE + 1);
    int64_t steps = shape->n_vectors * (shape->d_padded / GROUP) / MOST_WIDE / run->n_threads *
                    ((panel->n_rows + GROUP - 1) / GROUP);
    of_rows.at_once = lines / at_least(1, steps) + 1;
    return of_rows;
}

/* Phase C for a thread's part. */
static void NAME(many_gradient)(const MANY_RUN *run, int64_t thread, const NAME(panel) * panel,
                                const WEIGHT *rows) {
    const MANY_SHAPE *shape = &run->shape;
    const MANY_OWN *own = &run->own[thread];
    NAME(fetcher) next = NAME(fetcher_of)(run, thread, panel);
    for (int64_t s = 0; s < shape->n_slices; s++) {
        NAME(slice) slice = NAME(slice_at)(shape, s);
        NAME(groups)
        part = NAME(groups_of)(shape, slice, shape->d_padded / GROUP, thread, run->n_threads);
        if (slice.width == 2)
            NAME(gradient_of_slice)(2, run, own, panel, slice, part, rows, &next);
        else
            NAME(gradient_of_slice)(3, run, own, panel, slice, part, rows, &next);
    }
    if (thread == 0) {
        double loss = 0;
        for (int64_t i = 0; i < panel->n_rows; i++) loss += run->losses[i];
        run->ask->losses_out[panel->step] += loss;
    }
}
