/* The kernels of sparse rows, for one instruction set, one type of weights and one of columns.
 *
 * A step has two phases, each ended by a barrier:
 *   A  residuals   threads split the batch's rows: logits, cross-entropy and its gradient
 *   C  update      threads split the features: each goes through all rows of the batch, in order,
 *                  and through those non-zeros of a row that lie in its range of features
 * So every logit is summed up by one thread, and every weight is changed by one thread in the
 * order of the rows: the bits do not depend on the number of threads.
 *
 * Weights lie feature by feature, [feature][class], padded to whole vectors (`stride`; 1 for the
 * sigmoid): a non-zero touches one run of them. A step costs what its non-zeros cost, since
 * features that no row of the batch holds are brought up to date later:
 *   plain steps         shrink all weights alike, so the factor is kept beside them (`scale`)
 *   others              without a gradient a step is linear in a weight, its velocity and its
 *                       average; each feature notes the steps it has done, and a table holds the
 *                       product of the steps from each note up to now. Once in WINDOW steps all
 *                       features are brought up to date.
 */

/* Most vectors of classes whose sums stay in registers. */
#if REGISTERS >= 32
#define MOST_VECTORS 8
#define EACH_WIDTH(CASE) CASE(8) CASE(7) CASE(6) CASE(5) CASE(4) CASE(3) CASE(2) CASE(1)
#else
#define MOST_VECTORS 6
#define EACH_WIDTH(CASE) CASE(6) CASE(5) CASE(4) CASE(3) CASE(2) CASE(1)
#endif

/* Rows between two meetings where nothing is updated; rows that a thread scores at a time. */
#define ROWS_AT_ONCE 1024
/* Rows of a batch that are added to the weights one by one: each addition rounds. */
#define MOST_ROWS_IN_PLACE 256
/* Steps after which every feature is brought up to date. */
#define WINDOW 1024

/* What some steps without a gradient do: new weight = ww * weight + wv * velocity, and so on. */
typedef struct {
    double ww[WINDOW + 1], wv[WINDOW + 1], vw[WINDOW + 1], vv[WINDOW + 1];
    double aw[WINDOW + 1], av[WINDOW + 1], aa[WINDOW + 1];
} NAME(transitions);

typedef struct {
    /* What was asked for. */
    const fastlin_samples *samples;
    const fastlin_parameters *parameters;
    const fastlin_step_options *options; /* NULL: sum the gradient up, update nothing */
    const int64_t *order;                /* (n_order,) or NULL: 0, 1, 2, ... */
    int64_t n_order, batch_size;
    double *losses_out;
    double *gradient_out;           /* (k, d), without options */
    double *intercept_gradient_out; /* (k,), without options */
    /* The samples. */
    const WEIGHT *values;
    const COLUMN *columns, *row_starts;
    /* Shapes. */
    int64_t d, k, stride, n_vectors, n_threads;
    int64_t flush_interval; /* batches whose gradients are summed up in the type of the weights */
    bool plain;             /* neither velocities nor averages, and no large batches */
    bool one_gain;          /* the same for all features */
    double decay;
    /* Shared by all threads. */
    barrier *meeting;
    WEIGHT *weights, *velocity, *average; /* [d][stride] */
    WEIGHT *gradient;                     /* [d][stride], zero between batches; NULL: not needed */
    int32_t *done;                        /* (d) steps of the window done; NULL: plain steps */
    int32_t *listed;                      /* (d) 1 + the step in whose list a feature was last */
    int64_t *list;                        /* (d + n_threads) features of a batch; each thread's have
                                             room for one more */
    NAME(transitions) *transitions;       /* from each number of steps done up to now */
    WEIGHT *residual;                     /* [batch][stride] */
    WEIGHT *losses;                       /* [batch] */
    WEIGHT *intercept;                    /* (stride), -infinity where there is no such class */
    WEIGHT *present;                      /* (stride), 1 where there is such a class, else 0 */
    int64_t *range;                       /* (n_threads + 1) first feature of each thread */
    int64_t *splits[2];                   /* [batch][n_threads + 1] first non-zero of each thread */
} NAME(engine);
#define ENGINE NAME(engine)

INLINE int64_t NAME(row_at)(const ENGINE *e, int64_t position) {
    return e->order ? e->order[position] : position;
}

/* ---------------------------------------------------------------- sums over non-zeros */

/* Touch the memory of a row's non-zeros ahead of time. */
INLINE void NAME(touch_row)(const ENGINE *e, int64_t row) {
    for (int64_t s = e->row_starts[row]; s < e->row_starts[row + 1]; s += 64 / sizeof(WEIGHT)) {
        __builtin_prefetch(e->values + s, 0, 3);
        __builtin_prefetch(e->columns + s, 0, 3);
        if (sizeof(COLUMN) > sizeof(WEIGHT))
            __builtin_prefetch(e->columns + s + 64 / sizeof(COLUMN), 0, 3);
    }
}

/* Touch the n vectors of the feature in which a non-zero lies. */
INLINE void NAME(touch)(const int n, const WEIGHT *of_features, int64_t stride, COLUMN column) {
    const char *at = (const char *)(of_features + (int64_t)column * stride);
    UNROLL for (int byte = 0; byte < n * VECTOR_BYTES; byte += 64)
        __builtin_prefetch(at + byte, 1, 3);
}

/* The sums of value * weights over some non-zeros, of n vectors of classes; touches the weights of
 * the n_next non-zeros from next on. out: (n * LANES). */
