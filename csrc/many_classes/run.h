/* Dense rows and many classes: the loop of a thread over all panels, and the entry point.
 *
 * With many classes the work is two products of matrices, rows by weights and rows by residuals,
 * and vectors hold classes (layout.h), so no sum has to be added up over lanes. A panel is
 *
 *      gathered    widened and copied, so that each number is read from the copy ever after
 *   A  logits      of a slice of classes for a group of rows          residual[slice][row][class]
 *   B  residuals   of some rows, over all classes
 *   C  gradient    of a slice of classes for a group of features; with the batch's last panel its
 *                  step, so the gradient of a batch of one panel is never stored
 *
 * Threads divide the classes, or, where there are more threads than slices, also the rows of A and
 * the features of C. So each keeps its part of the weights in its core's cache from step to step.
 * Each sum over features or rows is one thread's, in an order that the shape decides, so the bits
 * do not depend on the threads. The phases meet at barriers; the next panel is gathered, into
 * another buffer, before the barrier that ends C.
 */

static NAME(panel)
    NAME(many_panel)(const MANY_RUN *run, int64_t thread, int64_t first, int buffer) {
    NAME(panel) panel = NAME(many_bounds)(run, first);
    if (panel.n_rows > 0)
        NAME(gather_bundles)(run, NAME(bundles_of)(run, thread, &panel), &panel, run->rows[buffer]);
    return panel;
}

/* Copy a thread's part of all weights, or back. */
static void NAME(pack_all)(const MANY_RUN *run, int64_t thread, bool back) {
    const fastlin_parameters *p = run->ask->parameters;
    WEIGHT *outside[] = {p->weights, p->weights_velocity, p->weights_average};
    WEIGHT *packed[] = {run->weights, run->velocity, run->average};
    for (int i = 0; i < 3; i++)
        if (packed[i])
            NAME(pack_part)(&run->shape, packed[i], outside[i], thread, run->n_threads, back);
}

/* Unpack a thread's part of the gradient over all rows, and correct it for the shift of the rows.
 */
static void NAME(write_part)(const MANY_RUN *run, int64_t thread) {
    const MANY_SHAPE *shape = &run->shape;
    const request *ask = run->ask;
    int64_t d = shape->d;
    for (int64_t s = 0; s < shape->n_slices; s++) {
        NAME(slice) slice = NAME(slice_at)(shape, s);
        NAME(range)
        part = NAME(part_of)(shape, slice, shape->d_padded / GROUP, thread, run->n_threads);
        int64_t first = slice.first * LANES, stride = slice.width * LANES;
        for (int64_t j = part.first * GROUP; j < part.stop * GROUP; j += GROUP) {
            const double *from =
                run->gradient_sum + NAME(packed_before)(shape, slice.first) + j * stride - first;
            for (int64_t c = first; c < at_most(shape->k, first + stride); c++)
                for (int64_t i = 0; i < at_most(GROUP, d - j); i++) {
                    double shift = run->shift ? run->shift[j + i] : 0;
                    ask->weights_gradient_out[c * d + j + i] =
                        from[i * stride + c] - ask->intercept_gradient_out[c] * shift;
                }
        }
    }
}

/* All panels of a thread. */
static void NAME(many_work)(void *context, int64_t thread) {
    const MANY_RUN *run = context;
    const request *ask = run->ask;
    int buffer = 0;
    NAME(pack_all)(run, thread, false);
    NAME(panel) panel = NAME(many_panel)(run, thread, 0, buffer);
    wait_for_all(run->barrier, run->n_threads);
    while (panel.n_rows > 0) {
        const WEIGHT *rows = run->rows[buffer];
        decide_to_leave_off(run->barrier, ask->samples->stop, thread, panel.first);
        NAME(many_logits)(run, thread, &panel, rows);
        wait_for_all(run->barrier, run->n_threads);
        if (leaves_off(run->barrier, panel.first)) return;
        NAME(many_residuals)(run, thread, &panel);
        wait_for_all(run->barrier, run->n_threads);
        NAME(many_gradient)(run, thread, &panel, rows);
        buffer = 1 - buffer;
        panel = NAME(many_panel)(run, thread, panel.first + panel.n_rows, buffer);
        wait_for_all(run->barrier, run->n_threads);
    }
    if (ask->options)
        NAME(pack_all)(run, thread, true);
    else
        NAME(write_part)(run, thread);
}

static MANY_RUN NAME(many_run_of)(const request *ask) {
    return (MANY_RUN){.ask = ask, .shape = NAME(many_shape_of)(ask)};
}

/* Whether there are micro-kernels: for slices of two vectors and more. */
static bool NAME(many_is_sane)(const request *ask) {
    return ask->blocking->n_threads > 0 && ask->parameters->n_classes > LANES;
}

static int NAME(many_descend)(const request *ask) {
    MANY_RUN run = NAME(many_run_of)(ask);
    if (!NAME(many_is_sane)(ask)) return FASTLIN_BAD_BLOCKING;
    int status = work_together(ask->blocking->n_threads, NAME(many_set_up), NAME(many_work), &run);
    if (status == FASTLIN_OK && ask->options)
        NAME(copy_intercept)(ask->parameters, run.intercept, true);
    free(run.memory.block);
    return status;
}

/* The start of a pass, and the logits of a panel: see pass.h. */
static void NAME(many_begin_pass)(const MANY_RUN *run, int64_t thread) {
    const MANY_SHAPE *shape = &run->shape;
    NAME(pack_all)(run, thread, false);
    wait_for_all(run->barrier, run->n_threads);
    for (int64_t s = 0; s < shape->n_slices; s++) {
        NAME(slice) slice = NAME(slice_at)(shape, s);
        NAME(range) part = NAME(part_of)(shape, slice, 1, thread, run->n_threads);
        if (part.first < part.stop) NAME(offset_of_slice)(run, slice);
    }
    wait_for_all(run->barrier, run->n_threads);
}

static WEIGHT *NAME(many_pass_logits)(const MANY_RUN *run, int64_t thread, int64_t first,
                                      int64_t n_rows) {
    const MANY_SHAPE *shape = &run->shape;
    const MANY_OWN *own = &run->own[thread];
    NAME(panel) panel = {.first = first, .n_rows = n_rows};
    NAME(range) all = {0, NAME(n_bundles)(&panel)};
    NAME(gather_bundles)(run, all, &panel, own->rows);
    for (int64_t s = 0; s < shape->n_slices; s++) {
        NAME(slice) slice = NAME(slice_at)(shape, s);
        NAME(slice_sums)(run, slice, all, own->rows, own->logits);
        for (int64_t v = 0; v < slice.width; v++)
            for (int64_t i = 0; i < n_rows; i += LANES) {
                const WEIGHT *from =
                    own->logits + (slice.first * shape->panel + i * slice.width + v) * LANES;
                V block[LANES], constant = NAME(constant_at)(run, slice.first + v);
                UNROLL for (int row = 0; row < LANES; row++)
                    block[row] = *(const V *)(from + row * slice.width * LANES) + constant;
                NAME(transpose)(LANES, block);
                UNROLL for (int c = 0; c < LANES; c++)
                    *(V *)(own->by_class + ((slice.first + v) * LANES + c) * PANEL + i) = block[c];
            }
    }
    return own->by_class;
}
