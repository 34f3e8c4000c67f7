/* The C backend's interface: read by cffi as declarations and included by the C sources, whose
 * design is described at the head of request.h.
 *
 * Legend: n rows, d features, k classes (k == 1: sigmoid, labels 0 and 1; k > 1: softmax),
 * m positions of the order, s steps. The mathematics and the meaning of shift, gain and decay:
 * fastlin/kernels/arguments.py and reference.py. Pointers may be NULL only if stated.
 */
#ifndef FASTLIN_API_H
#define FASTLIN_API_H
#include <stdint.h>

enum fastlin_type {
    FASTLIN_UINT8 = 0,
    FASTLIN_FLOAT32 = 1,
    FASTLIN_FLOAT64 = 2,
    FASTLIN_INT32 = 3,
    FASTLIN_INT64 = 4,
    FASTLIN_INT8 = 5,
    FASTLIN_FLOAT16 = 6
};

enum fastlin_status {
    FASTLIN_OK = 0,
    FASTLIN_NO_MEMORY = 1,
    FASTLIN_BAD_TYPE = 2,
    FASTLIN_BAD_BLOCKING = 3
};

/* Only read. `weight_type` is T, the type of the arrays marked T below. If `row_starts` is not
 * NULL, the rows are sparse: `rows` holds the z non-zero values, row by row, and `shift` is NULL.
 */
typedef struct {
    const void *rows;       /* (n, d), or (z,), of row_type */
    const void *columns;    /* (z,) of index_type, ascending in each row, or NULL */
    const void *row_starts; /* (n + 1,) of index_type, or NULL */
    int index_type;
    int64_t n_rows;
    int64_t n_features;
    int64_t row_stride; /* bytes from one row to the next */
    int row_type;
    int weight_type;
    const int32_t *labels;       /* (n,), or NULL for logits */
    const double *sample_weight; /* (n,) or NULL: all 1 */
    const void *shift;           /* (d,) T or NULL: all 0 */
    const int32_t *stop;         /* another thread sets it to 1 to stop the kernel */
} fastlin_samples;

/* Changed in place. */
typedef struct {
    int64_t n_classes;
    void *weights;            /* (k, d) T */
    void *intercept;          /* (k,) T */
    void *weights_velocity;   /* (k, d) T or NULL: no momentum */
    void *intercept_velocity; /* (k,) T or NULL */
    void *weights_average;    /* (k, d) T or NULL: no averaging */
    void *intercept_average;  /* (k,) T or NULL */
} fastlin_parameters;

typedef struct {
    int64_t batch_size;
    const double *learning_rates; /* (s,) */
    const double *average_rates;  /* (s,) or NULL */
    double decay;
    const void *gain; /* (d,) T */
    double intercept_decay;
    double intercept_gain;
    double momentum;
    int nesterov;
} fastlin_step_options;

/* How the work is divided, as fastlin/kernels/blocking.py decides and explains. */
typedef struct {
    int n_threads;         /* at most; fewer if the system allows fewer */
    int matrix_unit;       /* dense rows: whether to use it */
    int classes_in_lanes;  /* dense rows: whether vectors hold classes, as many classes let them */
    int shares_residuals;  /* dense rows: whether threads divide a panel's rows between them */
    int64_t block;         /* dense rows: classes in a block */
    int64_t n_slices;      /* of the features */
    const int64_t *bounds; /* (n_slices * n_parts + 1,) sparse rows: the first feature of each part
                              of each slice, and d */
    int64_t n_parts;       /* sparse rows: of a slice, which threads share if they are many */
    int in_place; /* sparse rows: whether each row of a batch changes the weights at once */
    int64_t rows_of_a_sum;  /* sparse rows: of the gradient over all rows, between two barriers */
    int64_t flush_interval; /* sparse rows: such sums between two additions to the gradient */
} fastlin_blocking;

/* Each returns a fastlin_status. One that was told to stop returns soon, and its results are
 * invalid. */
int fastlin_sgd_steps(const fastlin_samples *samples, const int64_t *order, int64_t n_order,
                      const fastlin_parameters *parameters, const fastlin_step_options *options,
                      double *losses_out /* (s,) */, const fastlin_blocking *blocking);

int fastlin_loss_gradient(const fastlin_samples *samples, const fastlin_parameters *parameters,
                          double *loss_sum_out, double *weights_gradient_out /* (k, d) */,
                          double *intercept_gradient_out /* (k,) */,
                          const fastlin_blocking *blocking);

int fastlin_score(const fastlin_samples *samples, const fastlin_parameters *parameters,
                  double *loss_sum_out, int64_t *n_correct_out, const fastlin_blocking *blocking);

int fastlin_logits(const fastlin_samples *samples, const fastlin_parameters *parameters,
                   void *logits_out /* (n, k) T */, const fastlin_blocking *blocking);

/* Name of the instruction set in use; `forced` (or NULL) takes a lower one.
 * Returns NULL if `forced` is unknown here. */
const char *fastlin_choose_instruction_set(const char *forced);

/* Name of the instruction set in use. */
const char *fastlin_instruction_set(void);

/* Names of the instruction sets that this machine can run, best first, separated by spaces. */
const char *fastlin_instruction_sets(void);

/* 0 if the library was built without threads, else 1. */
int fastlin_has_threads(void);
const char *fastlin_compiler(void);

#endif