INLINE void NAME(dot)(const int n, const WEIGHT *values, const COLUMN *columns, int64_t count,
                      const COLUMN *next, int64_t n_next, const WEIGHT *weights, int64_t stride,
                      WEIGHT *out) {
    /* Sums of their own for neighbours, so that one product need not wait for the one before. */
    const int n_sets = n == 1 ? 4 : n <= 3 ? 2 : 1;
    V sums[MOST_VECTORS];
    UNROLL for (int i = 0; i < n * n_sets; i++) sums[i] = (V){0};
    int64_t s = 0;
    for (; s + n_sets <= count; s += n_sets) {
        UNROLL for (int set = 0; set < n_sets; set++) {
            if (s + set < n_next) NAME(touch)(n, weights, stride, next[s + set]);
            V x = NAME(splat)(values[s + set]);
            const WEIGHT *w = weights + (int64_t)columns[s + set] * stride;
            UNROLL for (int v = 0; v < n; v++)
                sums[set * n + v] += x * *(const V *)(w + v * LANES);
        }
    }
    for (; s < count; s++) {
        V x = NAME(splat)(values[s]);
        const WEIGHT *w = weights + (int64_t)columns[s] * stride;
        UNROLL for (int v = 0; v < n; v++) sums[v] += x * *(const V *)(w + v * LANES);
    }
    for (s = count / n_sets * n_sets; s < n_next; s++) NAME(touch)(n, weights, stride, next[s]);
    UNROLL for (int v = 0; v < n; v++) {
        UNROLL for (int set = 1; set < n_sets; set++) sums[v] += sums[set * n + v];
        *(V *)(out + v * LANES) = sums[v];
    }
}

/* The same for one class. */
INLINE WEIGHT NAME(dot_of_one)(const WEIGHT *values, const COLUMN *columns, int64_t count,
                               const COLUMN *next, int64_t n_next, const WEIGHT *weights) {
    WEIGHT sums[8] = {0};
    int64_t s = 0;
    for (; s + 8 <= count; s += 8) {
        UNROLL for (int i = 0; i < 8; i++) {
            if (s + i < n_next) __builtin_prefetch(weights + next[s + i], 1, 3);
            sums[i] += values[s + i] * weights[columns[s + i]];
        }
    }
    for (; s < count; s++) sums[s % 8] += values[s] * weights[columns[s]];
    return ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]));
}

/* Logits of a row, of all padded classes; touches the weights of the next one (or of none: -1). */
static void NAME(row_logits)(const ENGINE *e, double scale, int64_t row, int64_t next_row,
                             WEIGHT *logits_out) {
    int64_t start = e->row_starts[row], count = e->row_starts[row + 1] - start;
    const WEIGHT *values = e->values + start;
    const COLUMN *columns = e->columns + start, *next = e->columns;
    int64_t n_next = 0;
    if (next_row >= 0) {
        next += e->row_starts[next_row];
        n_next = e->row_starts[next_row + 1] - e->row_starts[next_row];
    }
    if (e->k == 1) {
        WEIGHT sum = NAME(dot_of_one)(values, columns, count, next, n_next, e->weights);
        logits_out[0] = sum * (WEIGHT)scale + e->intercept[0];
        return;
    }
    for (int64_t first = 0; first < e->n_vectors; first += MOST_VECTORS) {
        const WEIGHT *weights = e->weights + first * LANES;
        WEIGHT *out = logits_out + first * LANES;
        switch (e->n_vectors - first) {
        default: /* the widest */
#define CASE(n)                                                                               \
    case n:                                                                                   \
        NAME(dot)(n, values, columns, count, next, n_next, weights, e->stride, out);          \
        break;
            EACH_WIDTH(CASE)
#undef CASE
        }
    }
    for (int64_t c = 0; c < e->stride; c += LANES)
        *(V *)(logits_out + c) =
            *(const V *)(logits_out + c) * (WEIGHT)scale + *(const V *)(e->intercept + c);
}

/* target[column] += value * factors over some non-zeros of a row, for n vectors of classes. */
INLINE void NAME(scatter)(const int n, const bool gained, const WEIGHT *values,
                          const COLUMN *columns, int64_t count, const COLUMN *next, int64_t n_next,
                          const WEIGHT *factors, WEIGHT factor, const WEIGHT *gain, WEIGHT *target,
                          int64_t stride) {
    V r[MOST_VECTORS];
    UNROLL for (int v = 0; v < n; v++) r[v] = *(const V *)(factors + v * LANES) * factor;
    for (int64_t s = 0; s < count; s++) {
        if (s < n_next) NAME(touch)(n, target, stride, next[s]);
        WEIGHT value = values[s];
        if (gained) value *= gain[columns[s]];
        V x = NAME(splat)(value);
        WEIGHT *t = target + (int64_t)columns[s] * stride;
        UNROLL for (int v = 0; v < n; v++) *(V *)(t + v * LANES) += x * r[v];
    }
    for (int64_t s = count; s < n_next; s++) NAME(touch)(n, target, stride, next[s]);
}

INLINE void NAME(scatter_row)(const bool gained, const ENGINE *e, int64_t start, int64_t stop,
                              int64_t next_start, int64_t next_stop, const WEIGHT *residual,
                              WEIGHT factor, const WEIGHT *gain, WEIGHT *target) {
    const WEIGHT *values = e->values + start;
    const COLUMN *columns = e->columns + start, *next = e->columns + next_start;
    int64_t count = stop - start, n_next = next_stop - next_start;
    if (e->k == 1) {
        WEIGHT r = residual[0] * factor;
        for (int64_t s = 0; s < count; s++) {
            if (s < n_next) __builtin_prefetch(target + next[s], 1, 3);
            WEIGHT value = values[s];
            if (gained) value *= gain[columns[s]];
            target[columns[s]] += value * r;
        }
        return;
    }
    for (int64_t first = 0; first < e->n_vectors; first += MOST_VECTORS) {
        const WEIGHT *factors = residual + first * LANES;
        WEIGHT *to = target + first * LANES;
        switch (e->n_vectors - first) {
        default: /* the widest */
#define CASE(n)                                                                                  \
    case n:                                                                                      \
        NAME(scatter)(n, gained, values, columns, count, next, n_next, factors, factor, gain, to, \
                      e->stride);                                                                \
        break;
            EACH_WIDTH(CASE)
#undef CASE
        }
    }
}

/* ---------------------------------------------------------------- phase A */

