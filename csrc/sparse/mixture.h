/* Steps on features that are zero in all rows of a batch.
 *
 * Without a gradient by the data a step is a linear map of a feature's weight, velocity and
 * average, the same for all features. So these three are stored in coordinates x, y, z that such a
 * step does not change; each step changes only the map from coordinates to values, the mixture:
 *
 *   weight   = ww x + wv y          velocity = vw x + vv y          average = aw x + av y + aa z
 *
 * Then the time of a step is proportional to the non-zeros of its rows. Bottou, "Stochastic
 * gradient descent tricks" (2012), section 5.1, does so for the penalty alone: `weight = ww x`.
 */
#ifndef FASTLIN_MIXTURE_H
#define FASTLIN_MIXTURE_H

typedef struct {
    double ww, wv, vw, vv, aw, av, aa;
} mixture;

/* A weight, a velocity and an average, or a coefficient of each. */
typedef struct {
    double weight, velocity, average;
} triple;

static const mixture identity = {.ww = 1, .vv = 1, .aa = 1};

static inline mixture after(mixture step, mixture before) {
    return (mixture){
        .ww = step.ww * before.ww + step.wv * before.vw,
        .wv = step.ww * before.wv + step.wv * before.vv,
        .vw = step.vw * before.ww + step.vv * before.vw,
        .vv = step.vw * before.wv + step.vv * before.vv,
        .aw = step.aw * before.ww + step.av * before.vw + step.aa * before.aw,
        .av = step.aw * before.wv + step.av * before.vv + step.aa * before.av,
        .aa = step.aa * before.aa,
    };
}

/* Whether coordinates have become much larger or smaller than their values. Then their sums round
 * too much, and they are converted to values. */
static inline bool has_grown(mixture m) {
    const double most = 64;
    double size = fabs(m.ww * m.vv - m.wv * m.vw);
    return !(size >= 1 / most && size <= most && fabs(m.aa) >= 1 / most);
}

/* The coordinates of a change of the values. */
static inline triple coordinates(mixture m, triple change) {
    double size = m.ww * m.vv - m.wv * m.vw;
    double x = (m.vv * change.weight - m.wv * change.velocity) / size;
    double y = (m.ww * change.velocity - m.vw * change.weight) / size;
    return (triple){x, y, (change.average - m.aw * x - m.av * y) / m.aa};
}

#endif

/* The values of a feature after a step with a given gradient by the data. */
static triple NAME(stepped)(const RUN *run, int64_t step, triple values, double data_gradient) {
    const fastlin_step_options *options = run->ask->options;
    step_rates rates = rates_of(options, step);
    double gradient = data_gradient + options->decay * values.weight;
    double *velocity = run->shape.velocity ? &values.velocity : NULL;
    double *average = run->shape.average ? &values.average : NULL;
    DESCEND(rates, gradient, &values.weight, velocity, average);
    return values;
}

/* Apply a step without a gradient by the data: the update rule's map, column by column. */
static mixture NAME(mixture_of)(const RUN *run, int64_t step) {
    triple of_weight = NAME(stepped)(run, step, (triple){.weight = 1}, 0);
    triple of_velocity = NAME(stepped)(run, step, (triple){.velocity = 1}, 0);
    triple of_average = NAME(stepped)(run, step, (triple){.average = 1}, 0);
    return (mixture){of_weight.weight,     of_velocity.weight, of_weight.velocity,
                     of_velocity.velocity, of_weight.average,  of_velocity.average,
                     of_average.average};
}

/* Convert the coordinates of `n` numbers at weights, velocities and averages to values. NUMBER:
 * WEIGHT, or a vector of them. */
#define MAKE_VALUES(NUMBER, n, weights, velocities, averages)           \
    do {                                                                \
        NUMBER *w_ = (NUMBER *)(weights), *v_ = (NUMBER *)(velocities); \
        NUMBER *a_ = (NUMBER *)(averages);                              \
        for (int64_t i = 0; i < (n); i++) {                             \
            NUMBER x = w_[i], y = v_ ? v_[i] : x;                       \
            if (a_) a_[i] = a_[i] * aa + x * aw + y * av;               \
            if (v_) v_[i] = x * vw + y * vv;                            \
            w_[i] = v_ ? x * ww + y * wv : x * ww;                      \
        }                                                               \
    } while (0)

/* Turn the coordinates of some features into values. */
static void NAME(make_values)(const RUN *run, mixture m, int64_t first, int64_t stop) {
    const SHAPE *shape = &run->shape;
    WEIGHT ww = (WEIGHT)m.ww, wv = (WEIGHT)m.wv, vw = (WEIGHT)m.vw, vv = (WEIGHT)m.vv;
    WEIGHT aw = (WEIGHT)m.aw, av = (WEIGHT)m.av, aa = (WEIGHT)m.aa;
    int64_t stride = shape->stride;
    if (memcmp(&m, &identity, sizeof m) == 0) return; /* coordinates are the values */
    if (shape->feature_size == 1) {
        for (int64_t f = first; f < stop; f++) run->state[f] *= ww;
        return;
    }
    for (int64_t f = first; f < stop; f++) {
        WEIGHT *weights = run->state + f * shape->feature_size;
        WEIGHT *velocities = shape->velocity ? weights + shape->velocity * stride : NULL;
        WEIGHT *averages = shape->average ? weights + shape->average * stride : NULL;
        if (stride == 1)
            MAKE_VALUES(WEIGHT, 1, weights, velocities, averages);
        else
            MAKE_VALUES(V, stride / LANES, weights, velocities, averages);
    }
}
