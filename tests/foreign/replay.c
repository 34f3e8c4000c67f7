/* Makes the calls that record.py wrote, and compares what the C kernels answer.
 *
 *     replay FILE
 *
 * Prints each call that is off, and how many there were. Every array has a block of its own that
 * ends where the array ends, between pages that cannot be touched, so a kernel that reads or writes
 * beyond it ends the process. */
#define _GNU_SOURCE
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fastlin_api.h"

enum { STEPS, LOSS_GRADIENT, SCORE, LOGITS };
enum { MOST_BLOCKS = 64, MOST_ANSWERS = 8 };

static FILE *file;
static struct {
    void *start;
    size_t size;
} blocks[MOST_BLOCKS];
static int n_blocks;

static void read_exactly(void *to, size_t size) {
    if (size && fread(to, size, 1, file) != 1) {
        fprintf(stderr, "the file ends within a call\n");
        exit(2);
    }
}

static int64_t integer(void) {
    int64_t value;
    read_exactly(&value, sizeof value);
    return value;
}

static double number(void) {
    double value;
    read_exactly(&value, sizeof value);
    return value;
}

/* Memory whose end is the end of its last page; the pages before and behind cannot be touched. */
static void *guarded(int64_t size) {
    size_t page = sysconf(_SC_PAGESIZE), inside = (size + page - 1) / page * page;
    if (inside == 0) inside = page;
    char *start = mmap(NULL, inside + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED || mprotect(start + page, inside, PROT_READ | PROT_WRITE)) {
        fprintf(stderr, "no memory\n");
        exit(2);
    }
    blocks[n_blocks].start = start;
    blocks[n_blocks++].size = inside + 2 * page;
    return start + page + inside - size;
}

static void *array(void) {
    int64_t size = integer();
    if (size < 0) return NULL;
    char *content = guarded(size), filling[8];
    read_exactly(content, size);
    read_exactly(filling, (8 - size % 8) % 8);
    return content;
}

typedef struct {
    int type;
    int64_t n;
    const double *right, *tolerance;
} answer;

static answer expected(void) {
    answer a = {.type = (int)integer()};
    int64_t at = ftell(file);
    a.n = integer() / (int64_t)sizeof(double);
    fseek(file, at, SEEK_SET);
    a.right = array();
    a.tolerance = array();
    return a;
}

/* How many times its tolerance the worst of some numbers is off. */
static double worst(const void *got, const answer *a) {
    double most = 0;
    for (int64_t i = 0; i < a->n; i++) {
        double value = a->type == FASTLIN_FLOAT32 ? ((const float *)got)[i] : ((const double *)got)[i];
        double allowed = a->tolerance[i] > 1e-300 ? a->tolerance[i] : 1e-300;
        double off = isfinite(value) ? fabs(value - a->right[i]) / allowed : INFINITY;
        if (off > most) most = off;
    }
    return most;
}

int main(int n_arguments, char **arguments) {
    file = n_arguments == 2 ? fopen(arguments[1], "rb") : NULL;
    if (!file) {
        fprintf(stderr, "usage: replay FILE\n");
        return 2;
    }
    int64_t n_calls = 0, n_wrong = 0;
    static const int32_t go_on = 0;
    for (int first; (first = getc(file)) != EOF; n_calls++) {
        ungetc(first, file);
        int64_t function = integer(), length = integer();
        char name[256] = {0}, filling[8];
        if (length >= (int64_t)sizeof name) return 2;
        read_exactly(name, length);
        read_exactly(filling, (8 - length % 8) % 8);

        fastlin_samples samples = {.stop = &go_on};
        samples.weight_type = (int)integer();
        samples.row_type = (int)integer();
        samples.index_type = (int)integer();
        samples.n_rows = integer();
        samples.n_features = integer();
        samples.row_stride = integer();
        samples.rows = array();
        samples.columns = array();
        samples.row_starts = array();
        samples.labels = array();
        samples.sample_weight = array();
        samples.shift = array();
        if (function == LOGITS) samples.labels = NULL;
        fastlin_blocking blocking;
        blocking.n_threads = (int)integer();
        blocking.matrix_unit = (int)integer();
        blocking.classes_in_lanes = (int)integer();
        blocking.shares_residuals = (int)integer();
        blocking.block = integer();
        blocking.n_slices = integer();
        blocking.bounds = array();
        blocking.n_parts = integer();
        blocking.in_place = (int)integer();
        blocking.rows_of_a_sum = integer();
        blocking.flush_interval = integer();
        fastlin_parameters parameters = {.n_classes = integer()};
        void **held[] = {&parameters.weights,          &parameters.intercept,
                         &parameters.weights_velocity, &parameters.intercept_velocity,
                         &parameters.weights_average,  &parameters.intercept_average};
        for (int i = 0; i < 6; i++) *held[i] = array();

        int64_t *order = NULL, n_order = 0;
        fastlin_step_options options = {0};
        if (function == STEPS) {
            int64_t at = ftell(file);
            n_order = integer() / (int64_t)sizeof(int64_t);
            fseek(file, at, SEEK_SET);
            order = array();
            options.batch_size = integer();
            options.learning_rates = array();
            options.average_rates = array();
            options.decay = number();
            options.gain = array();
            options.intercept_decay = number();
            options.intercept_gain = number();
            options.momentum = number();
            options.nesterov = (int)integer();
        }
        answer answers[MOST_ANSWERS];
        int64_t n_answers = integer();
        const void *got[MOST_ANSWERS];
        for (int i = 0; i < n_answers; i++) {
            answers[i] = expected();
            bool wide = answers[i].type == FASTLIN_FLOAT64;
            got[i] = guarded(answers[i].n * (wide ? sizeof(double) : sizeof(float)));
        }

        int64_t n_correct = 0;
        int status = -1;
        if (function == STEPS) {
            status = fastlin_sgd_steps(&samples, order, n_order, &parameters, &options,
                                       (double *)got[0], &blocking);
            for (int i = 0, next = 1; i < 6; i++)
                if (*held[i]) got[next++] = *held[i];
        } else if (function == LOSS_GRADIENT) {
            status = fastlin_loss_gradient(&samples, &parameters, (double *)got[0],
                                           (double *)got[1], (double *)got[2], &blocking);
        } else if (function == SCORE) {
            status = fastlin_score(&samples, &parameters, (double *)got[0], &n_correct, &blocking);
            *(double *)got[1] = (double)n_correct;
        } else {
            status = fastlin_logits(&samples, &parameters, (void *)got[0], &blocking);
        }
        double off = status == FASTLIN_OK ? 0 : INFINITY;
        for (int i = 0; status == FASTLIN_OK && i < n_answers; i++) {
            double of_this = worst(got[i], &answers[i]);
            if (of_this > off) off = of_this;
        }
        if (!(off <= 1)) {
            n_wrong++;
            printf("function %d, %s: status %d, %.3g times what is allowed\n", (int)function, name,
                   status, off);
        }
        while (n_blocks) {
            n_blocks--;
            munmap(blocks[n_blocks].start, blocks[n_blocks].size);
        }
    }
    printf("%s, %s: %lld calls, %lld wrong\n", fastlin_compiler(), fastlin_instruction_set(),
           (long long)n_calls, (long long)n_wrong);
    return n_wrong || !n_calls;
}
