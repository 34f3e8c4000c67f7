/* Phase B of many classes: residuals from the logits of LANES rows at a time. */

/* Where the logits of a slice begin for a row of the panel. */
INLINE WEIGHT *NAME(logits_from)(const MANY_RUN *run, NAME(slice) slice, int64_t row) {
    return run->residual + (slice.first * run->shape.panel + row * slice.width) * LANES;
}

/* The intercept less what the shift takes off, of a vector of classes. */
INLINE V NAME(constant_at)(const MANY_RUN *run, int64_t vector) {
    return *(const V *)(run->intercept.values + vector * LANES) -
           *(const V *)(run->offset + vector * LANES);
}

/* Lanes of the last vector that hold no class. */
INLINE I NAME(absent_classes)(const MANY_SHAPE *shape) {
    I absent = {0};
    for (int lane = 0; lane < LANES; lane++)
        absent[lane] = (shape->n_vectors - 1) * LANES + lane < shape->k ? 0 : -1;
    return absent;
}

/* Complete the logits of LANES rows: add the constants, and -inf where there is no class.
 * largest_out: (LANES). */
static void NAME(complete_logits)(const MANY_RUN *run, int64_t first, WEIGHT *largest_out) {
    const MANY_SHAPE *shape = &run->shape;
    const V none = NAME(splat)(-INFINITY);
    V largest[LANES];
    for (int i = 0; i < LANES; i++) largest[i] = none;
    for (int64_t s = 0; s < shape->n_slices; s++) {
        NAME(slice) slice = NAME(slice_at)(shape, s);
        WEIGHT *z = NAME(logits_from)(run, slice, first);
        V constant[MOST_WIDE];
        for (int64_t v = 0; v < slice.width; v++) {
            constant[v] = NAME(constant_at)(run, slice.first + v);
            if (slice.first + v == shape->n_vectors - 1)
                constant[v] = NAME(select)(NAME(absent_classes)(shape), none, constant[v]);
        }
        for (int i = 0; i < LANES; i++)
            for (int64_t v = 0; v < slice.width; v++, z += LANES) {
                *(V *)z += constant[v];
                largest[i] = NAME(largest)(*(const V *)z, largest[i]);
            }
    }
    for (int i = 0; i < LANES; i++) {
        largest_out[i] = largest[i][0];
        for (int lane = 1; lane < LANES; lane++)
            if (largest[i][lane] > largest_out[i]) largest_out[i] = largest[i][lane];
    }
}

/* Let the exponentials of LANES rows, less their largest, take the logits' place; returns their
 * sums. largest: (LANES). */
static V NAME(exponentials)(const MANY_RUN *run, int64_t first, const WEIGHT *largest) {
    V sums[LANES];
    for (int i = 0; i < LANES; i++) sums[i] = (V){0};
    for (int64_t s = 0; s < run->shape.n_slices; s++) {
        NAME(slice) slice = NAME(slice_at)(&run->shape, s);
        WEIGHT *z = NAME(logits_from)(run, slice, first);
        for (int i = 0; i < LANES; i++)
            for (int64_t v = 0; v < slice.width; v++, z += LANES) {
                *(V *)z = NAME(exp)(*(const V *)z - largest[i]);
                sums[i] += *(const V *)z;
            }
    }
    return NAME(sum_each)(sums);
}

/* Multiply LANES rows by factors (LANES). exp has a least value, but what is no class becomes 0: it
 * must leave no trace in the weights. */
static void NAME(scale_rows)(const MANY_RUN *run, int64_t first, const WEIGHT *factors) {
    const MANY_SHAPE *shape = &run->shape;
    const I absent = NAME(absent_classes)(shape);
    for (int64_t s = 0; s < shape->n_slices; s++) {
        NAME(slice) slice = NAME(slice_at)(shape, s);
        WEIGHT *z = NAME(logits_from)(run, slice, first);
        bool is_last = s == shape->n_slices - 1;
        for (int i = 0; i < LANES; i++) {
            for (int64_t v = 0; v < slice.width; v++, z += LANES) *(V *)z *= factors[i];
            if (is_last) *(V *)(z - LANES) = NAME(select)(absent, (V){0}, *(V *)(z - LANES));
        }
    }
}

/* The softmax of LANES rows from row `first` on: their sums over the features become row_weight *
 * dC/dz. Returns row_weight * losses. labels: of the first n_rows, the others have weight 0. */
static V NAME(many_cross_entropy)(const MANY_RUN *run, int64_t first, const int32_t *labels,
                                  int64_t n_rows, const WEIGHT *row_weight) {
    typedef WEIGHT of_rows[LANES] __attribute__((aligned(VECTOR_BYTES)));
    of_rows largest, of_label = {0}, factors;
    NAME(complete_logits)(run, first, largest);
    for (int64_t i = 0; i < n_rows; i++)
        of_label[i] = run->residual[NAME(logit_at)(&run->shape, labels[i], first + i)];
    V weight = *(const V *)row_weight, total = NAME(exponentials)(run, first, largest);
    *(V *)factors = weight / total;
    NAME(scale_rows)(run, first, factors);
    for (int64_t i = 0; i < n_rows; i++)
        run->residual[NAME(logit_at)(&run->shape, labels[i], first + i)] -= row_weight[i];
    return NAME(softmax_losses)(total, *(const V *)largest, *(const V *)of_label, weight);
}

/* Phase B for a thread's rows: of whole bundles, though the last may hold fewer. */
static void NAME(many_residuals)(const MANY_RUN *run, int64_t thread, const NAME(panel) * panel) {
    const request *ask = run->ask;
    const MANY_OWN *own = &run->own[thread];
    int64_t n_vectors = round_up(NAME(n_bundles)(panel) * BUNDLE, LANES) / LANES;
    int64_t first = n_vectors * thread / run->n_threads * LANES;
    int64_t stop = n_vectors * (thread + 1) / run->n_threads * LANES;
    NAME(weigh)(ask, panel->first + first, panel->n_rows - first, stop - first,
                ask->options ? (double)panel->n_batch_rows : 1.0, own->row_weight, own->labels);
    for (int64_t i = first; i < stop; i += LANES) {
        int64_t n_rows = at_least(0, at_most(LANES, panel->n_rows - i));
        *(V *)(run->losses + i) = NAME(many_cross_entropy)(run, i, own->labels + i - first, n_rows,
                                                           own->row_weight + i - first);
    }
}
