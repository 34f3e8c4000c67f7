/* The update rule: one step of gradient descent with momentum and a running average.
 *
 * See sgd_steps in fastlin/kernels/reference.py. It is a macro because it serves numbers and
 * vectors: dense kernels step with vectors of weights, sparse ones with the coefficients of a
 * linear map.
 */

#ifndef FASTLIN_STEP_H
#define FASTLIN_STEP_H

/* The coefficients of a step. */
typedef struct {
    double rate, momentum, average_rate;
    bool nesterov;
} step_rates;

static inline step_rates rates_of(const fastlin_step_options *options, int64_t step) {
    return (step_rates){
        .rate = options->learning_rates[step],
        .momentum = options->momentum,
        .average_rate = options->average_rates ? options->average_rates[step] : 0,
        .nesterov = options->nesterov,
    };
}

/* Step with `gradient`, which includes the penalty's. weight, velocity, average: pointers; the last
 * two are NULL without momentum or average. `rates` has numbers of their type. */
#define DESCEND(rates, gradient, weight, velocity, average)                         \
    do {                                                                            \
        __typeof__(*(weight)) direction_ = (gradient);                              \
        if (velocity) {                                                             \
            *(velocity) = *(velocity) * (rates).momentum + direction_;              \
            if ((rates).nesterov)                                                   \
                direction_ += *(velocity) * (rates).momentum;                       \
            else                                                                    \
                direction_ = *(velocity);                                           \
        }                                                                           \
        *(weight) -= direction_ * (rates).rate;                                     \
        if (average) *(average) += (*(weight) - *(average)) * (rates).average_rate; \
    } while (0)
#endif

/* The same in the type of the weights. */
typedef struct {
    WEIGHT rate, momentum, average_rate;
    bool nesterov;
} NAME(rates);

static NAME(rates) NAME(rates_of)(const fastlin_step_options *options, int64_t step) {
    step_rates rates = rates_of(options, step);
    return (NAME(rates)){(WEIGHT)rates.rate, (WEIGHT)rates.momentum, (WEIGHT)rates.average_rate,
                         rates.nesterov};
}

/* An intercept, its velocity and its average, each (k) padded to whole vectors. */
typedef struct {
    WEIGHT *values, *velocity, *average; /* the last two NULL without momentum or average */
} NAME(intercept);

static int64_t NAME(intercept_bytes)(int64_t k) {
    return round_up(k, LANES) * sizeof(WEIGHT);
}

static NAME(intercept) NAME(take_intercept)(arena *memory, const fastlin_parameters *p) {
    int64_t bytes = NAME(intercept_bytes)(p->n_classes);
    return (NAME(intercept)){take(memory, bytes),
                             p->intercept_velocity ? take(memory, bytes) : NULL,
                             p->intercept_average ? take(memory, bytes) : NULL};
}

/* Copy between the caller's arrays and a thread's own. */
static void NAME(copy_intercept)(const fastlin_parameters *p, NAME(intercept) b, bool back) {
    WEIGHT *outside[] = {p->intercept, p->intercept_velocity, p->intercept_average};
    WEIGHT *own[] = {b.values, b.velocity, b.average};
    for (int i = 0; i < 3; i++)
        if (outside[i])
            memcpy(back ? outside[i] : own[i], back ? own[i] : outside[i],
                   p->n_classes * sizeof(WEIGHT));
}

/* Update the intercept in a step; residual_sum: (k) padded to whole vectors. */
static void NAME(step_intercept)(const fastlin_step_options *options, int64_t step, int64_t k,
                                 const WEIGHT *residual_sum, NAME(intercept) b) {
    NAME(rates) rates = NAME(rates_of)(options, step);
    for (int64_t c = 0; c < k; c += LANES) {
        V *value = (V *)(b.values + c);
        V *velocity = b.velocity ? (V *)(b.velocity + c) : NULL;
        V *average = b.average ? (V *)(b.average + c) : NULL;
        V gradient = (*(const V *)(residual_sum + c) + *value * (WEIGHT)options->intercept_decay) *
                     (WEIGHT)options->intercept_gain;
        DESCEND(rates, gradient, value, velocity, average);
    }
}
