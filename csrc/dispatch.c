/* Picks the kernels for this machine and for the types at hand. */
#include "common.h"
#if HAS_AMX
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

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
    /* Whether steps of so many rows and classes are fast with it; else the next set takes them. */
    int (*suits)(int64_t n_rows, int64_t n_classes);
    kernels of_types[8]; /* in the order of place_of; without functions: the next set's */
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
/* A set with kernels of its own for steps on uint8 rows and float32 weights only. */
#define INTEGER_FAMILY(isa, below)                                                             \
    {{fastlin_##isa##_uint8_float32_sgd_steps, fastlin_##isa##_uint8_float32_loss_gradient,    \
      fastlin_##below##_uint8_float32_score, fastlin_##below##_uint8_float32_logits}}
#define FAMILY(isa)                                               \
    {KERNELS(isa, uint8_float32), KERNELS(isa, float32_float32),  \
     KERNELS(isa, uint8_float64), KERNELS(isa, float64_float64),  \
     KERNELS(isa, sparse32_float32), KERNELS(isa, sparse64_float32), \
     KERNELS(isa, sparse32_float64), KERNELS(isa, sparse64_float64)}

DECLARE_FAMILY(baseline)
static int always(void) { return 1; }
static int any_shape(int64_t n_rows, int64_t n_classes) {
    (void)n_rows, (void)n_classes;
    return 1;
}

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

#if HAS_AMX
DECLARE(amx, uint8_float32)
/* CPUID's leaf 7; and the system must grant the unit's registers, once for the whole process. */
static int has_amx(void) {
    enum { AMX_TILE = 1 << 24, AMX_INT8 = 1 << 25, ARCH_REQ_XCOMP_PERM = 0x1023, XTILEDATA = 18 };
    unsigned eax, ebx, ecx, edx;
    if (!has_avx512() || !__builtin_cpu_supports("avx512vbmi")) return 0;
    if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return 0;
    if (!(edx & AMX_TILE) || !(edx & AMX_INT8)) return 0;
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA) == 0;
}
/* Enough products to be worth laying out the operands. */
static int has_many_products(int64_t n_rows, int64_t n_classes) {
    return n_classes >= 8 && n_rows * n_classes >= 1024;
}
#endif

/* Best first. */
static const instruction_set instruction_sets[] = {
#if HAS_AMX
    {"amx", has_amx, has_many_products, INTEGER_FAMILY(amx, avx512)},
#endif
#if defined(__x86_64__)
    {"avx512", has_avx512, any_shape, FAMILY(avx512)},
    {"avx2", has_avx2, any_shape, FAMILY(avx2)},
#endif
    {"baseline", always, any_shape, FAMILY(baseline)},
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

int fastlin_has_threads(void) { return HAS_THREADS; }

const char *fastlin_compiler(void) {
#if defined(__clang__)
    return "clang " __clang_version__;
#elif defined(__GNUC__)
    return "gcc " __VERSION__;
#else
    return "unknown";
#endif
}

/* Place in a set's kernels, or -1. */
static int place_of(const fastlin_samples *samples) {
    int rows = samples->row_type, weights = samples->weight_type;
    if (samples->row_starts) {
        int wide = samples->index_type == FASTLIN_INT64;
        if (rows != weights || (!wide && samples->index_type != FASTLIN_INT32)) return -1;
        if (weights == FASTLIN_FLOAT32) return 4 + wide;
        if (weights == FASTLIN_FLOAT64) return 6 + wide;
        return -1;
    }
    if (rows == FASTLIN_UINT8 && weights == FASTLIN_FLOAT32) return 0;
    if (rows == FASTLIN_FLOAT32 && weights == FASTLIN_FLOAT32) return 1;
    if (rows == FASTLIN_UINT8 && weights == FASTLIN_FLOAT64) return 2;
    if (rows == FASTLIN_FLOAT64 && weights == FASTLIN_FLOAT64) return 3;
    return -1;
}

static const kernels *kernels_of(const fastlin_samples *samples,
                                 const fastlin_parameters *parameters, int64_t n_rows) {
    if (!chosen) fastlin_choose_instruction_set(NULL);
    int place = place_of(samples);
    if (place < 0) return NULL;
    const instruction_set *set = chosen;
    while (!set->of_types[place].sgd_steps || !set->suits(n_rows, parameters->n_classes)) set++;
    return &set->of_types[place];
}

/* Calls a kernel that takes n_rows rows at a time. */
#define CALL(n_rows, kernel, ...)                                       \
    do {                                                                \
        const kernels *found = kernels_of(samples, parameters, n_rows); \
        return found ? found->kernel(__VA_ARGS__, n_threads) : FASTLIN_BAD_TYPE; \
    } while (0)

int fastlin_sgd_steps(const fastlin_samples *samples, const int64_t *order, int64_t n_order,
                      const fastlin_parameters *parameters, const fastlin_step_options *options,
                      double *losses_out, int n_threads) {
    CALL(options->batch_size, sgd_steps, samples, order, n_order, parameters, options, losses_out);
}

int fastlin_loss_gradient(const fastlin_samples *samples, const fastlin_parameters *parameters,
                          double *loss_sum_out, double *weights_gradient_out,
                          double *intercept_gradient_out, int n_threads) {
    CALL(samples->n_rows, loss_gradient, samples, parameters, loss_sum_out, weights_gradient_out,
         intercept_gradient_out);
}

int fastlin_score(const fastlin_samples *samples, const fastlin_parameters *parameters,
                  double *loss_sum_out, int64_t *n_correct_out, int n_threads) {
    CALL(samples->n_rows, score, samples, parameters, loss_sum_out, n_correct_out);
}

int fastlin_logits(const fastlin_samples *samples, const fastlin_parameters *parameters,
                   void *logits_out, int n_threads) {
    CALL(samples->n_rows, logits, samples, parameters, logits_out);
}
