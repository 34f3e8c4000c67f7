/* Picks the kernels for this machine and for the types at hand. */
#include "common.h"

typedef struct {
    int (*sgd_steps)(const fastlin_samples *, const int64_t *, int64_t, const fastlin_parameters *,
                     const fastlin_step_options *, double *, int);
    int (*loss_gradient)(const fastlin_samples *, const fastlin_parameters *, double *, double *,
                         double *, int);
    int (*score)(const fastlin_samples *, const fastlin_parameters *, double *, int64_t *, int);
    int (*logits)(const fastlin_samples *, const fastlin_parameters *, void *, int);
} kernels;

typedef struct {
    const char *name;
    int (*runs_here)(void);
    kernels of_types[8]; /* in the order of kernels_of */
} instruction_set;

#define DECLARE(isa, pair)                                                                        \
    int fastlin_##isa##_##pair##_sgd_steps(                                                       \
        const fastlin_samples *, const int64_t *, int64_t, const fastlin_parameters *,            \
        const fastlin_step_options *, double *, int);                                             \
    int fastlin_##isa##_##pair##_loss_gradient(const fastlin_samples *,                           \
                                               const fastlin_parameters *, double *, double *,    \
                                               double *, int);                                    \
    int fastlin_##isa##_##pair##_score(const fastlin_samples *, const fastlin_parameters *,       \
                                       double *, int64_t *, int);                                 \
    int fastlin_##isa##_##pair##_logits(const fastlin_samples *, const fastlin_parameters *,      \
                                        void *, int);
#define DECLARE_FAMILY(isa)                                                        \
    DECLARE(isa, uint8_float32) DECLARE(isa, float32_float32)                      \
    DECLARE(isa, uint8_float64) DECLARE(isa, float64_float64)                      \
    DECLARE(isa, sparse32_float32) DECLARE(isa, sparse64_float32)                  \
    DECLARE(isa, sparse32_float64) DECLARE(isa, sparse64_float64)
#define KERNELS(isa, pair)                                                          \
    {fastlin_##isa##_##pair##_sgd_steps, fastlin_##isa##_##pair##_loss_gradient,    \
     fastlin_##isa##_##pair##_score, fastlin_##isa##_##pair##_logits}
#define FAMILY(isa)                                               \
    {KERNELS(isa, uint8_float32), KERNELS(isa, float32_float32),  \
     KERNELS(isa, uint8_float64), KERNELS(isa, float64_float64),  \
     KERNELS(isa, sparse32_float32), KERNELS(isa, sparse64_float32), \
     KERNELS(isa, sparse32_float64), KERNELS(isa, sparse64_float64)}

DECLARE_FAMILY(baseline)
static int always(void) { return 1; }

#if defined(__x86_64__)
DECLARE_FAMILY(avx512)
DECLARE_FAMILY(avx2)
static int has_avx512(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
static int has_avx2(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#endif

/* Best first. */
static const instruction_set instruction_sets[] = {
#if defined(__x86_64__)
    {"avx512", has_avx512, FAMILY(avx512)},
    {"avx2", has_avx2, FAMILY(avx2)},
#endif
    {"baseline", always, FAMILY(baseline)},
};
enum { N_SETS = sizeof instruction_sets / sizeof *instruction_sets };

static const instruction_set *chosen = NULL;

const char *fastlin_choose_instruction_set(const char *forced) {
    for (int i = 0; i < N_SETS; i++) {
        const instruction_set *set = &instruction_sets[i];
        if (!set->runs_here() || (forced && strcmp(forced, set->name))) continue;
        chosen = set;
        return set->name;
    }
    return NULL;
}

const char *fastlin_instruction_sets(void) {
    static char names[64];
    names[0] = '\0';
    for (int i = 0; i < N_SETS; i++) {
        if (!instruction_sets[i].runs_here()) continue;
        if (names[0]) strcat(names, " ");
        strcat(names, instruction_sets[i].name);
    }
    return names;
}

int fastlin_openmp_version(void) {
#if defined(_OPENMP)
    return _OPENMP;
#else
    return 0;
#endif
}

const char *fastlin_compiler(void) {
#if defined(__clang__)
    return "clang " __clang_version__;
#elif defined(__GNUC__)
    return "gcc " __VERSION__;
#else
    return "unknown";
#endif
}

static const kernels *kernels_of(const fastlin_samples *samples) {
    if (!chosen) fastlin_choose_instruction_set(NULL);
    int rows = samples->row_type, weights = samples->weight_type;
    if (samples->row_starts) {
        int wide = samples->index_type == FASTLIN_INT64;
        if (rows != weights || (!wide && samples->index_type != FASTLIN_INT32)) return NULL;
        if (weights == FASTLIN_FLOAT32) return &chosen->of_types[4 + wide];
        if (weights == FASTLIN_FLOAT64) return &chosen->of_types[6 + wide];
        return NULL;
    }
    if (rows == FASTLIN_UINT8 && weights == FASTLIN_FLOAT32) return &chosen->of_types[0];
    if (rows == FASTLIN_FLOAT32 && weights == FASTLIN_FLOAT32) return &chosen->of_types[1];
    if (rows == FASTLIN_UINT8 && weights == FASTLIN_FLOAT64) return &chosen->of_types[2];
    if (rows == FASTLIN_FLOAT64 && weights == FASTLIN_FLOAT64) return &chosen->of_types[3];
    return NULL;
}

/* Calls a kernel; again with one thread where the machine gave fewer than asked. */
#define CALL(kernel, ...)                                                                    \
    do {                                                                                     \
        const kernels *found = kernels_of(samples);                                          \
        if (!found) return FASTLIN_BAD_TYPE;                                                 \
        int status = found->kernel(__VA_ARGS__, n_threads);                                  \
        return status == FASTLIN_FEWER_THREADS ? found->kernel(__VA_ARGS__, 1) : status;     \
    } while (0)

int fastlin_sgd_steps(const fastlin_samples *samples, const int64_t *order, int64_t n_order,
                      const fastlin_parameters *parameters, const fastlin_step_options *options,
                      double *losses_out, int n_threads) {
    CALL(sgd_steps, samples, order, n_order, parameters, options, losses_out);
}

int fastlin_loss_gradient(const fastlin_samples *samples, const fastlin_parameters *parameters,
                          double *loss_sum_out, double *weights_gradient_out,
                          double *intercept_gradient_out, int n_threads) {
    CALL(loss_gradient, samples, parameters, loss_sum_out, weights_gradient_out,
         intercept_gradient_out);
}

int fastlin_score(const fastlin_samples *samples, const fastlin_parameters *parameters,
                  double *loss_sum_out, int64_t *n_correct_out, int n_threads) {
    CALL(score, samples, parameters, loss_sum_out, n_correct_out);
}

int fastlin_logits(const fastlin_samples *samples, const fastlin_parameters *parameters,
                   void *logits_out, int n_threads) {
    CALL(logits, samples, parameters, logits_out);
}