/* Softmax of a row: its logits become the gradient of its loss, which is returned. */
INLINE WEIGHT NAME(softmax)(const ENGINE *e, WEIGHT *z, int32_t label, WEIGHT row_weight) {
    V most = *(const V *)z;
    for (int64_t c = LANES; c < e->stride; c += LANES)
        most = NAME(largest)(*(const V *)(z + c), most);
    WEIGHT largest = most[0];
    for (int lane = 1; lane < LANES; lane++)
        largest = most[lane] > largest ? most[lane] : largest;
    WEIGHT of_label = z[label];
    V total = {0};
    for (int64_t c = 0; c < e->stride; c += LANES) {
        V exponential = NAME(exp)(*(const V *)(z + c) - largest) * *(const V *)(e->present + c);
        *(V *)(z + c) = exponential;
        total += exponential;
    }
    WEIGHT sum = NAME(sum)(total);
    WEIGHT factor = row_weight / sum;
    for (int64_t c = 0; c < e->stride; c += LANES) *(V *)(z + c) *= factor;
    z[label] -= row_weight;
    return row_weight * (NAME(log)(NAME(splat)(sum))[0] + (largest - of_label));
}

/* Sigmoid of up to LANES rows, likewise. */
INLINE void NAME(sigmoid)(int64_t count, WEIGHT *z, const WEIGHT *targets, const WEIGHT *weights,
                          WEIGHT *losses_out) {
    V logit = {0}, y = {0}, weight = {0};
    memcpy(&logit, z, count * sizeof(WEIGHT));
    memcpy(&y, targets, count * sizeof(WEIGHT));
    memcpy(&weight, weights, count * sizeof(WEIGHT));
    const V one = NAME(splat)(1), zero = NAME(splat)(0);
    V small = NAME(exp)(NAME(select)(logit > zero, -logit, logit));
    V sum = one + small;
    /* log1p(small): the second term is what rounding took from the sum. */
    V softplus = NAME(largest)(logit, zero) + NAME(log)(sum) + (small - (sum - one)) / sum;
    V losses = weight * (softplus - y * logit);
    V residual = weight * (NAME(select)(logit >= zero, one, small) / sum - y);
    memcpy(losses_out, &losses, count * sizeof(WEIGHT));
    memcpy(z, &residual, count * sizeof(WEIGHT));
}

