/* Picks the kernels for this machine and for the types of a call. */
#include "request.h"
#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if HAS_AMX
#include <sys/syscall.h>
#include <unistd.h>
#endif

typedef struct {
    const char *name;
    bool (*runs_here)(void);
    const kernels *of_pairs; /* pairs that a set lacks: the next set's */
} instruction_set;

extern const kernels fastlin_baseline_kernels[];
static bool always(void) {
    return true;
}

#if defined(__x86_64__)
extern const kernels fastlin_avx512_kernels[], fastlin_avx2_kernels[];
/* What the processor has and the system saves, asked here: __builtin_cpu_supports says no to all in
 * libraries that some compilers make. */
enum {
    SSE_AND_AVX = 0x6, /* registers that the system saves, of XGETBV */
    AND_AVX512 = 0xe6,
    OSXSAVE = 1 << 27, /* leaf 1, ECX */
    FMA_AND_F16C = 1 << 12 | 1 << 29,
    AVX2 = 1 << 5, /* leaf 7, EBX: AVX2; AVX-512 F, DQ, BW and VL */
};
#define AVX512_F_DQ_BW_VL (1u << 16 | 1u << 17 | 1u << 30 | 1u << 31)
#define AVX512_VBMI (1u << 1) /* leaf 7, ECX */

static bool all_of(unsigned bits, unsigned wanted) {
    return (bits & wanted) == wanted;
}
static bool has(unsigned saved, unsigned of_leaf_7, unsigned more_of_leaf_7) {
    unsigned eax, ebx, ecx, edx, low, high;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx)) return false;
    if (!all_of(ecx, OSXSAVE | FMA_AND_F16C)) return false;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    if (!all_of(low, saved)) return false;
    if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return false;
    return all_of(ebx, of_leaf_7) && all_of(ecx, more_of_leaf_7);
}
static bool has_avx512(void) {
    return has(AND_AVX512, AVX2 | AVX512_F_DQ_BW_VL, 0);
}
static bool has_avx2(void) {
    return has(SSE_AND_AVX, AVX2, 0);
}
#endif

#if HAS_AMX
extern const kernels fastlin_amx_kernels[];
/* CPUID leaf 7; and the system must grant the unit's registers, once for the whole process. */
static bool has_amx(void) {
    enum { AMX_TILE = 1 << 24, AMX_INT8 = 1 << 25, ARCH_REQ_XCOMP_PERM = 0x1023, XTILEDATA = 18 };
    unsigned eax, ebx, ecx, edx;
    if (!has(AND_AVX512, AVX2 | AVX512_F_DQ_BW_VL, AVX512_VBMI)) return false;
    if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return false;
    if (!(edx & AMX_TILE) || !(edx & AMX_INT8)) return false;
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA) == 0;
}
#endif

/* Best first. */
static const instruction_set instruction_sets[] = {
#if HAS_AMX
    {"amx", has_amx, fastlin_amx_kernels},
#endif
#if defined(__x86_64__)
    {"avx512", has_avx512, fastlin_avx512_kernels},
    {"avx2", has_avx2, fastlin_avx2_kernels},
#endif
    {"baseline", always, fastlin_baseline_kernels},
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

const char *fastlin_instruction_set(void) {
    return chosen ? chosen->name : fastlin_choose_instruction_set(NULL);
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

int fastlin_has_threads(void) {
    return HAS_THREADS;
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

/* Call the kernels of the best set that has them. */
static int run(request ask) {
    const fastlin_samples *samples = ask.samples;
    int columns = samples->row_starts ? samples->index_type : NO_COLUMNS;
    bool unit = ask.blocking->matrix_unit, classes = ask.blocking->classes_in_lanes;
    fastlin_instruction_set();
    for (const instruction_set *set = chosen; set < instruction_sets + N_SETS; set++)
        for (const kernels *of = set->of_pairs; of->rows != NO_MORE; of++) {
            if (of->rows != samples->row_type || of->weights != samples->weight_type) continue;
            if (of->columns != columns || of->matrix_unit != unit) continue;
            if (of->classes_in_lanes != classes) continue;
            if (ask.n_order == 0) return FASTLIN_OK;
            return is_pass(&ask) ? of->pass(&ask) : of->descend(&ask);
        }
    return FASTLIN_BAD_TYPE;
}

int fastlin_sgd_steps(const fastlin_samples *samples, const int64_t *order, int64_t n_order,
                      const fastlin_parameters *parameters, const fastlin_step_options *options,
                      double *losses_out, const fastlin_blocking *blocking) {
    int64_t n_steps = (n_order + options->batch_size - 1) / options->batch_size;
    memset(losses_out, 0, n_steps * sizeof(double));
    return run((request){.samples = samples,
                         .parameters = parameters,
                         .options = options,
                         .order = order,
                         .n_order = n_order,
                         .batch_size = options->batch_size,
                         .blocking = blocking,
                         .losses_out = losses_out});
}

int fastlin_loss_gradient(const fastlin_samples *samples, const fastlin_parameters *parameters,
                          double *loss_sum_out, double *weights_gradient_out,
                          double *intercept_gradient_out, const fastlin_blocking *blocking) {
    int64_t k = parameters->n_classes;
    *loss_sum_out = 0;
    memset(weights_gradient_out, 0, k * samples->n_features * sizeof(double));
    memset(intercept_gradient_out, 0, k * sizeof(double));
    return run(
        (request){.samples = samples,
                  .parameters = parameters,
                  .n_order = samples->n_rows,
                  .batch_size = samples->row_starts ? blocking->rows_of_a_sum : samples->n_rows,
                  .blocking = blocking,
                  .losses_out = loss_sum_out,
                  .weights_gradient_out = weights_gradient_out,
                  .intercept_gradient_out = intercept_gradient_out});
}

int fastlin_score(const fastlin_samples *samples, const fastlin_parameters *parameters,
                  double *loss_sum_out, int64_t *n_correct_out, const fastlin_blocking *blocking) {
    *loss_sum_out = 0;
    *n_correct_out = 0;
    return run((request){.samples = samples,
                         .parameters = parameters,
                         .n_order = samples->n_rows,
                         .blocking = blocking,
                         .losses_out = loss_sum_out,
                         .n_correct_out = n_correct_out});
}

int fastlin_logits(const fastlin_samples *samples, const fastlin_parameters *parameters,
                   void *logits_out, const fastlin_blocking *blocking) {
    return run((request){.samples = samples,
                         .parameters = parameters,
                         .n_order = samples->n_rows,
                         .blocking = blocking,
                         .logits_out = logits_out});
}