/* Logits of the rows at some positions become the gradients of their losses. */
static void NAME(cross_entropy)(const ENGINE *e, int64_t first, int64_t stop, double divisor,
                                WEIGHT *residual, WEIGHT *losses_out) {
    const fastlin_samples *samples = e->samples;
    for (int64_t i = first; i < stop; i += LANES) {
        WEIGHT targets[LANES], weights[LANES];
        int64_t count = stop - i < LANES ? stop - i : LANES;
        for (int64_t lane = 0; lane < count; lane++) {
            int64_t row = NAME(row_at)(e, i + lane);
            double weight = samples->sample_weight ? samples->sample_weight[row] : 1;
            weights[lane] = (WEIGHT)(weight / divisor);
            targets[lane] = (WEIGHT)samples->labels[row];
            if (e->k > 1)
                losses_out[i - first + lane] =
                    NAME(softmax)(e, residual + (i - first + lane) * e->stride,
                                  samples->labels[row], weights[lane]);
        }
        if (e->k == 1)
            NAME(sigmoid)(count, residual + i - first, targets, weights, losses_out + i - first);
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

/* Where each thread's features begin within the rows at some positions. */
static void NAME(split)(const ENGINE *e, int64_t batch_first, int64_t first, int64_t stop,
                        int64_t *splits) {
    for (int64_t i = first; i < stop; i++) {
        int64_t row = NAME(row_at)(e, i), *of_row = splits + (i - batch_first) * (e->n_threads + 1);
        of_row[0] = e->row_starts[row];
        of_row[e->n_threads] = e->row_starts[row + 1];
        for (int64_t t = 1; t < e->n_threads; t++)
            of_row[t] = NAME(lower_bound)(e->columns, of_row[t - 1], of_row[e->n_threads],
                                          e->range[t]);
    }
}

/* First position of a thread's share of the rows at some positions: as many non-zeros for all. */
static int64_t NAME(first_position)(const ENGINE *e, int64_t first, int64_t stop, int64_t thread) {
    if (thread == 0) return first;
    if (thread == e->n_threads) return stop;
    enum { COST_OF_A_ROW = 16 };
    int64_t total = 0, so_far = 0;
    for (int64_t i = first; i < stop; i++) {
        int64_t row = NAME(row_at)(e, i);
        total += e->row_starts[row + 1] - e->row_starts[row] + COST_OF_A_ROW;
    }
    for (int64_t i = first; i < stop; i++) {
        if (so_far * e->n_threads >= total * thread) return i;
        int64_t row = NAME(row_at)(e, i);
        so_far += e->row_starts[row + 1] - e->row_starts[row] + COST_OF_A_ROW;
    }
    return stop;
}

/* ---------------------------------------------------------------- phase C */

/* What step `step` does to a feature without a gradient, after all that was done before it. */
static void NAME(extend_transitions)(const ENGINE *e, int64_t step, int64_t thread) {
    NAME(transitions) *q = e->transitions;
    const fastlin_step_options *options = e->options;
    int64_t done = step % WINDOW;
    double rate = options->learning_rates[step];
    double momentum = e->velocity ? options->momentum : 0;
    double share = e->average ? options->average_rates[step] : 0;
    double of_velocity = options->nesterov ? momentum * momentum : momentum;
    double ww = 1 - rate * e->decay * (options->nesterov ? 1 + momentum : 1);
    double wv = -rate * of_velocity, vw = e->decay, vv = momentum;
    int64_t n = done + 1;
    for (int64_t s = n * thread / e->n_threads; s < n * (thread + 1) / e->n_threads; s++) {
        if (s == done) {
            q->ww[s] = q->vv[s] = q->aa[s] = 1;
            q->wv[s] = q->vw[s] = q->aw[s] = q->av[s] = 0;
        }
        double new_ww = ww * q->ww[s] + wv * q->vw[s], new_wv = ww * q->wv[s] + wv * q->vv[s];
        q->vw[s] = vw * q->ww[s] + vv * q->vw[s];
        q->vv[s] = vw * q->wv[s] + vv * q->vv[s];
        q->ww[s] = new_ww;
        q->wv[s] = new_wv;
        q->aw[s] = (1 - share) * q->aw[s] + share * new_ww;
        q->av[s] = (1 - share) * q->av[s] + share * new_wv;
        q->aa[s] = (1 - share) * q->aa[s];
    }
}

/* Bring the n classes of a feature up to date, which has done `from` steps. */
INLINE void NAME(catch_up_of)(const bool has_velocity, const bool has_average, const int64_t n,
                              const NAME(transitions) *q, int64_t from, WEIGHT *restrict weights,
                              WEIGHT *restrict velocities, WEIGHT *restrict averages) {
    WEIGHT ww = (WEIGHT)q->ww[from], wv = (WEIGHT)q->wv[from], vw = (WEIGHT)q->vw[from],
           vv = (WEIGHT)q->vv[from], aw = (WEIGHT)q->aw[from], av = (WEIGHT)q->av[from],
           aa = (WEIGHT)q->aa[from];
    for (int64_t i = 0; i < n; i++) {
        WEIGHT weight = weights[i], velocity = has_velocity ? velocities[i] : 0;
        if (has_average) averages[i] = aa * averages[i] + aw * weight + av * velocity;
        if (has_velocity) velocities[i] = vw * weight + vv * velocity;
        weights[i] = ww * weight + wv * velocity;
    }
}

/* A step of the n classes of a feature with its gradient, which becomes zero. */
INLINE void NAME(descend_of)(const bool has_velocity, const bool has_average, const int64_t n,
                             const fastlin_step_options *options, WEIGHT gain, WEIGHT decay,
                             int64_t step, WEIGHT *restrict weights, WEIGHT *restrict velocities,
                             WEIGHT *restrict averages, WEIGHT *restrict gradients) {
    WEIGHT rate = (WEIGHT)options->learning_rates[step], momentum = (WEIGHT)options->momentum;
    WEIGHT share = has_average ? (WEIGHT)options->average_rates[step] : 0;
    /* What the step takes of the velocity and, looking ahead, of the gradient. */
    WEIGHT of_velocity = options->nesterov ? momentum : 1, of_gradient = options->nesterov ? 1 : 0;
    for (int64_t i = 0; i < n; i++) {
        WEIGHT weight = weights[i];
        WEIGHT gradient = gain * gradients[i] + decay * weight, direction = gradient;
        gradients[i] = 0;
        if (has_velocity) {
            WEIGHT velocity = momentum * velocities[i] + gradient;
            velocities[i] = velocity;
            direction = of_gradient * gradient + of_velocity * velocity;
        }
        weight -= rate * direction;
        weights[i] = weight;
        if (has_average) averages[i] += share * (weight - averages[i]);
    }
}

/* Calls what works on a feature, with constants in place of what stays the same over a run. */
#define OF_FEATURE(name, ...)                                                  \
    do {                                                                       \
        if (e->stride == 1)                                                    \
            NAME(name)(e->velocity != NULL, e->average != NULL, 1, __VA_ARGS__); \
        else if (e->velocity && e->average)                                    \
            NAME(name)(true, true, e->stride, __VA_ARGS__);                    \
        else if (e->velocity)                                                  \
            NAME(name)(true, false, e->stride, __VA_ARGS__);                   \
        else                                                                   \
            NAME(name)(false, e->average != NULL, e->stride, __VA_ARGS__);     \
    } while (0)

INLINE WEIGHT *NAME(at)(WEIGHT *of_features, int64_t feature, int64_t stride) {
    return of_features ? of_features + feature * stride : NULL;
}

/* Bring a feature up to date. */
INLINE void NAME(catch_up)(const ENGINE *e, int64_t feature, int64_t done) {
    int64_t from = e->done[feature];
    if (from == done) return;
    e->done[feature] = (int32_t)done;
    OF_FEATURE(catch_up_of, e->transitions, from, NAME(at)(e->weights, feature, e->stride),
               NAME(at)(e->velocity, feature, e->stride), NAME(at)(e->average, feature, e->stride));
}

/* A step of a feature that has a gradient and is up to date. */
INLINE void NAME(descend)(const ENGINE *e, int64_t feature, int64_t step) {
    e->done[feature] = (int32_t)(step % WINDOW + 1);
    const WEIGHT *gain = e->options->gain;
    OF_FEATURE(descend_of, e->options, gain[e->one_gain ? 0 : feature], (WEIGHT)e->decay, step,
               NAME(at)(e->weights, feature, e->stride), NAME(at)(e->velocity, feature, e->stride), NAME(at)(e->average, feature, e->stride),
               NAME(at)(e->gradient, feature, e->stride));
}

/* Touch all that is kept of a feature, its gradient only where that is asked for. */
INLINE void NAME(touch_feature)(const bool gradient, const ENGINE *e, int64_t feature) {
    __builtin_prefetch(e->done + feature, 1, 3);
    for (int64_t i = feature * e->stride; i < (feature + 1) * e->stride; i += 64 / sizeof(WEIGHT)) {
        __builtin_prefetch(e->weights + i, 1, 3);
        if (e->velocity) __builtin_prefetch(e->velocity + i, 1, 3);
        if (e->average) __builtin_prefetch(e->average + i, 1, 3);
        if (gradient) __builtin_prefetch(e->gradient + i, 1, 3);
    }
}

/* List a thread's features in the batch of a step, each once; returns their number. */
static int64_t NAME(list_features)(const ENGINE *e, int64_t thread, int64_t step, int64_t n_rows,
                                   const int64_t *splits) {
    int64_t count = 0, width = e->n_threads + 1, *list = e->list + e->range[thread] + thread;
    for (int64_t i = 0; i < n_rows; i++) {
        const int64_t *of_row = splits + i * width + thread;
        if (i + 2 < n_rows)
            for (int64_t s = of_row[2 * width]; s < of_row[2 * width + 1]; s += 64 / sizeof(COLUMN))
                __builtin_prefetch(e->columns + s, 0, 3);
        for (int64_t s = of_row[0]; s < of_row[1]; s++) {
            int64_t feature = e->columns[s];
            list[count] = feature;
            count += e->listed[feature] != step + 1;
            e->listed[feature] = (int32_t)(step + 1);
        }
    }
    return count;
}

/* Steps that are not plain: of the features listed now, then of those of the next batch, whose
 * number is returned. */
static int64_t NAME(descend_all)(const ENGINE *e, int64_t thread, int64_t step, int64_t n_listed,
                                 int64_t next_n_rows, const int64_t *next_splits) {
    enum { AHEAD = 16 };
    int64_t done = step % WINDOW + 1;
    const int64_t *list = e->list + e->range[thread] + thread;
    for (int64_t i = 0; i < n_listed; i++) {
        if (i + AHEAD < n_listed) NAME(touch_feature)(true, e, list[i + AHEAD]);
        NAME(descend)(e, list[i], step);
    }
    n_listed = NAME(list_features)(e, thread, step + 1, next_n_rows, next_splits);
    if (done == WINDOW || next_n_rows == 0) {
        for (int64_t feature = e->range[thread]; feature < e->range[thread + 1]; feature++) {
            NAME(catch_up)(e, feature, done);
            e->done[feature] = 0;
        }
        return n_listed;
    }
    for (int64_t i = 0; i < n_listed; i++) {
        if (i + AHEAD < n_listed) NAME(touch_feature)(false, e, list[i + AHEAD]);
        NAME(catch_up)(e, list[i], done);
    }
    return n_listed;
}

/* Add the gradients of some rows to what a thread's features have. */
static void NAME(scatter_rows)(const ENGINE *e, int64_t thread, int64_t n_rows,
                               const int64_t *splits, WEIGHT factor, const WEIGHT *gain,
                               WEIGHT *target) {
    int64_t width = e->n_threads + 1;
    for (int64_t i = 0; i < n_rows && !told_to_stop(e->samples->stop); i++) {
        const int64_t *of_row = splits + i * width + thread;
        const int64_t *of_next = i + 1 < n_rows ? of_row + width : of_row;
        const WEIGHT *residual = e->residual + i * e->stride;
        if (gain)
            NAME(scatter_row)(true, e, of_row[0], of_row[1], of_next[0], of_next[1], residual,
                              factor, gain, target);
        else
            NAME(scatter_row)(false, e, of_row[0], of_row[1], of_next[0], of_next[1], residual,
                              factor, gain, target);
    }
}

/* Add a thread's features of the gradient so far to the result, and start again from zero. */
static void NAME(flush)(const ENGINE *e, int64_t thread) {
    for (int64_t first = e->range[thread]; first < e->range[thread + 1]; first += LANES) {
        int64_t stop = first + LANES < e->range[thread + 1] ? first + LANES : e->range[thread + 1];
        for (int64_t c = 0; c < e->k; c++)
            for (int64_t f = first; f < stop; f++)
                e->gradient_out[c * e->d + f] += e->gradient[f * e->stride + c];
        memset(e->gradient + first * e->stride, 0, (stop - first) * e->stride * sizeof(WEIGHT));
    }
}

/* The intercept's part of a step, and the loss; one thread does it for all. */
static void NAME(step_intercept)(const ENGINE *e, int64_t step, int64_t n_rows) {
    double loss = 0;
    for (int64_t i = 0; i < n_rows; i++) loss += e->losses[i];
    e->losses_out[e->options ? step : 0] += loss;
    const fastlin_step_options *options = e->options;
    for (int64_t c = 0; c < e->k; c++) {
        WEIGHT sum = 0;
        for (int64_t i = 0; i < n_rows; i++) sum += e->residual[i * e->stride + c];
        if (!options) {
            e->intercept_gradient_out[c] += sum;
            continue;
        }
        WEIGHT *velocities = e->parameters->intercept_velocity;
        WEIGHT *averages = e->parameters->intercept_average;
        WEIGHT b = e->intercept[c];
        WEIGHT gradient =
            (WEIGHT)options->intercept_gain * (sum + (WEIGHT)options->intercept_decay * b);
        WEIGHT direction = gradient;
        if (velocities) {
            WEIGHT momentum = (WEIGHT)options->momentum;
            velocities[c] = velocities[c] * momentum + gradient;
            direction = options->nesterov ? gradient + velocities[c] * momentum : velocities[c];
        }
        b -= direction * (WEIGHT)options->learning_rates[step];
        e->intercept[c] = b;
        if (averages) averages[c] += (b - averages[c]) * (WEIGHT)options->average_rates[step];
    }
}

/* ---------------------------------------------------------------- a thread's work */

/* Between [class][feature] outside and [feature][class] here, for a range of features. */
static void NAME(pack)(const ENGINE *e, WEIGHT *packed, const WEIGHT *weights, int64_t first,
                       int64_t stop) {
    for (int64_t from = first; from < stop; from += LANES)
        for (int64_t c = 0; c < e->k; c++)
            for (int64_t f = from; f < from + LANES && f < stop; f++)
                packed[f * e->stride + c] = weights[c * e->d + f];
}

static void NAME(unpack)(const ENGINE *e, WEIGHT *weights, const WEIGHT *packed, WEIGHT scale,
                         int64_t first, int64_t stop) {
    for (int64_t from = first; from < stop; from += LANES)
        for (int64_t c = 0; c < e->k; c++)
            for (int64_t f = from; f < from + LANES && f < stop; f++)
                weights[c * e->d + f] = packed[f * e->stride + c] * scale;
}

INLINE int64_t NAME(batch_rows)(const ENGINE *e, int64_t first) {
    if (first >= e->n_order) return 0;
    return e->n_order - first < e->batch_size ? e->n_order - first : e->batch_size;
}

/* Shrink all weights by a step's penalty: by their common factor, unless that leaves its range. */
static double NAME(shrink)(const ENGINE *e, double scale, int64_t thread, int64_t step) {
    scale *= 1 - e->options->learning_rates[step] * e->decay;
    if (fabs(scale) > 1e-6 && fabs(scale) < 1e6) return scale;
    for (int64_t i = e->range[thread] * e->stride; i < e->range[thread + 1] * e->stride; i++)
        e->weights[i] *= (WEIGHT)scale;
    return 1;
}

/* All of one thread's work. */
static void NAME(run)(const ENGINE *e, int64_t thread) {
    const fastlin_parameters *p = e->parameters;
    int64_t from = e->range[thread], to = e->range[thread + 1];
    NAME(pack)(e, e->weights, p->weights, from, to);
    if (e->velocity) NAME(pack)(e, e->velocity, p->weights_velocity, from, to);
    if (e->average) NAME(pack)(e, e->average, p->weights_average, from, to);
    if (thread == 0) NAME(split)(e, 0, 0, NAME(batch_rows)(e, 0), e->splits[0]);
    wait_for_all(e->meeting, e->n_threads);

    double scale = 1;
    int64_t n_batches = 0, n_listed = 0;
    if (e->list) n_listed = NAME(list_features)(e, thread, 0, NAME(batch_rows)(e, 0), e->splits[0]);
    const WEIGHT *gain = e->options && !e->one_gain ? e->options->gain : NULL;
    for (int64_t first = 0; first < e->n_order; first += e->batch_size, n_batches++) {
        int64_t step = n_batches, n_rows = NAME(batch_rows)(e, first);
        int64_t next = first + n_rows, next_n_rows = NAME(batch_rows)(e, next);
        int64_t *splits = e->splits[step % 2], *next_splits = e->splits[(step + 1) % 2];

        /* A */
        int64_t start = NAME(first_position)(e, first, next, thread);
        int64_t stop = NAME(first_position)(e, first, next, thread + 1);
        for (int64_t i = start; i < stop && !told_to_stop(e->samples->stop); i++) {
            if (i + 2 < stop) NAME(touch_row)(e, NAME(row_at)(e, i + 2));
            NAME(row_logits)(e, scale, NAME(row_at)(e, i),
                             i + 1 < stop ? NAME(row_at)(e, i + 1) : -1,
                             e->residual + (i - first) * e->stride);
        }
        NAME(cross_entropy)(e, start, stop, e->options ? (double)n_rows : 1.0,
                            e->residual + (start - first) * e->stride, e->losses + start - first);
        NAME(split)(e, next, next + next_n_rows * thread / e->n_threads,
                    next + next_n_rows * (thread + 1) / e->n_threads, next_splits);
        if (e->transitions) NAME(extend_transitions)(e, step, thread);
        decide_to_leave_off(e->meeting, e->samples->stop, thread, first);
        wait_for_all(e->meeting, e->n_threads);
        if (leaves_off(e->meeting, first)) break;

        /* C */
        if (thread == 0) NAME(step_intercept)(e, step, n_rows);
        if (e->options && e->plain) {
            scale = NAME(shrink)(e, scale, thread, step);
            double factor = -e->options->learning_rates[step] / scale;
            if (!gain) factor *= *(const WEIGHT *)e->options->gain;
            NAME(scatter_rows)(e, thread, n_rows, splits, (WEIGHT)factor, gain, e->weights);
        } else {
            NAME(scatter_rows)(e, thread, n_rows, splits, 1, NULL, e->gradient);
            if (e->options)
                n_listed = NAME(descend_all)(e, thread, step, n_listed, next_n_rows, next_splits);
            else if ((n_batches + 1) % e->flush_interval == 0 || next_n_rows == 0)
                NAME(flush)(e, thread);
        }
        wait_for_all(e->meeting, e->n_threads);
    }
    if (!e->options) return;
    NAME(unpack)(e, p->weights, e->weights, (WEIGHT)scale, from, to);
    if (e->velocity) NAME(unpack)(e, p->weights_velocity, e->velocity, 1, from, to);
    if (e->average) NAME(unpack)(e, p->weights_average, e->average, 1, from, to);
    if (thread == 0) memcpy(p->intercept, e->intercept, e->k * sizeof(WEIGHT));
}

/* ---------------------------------------------------------------- setting up */

static void NAME(shape)(ENGINE *e, const fastlin_samples *samples,
                        const fastlin_parameters *parameters) {
    e->samples = samples;
    e->parameters = parameters;
    e->values = samples->rows;
    e->columns = samples->columns;
    e->row_starts = samples->row_starts;
    e->d = samples->n_features;
    e->k = parameters->n_classes;
    e->n_vectors = (e->k + LANES - 1) / LANES;
    e->stride = e->k == 1 ? 1 : e->n_vectors * LANES;
    e->plain = !parameters->weights_velocity && !parameters->weights_average &&
               e->batch_size <= MOST_ROWS_IN_PLACE;
}

/* Work on so many rows: their non-zeros, and some more for each row, times vectors. */
static double NAME(work)(const ENGINE *e, int64_t rows) {
    int64_t n = e->samples->n_rows;
    double non_zeros = (double)rows * ((double)e->row_starts[n] / (double)n + 8);
    return non_zeros * (double)(e->n_vectors + 2);
}

/* No more threads than have something worth doing between two barriers, and in all. */
static int64_t NAME(useful_threads)(const ENGINE *e, int n_threads) {
    int64_t rows = e->batch_size < e->n_order ? e->batch_size : e->n_order;
    /* Steps in place change the weights of frequent features, which both threads read, so often that
     * fetching them from one another takes longer than sharing the work saves. */
    if (e->plain) return 1;
    int64_t useful = (int64_t)(NAME(work)(e, rows) / 8000);
    int64_t in_all = 1 + (int64_t)(NAME(work)(e, e->n_order) / NON_ZEROS_WORTH_A_START);
    if (useful > in_all) useful = in_all;
    if (useful > e->d) useful = e->d;
    if (useful > n_threads) useful = n_threads;
    return useful < 1 ? 1 : useful;
}

/* Lay everything out; called twice, first with an arena that only counts. */
static void NAME(lay_out)(ENGINE *e, arena *memory) {
    size_t of_features = e->d * e->stride * sizeof(WEIGHT);
    bool updates = e->options != NULL;
    bool lazy = updates && !e->plain;
    int64_t batch = e->batch_size < e->n_order ? e->batch_size : e->n_order;
    e->weights = take(memory, of_features);
    e->velocity = updates && e->parameters->weights_velocity ? take(memory, of_features) : NULL;
    e->average = updates && e->parameters->weights_average ? take(memory, of_features) : NULL;
    e->gradient = lazy || e->gradient_out ? take(memory, of_features) : NULL;
    e->done = lazy ? take(memory, e->d * sizeof(int32_t)) : NULL;
    e->listed = lazy ? take(memory, e->d * sizeof(int32_t)) : NULL;
    e->list = lazy ? take(memory, (e->d + e->n_threads) * sizeof(int64_t)) : NULL;
    e->transitions = lazy ? take(memory, sizeof(NAME(transitions))) : NULL;
    e->residual = take(memory, batch * e->stride * sizeof(WEIGHT));
    e->losses = take(memory, batch * sizeof(WEIGHT));
    e->intercept = take(memory, e->stride * sizeof(WEIGHT));
    e->present = take(memory, e->stride * sizeof(WEIGHT));
    e->range = take(memory, (e->n_threads + 1) * sizeof(int64_t));
    for (int i = 0; i < 2; i++)
        e->splits[i] = take(memory, batch * (e->n_threads + 1) * sizeof(int64_t));
    e->meeting = take(memory, sizeof(barrier));
}

/* Give every thread features with as many non-zeros, counted in rows spread over the samples. */
static int NAME(share_out)(ENGINE *e) {
    e->range[e->n_threads] = e->d;
    if (e->n_threads == 1) return FASTLIN_OK;
    enum { MOST_ROWS = 2048 };
    int64_t n = e->samples->n_rows, step = n / MOST_ROWS + 1, total = e->d;
    int32_t *counts = calloc(e->d, sizeof(int32_t));
    if (!counts) return FASTLIN_NO_MEMORY;
    for (int64_t row = 0; row < n; row += step)
        for (int64_t s = e->row_starts[row]; s < e->row_starts[row + 1]; s++, total++)
            counts[e->columns[s]]++;
    int64_t thread = 1, so_far = 0;
    for (int64_t f = 0; f < e->d && thread < e->n_threads; f++) {
        so_far += counts[f] + 1;
        while (thread < e->n_threads && so_far * e->n_threads >= total * thread)
            e->range[thread++] = f + 1;
    }
    free(counts);
    return FASTLIN_OK;
}

static int NAME(set_up)(ENGINE *e, int64_t n_threads, arena *memory) {
    e->n_threads = n_threads;
    arena counting = {0};
    NAME(lay_out)(e, &counting);
    if (!reserve(memory, counting.used)) return FASTLIN_NO_MEMORY;
    NAME(lay_out)(e, memory);
    const WEIGHT *intercept = e->parameters->intercept;
    for (int64_t c = 0; c < e->stride; c++) {
        e->present[c] = c < e->k;
        e->intercept[c] = c < e->k ? intercept[c] : -(WEIGHT)INFINITY;
    }
    return NAME(share_out)(e);
}

static void NAME(run_member)(void *context, int64_t thread) { NAME(run)(context, thread); }

/* Set up an engine for as many threads as there are, and run it on them. */
static int NAME(set_up_and_run)(ENGINE *e, int n_threads) {
    arena memory = {0};
    team threads;
    int64_t size = start_team(&threads, NAME(useful_threads)(e, n_threads));
    int status = NAME(set_up)(e, size, &memory);
    finish_team(&threads, status == FASTLIN_OK ? NAME(run_member) : NULL, e);
    release(&memory);
    return status;
}

/* ---------------------------------------------------------------- entry points */

int NAME(sgd_steps)(const fastlin_samples *samples, const int64_t *order, int64_t n_order,
                    const fastlin_parameters *p, const fastlin_step_options *options,
                    double *losses_out, int n_threads) {
    if (n_order == 0) return FASTLIN_OK;
    ENGINE e = {.options = options,
                .order = order,
                .n_order = n_order,
                .batch_size = options->batch_size,
                .losses_out = losses_out,
                .one_gain = true};
    NAME(shape)(&e, samples, p);
    memset(losses_out, 0, (n_order + e.batch_size - 1) / e.batch_size * sizeof(double));
    const WEIGHT *gain = options->gain;
    e.decay = *(const WEIGHT *)options->decay;
    for (int64_t f = 1; f < e.d; f++) e.one_gain &= gain[f] == gain[0];
    return NAME(set_up_and_run)(&e, n_threads);
}

int NAME(loss_gradient)(const fastlin_samples *samples, const fastlin_parameters *p,
                        double *loss_sum_out, double *weights_gradient_out,
                        double *intercept_gradient_out, int n_threads) {
    *loss_sum_out = 0;
    int64_t n = samples->n_rows;
    ENGINE e = {.n_order = n,
                .batch_size = ROWS_AT_ONCE,
                .losses_out = loss_sum_out,
                .gradient_out = weights_gradient_out,
                .intercept_gradient_out = intercept_gradient_out};
    NAME(shape)(&e, samples, p);
    memset(weights_gradient_out, 0, e.k * e.d * sizeof(double));
    memset(intercept_gradient_out, 0, e.k * sizeof(double));
    if (n == 0) return FASTLIN_OK;
    /* Adding a gradient to the result costs as much as some non-zeros for every feature. */
    int64_t batches = (n + ROWS_AT_ONCE - 1) / ROWS_AT_ONCE;
    e.flush_interval = 16 * e.d * batches / ((int64_t)e.row_starts[n] + 1) + 4;
    return NAME(set_up_and_run)(&e, n_threads);
}

/* Whether a row's label has the first of its largest logits. */
INLINE bool NAME(is_correct)(const WEIGHT *logits, int64_t k, int32_t label) {
    if (k == 1) return (logits[0] > 0) == (label == 1);
    WEIGHT of_label = logits[label];
    bool correct = true;
    for (int64_t c = 0; c < k; c++)
        correct &= c < label ? logits[c] < of_label : logits[c] <= of_label;
    return correct;
}

/* The part of a pass that is made of the rows of one tile; residual: [TILE][stride]. */
static void NAME(pass_tile)(const ENGINE *e, int64_t tile, double *loss_out, int64_t *correct_out,
                            WEIGHT *logits_out, WEIGHT *residual, WEIGHT *losses) {
    int64_t first = tile * TILE, stop = first + TILE < e->n_order ? first + TILE : e->n_order;
    for (int64_t row = first; row < stop; row++) {
        WEIGHT *logits = residual + (row - first) * e->stride;
        NAME(row_logits)(e, 1, row, row + 1 < e->n_order ? row + 1 : -1, logits);
        if (logits_out)
            memcpy(logits_out + row * e->k, logits, e->k * sizeof(WEIGHT));
        else
            *correct_out += NAME(is_correct)(logits, e->k, e->samples->labels[row]);
    }
    if (logits_out) return;
    NAME(cross_entropy)(e, first, stop, 1.0, residual, losses);
    for (int64_t i = 0; i < stop - first; i++) *loss_out += losses[i];
}

/* A pass over all rows: the sum of losses and the number of correct predictions, or the logits
 * where logits_out is not NULL. */
typedef struct {
    const ENGINE *engine;
    const WEIGHT *weights;  /* (k, d), as they come */
    int64_t n_threads, n_tiles;
    barrier meeting;
    char *of_threads;       /* [n_threads] residuals and losses of a tile */
    size_t of_thread;       /* bytes of one thread */
    double *tile_loss;      /* (n_tiles) */
    int64_t *tile_correct;  /* (n_tiles) */
    WEIGHT *logits_out;
} NAME(scan);

/* One thread's features to be packed, then its tiles. */
static void NAME(scan_member)(void *context, int64_t thread) {
    NAME(scan) *scan = context;
    const ENGINE *e = scan->engine;
    int64_t size = scan->n_threads, stop = scan->n_tiles * (thread + 1) / size;
    WEIGHT *residual = (WEIGHT *)(scan->of_threads + thread * scan->of_thread);
    NAME(pack)(e, e->weights, scan->weights, e->d * thread / size, e->d * (thread + 1) / size);
    wait_for_all(&scan->meeting, size);
    const int32_t *told = e->samples->stop;
    for (int64_t tile = scan->n_tiles * thread / size; tile < stop && !told_to_stop(told); tile++)
        NAME(pass_tile)(e, tile, &scan->tile_loss[tile], &scan->tile_correct[tile],
                        scan->logits_out, residual, residual + TILE * e->stride);
}

/* Threads split the rows. */
static int NAME(pass)(const fastlin_samples *samples, const fastlin_parameters *p,
                      double *loss_sum_out, int64_t *n_correct_out, WEIGHT *logits_out,
                      int n_threads) {
    ENGINE e = {.n_order = samples->n_rows, .batch_size = 1};
    NAME(shape)(&e, samples, p);
    int64_t n_tiles = (samples->n_rows + TILE - 1) / TILE;
    if (loss_sum_out) *loss_sum_out = 0, *n_correct_out = 0;
    if (n_tiles == 0) return FASTLIN_OK;
    int64_t useful = 1 + (int64_t)(NAME(work)(&e, e.n_order) / NON_ZEROS_WORTH_A_START);
    if (useful > n_threads) useful = n_threads;
    if (useful > n_tiles) useful = n_tiles;
    arena memory = {0}, rows_memory = {0};
    team threads;
    NAME(scan) scan = {.engine = &e,
                       .weights = p->weights,
                       .n_threads = start_team(&threads, useful),
                       .n_tiles = n_tiles,
                       .of_thread = (TILE * (e.stride + 1) * sizeof(WEIGHT) + 63) / 64 * 64,
                       .tile_loss = calloc(n_tiles, sizeof(double)),
                       .tile_correct = calloc(n_tiles, sizeof(int64_t)),
                       .logits_out = logits_out};
    int status = NAME(set_up)(&e, 1, &memory);
    size_t bytes = scan.n_threads * scan.of_thread;
    if (!scan.tile_loss || !scan.tile_correct || !reserve(&rows_memory, bytes + 64))
        status = FASTLIN_NO_MEMORY;
    else
        scan.of_threads = take(&rows_memory, bytes);
    finish_team(&threads, status == FASTLIN_OK ? NAME(scan_member) : NULL, &scan);
    for (int64_t tile = 0; tile < n_tiles && loss_sum_out && status == FASTLIN_OK; tile++) {
        *loss_sum_out += scan.tile_loss[tile];
        *n_correct_out += scan.tile_correct[tile];
    }
    free(scan.tile_loss);
    free(scan.tile_correct);
    release(&rows_memory);
    release(&memory);
    return status;
}

int NAME(score)(const fastlin_samples *samples, const fastlin_parameters *p, double *loss_sum_out,
                int64_t *n_correct_out, int n_threads) {
    return NAME(pass)(samples, p, loss_sum_out, n_correct_out, NULL, n_threads);
}

int NAME(logits)(const fastlin_samples *samples, const fastlin_parameters *p, void *logits_out,
                 int n_threads) {
    return NAME(pass)(samples, p, NULL, NULL, logits_out, n_threads);
}
