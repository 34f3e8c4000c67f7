/* Dense rows: the loop of a thread over all panels, and the entry points.
 *
 * A batch is processed in panels of PANEL rows, each in three phases:
 *
 *   A  partial logits   sums over each slice of the features   partial[slice][class][row]
 *   B  residuals        logits, losses and their gradient by the logits       [class][row]
 *   C  gradient         of a few features over all rows; with the batch's last panel its step
 *
 * Threads split the features, so each keeps its part of the weights in its core's cache from step
 * to step. They exchange only the partial logits, at one barrier for each panel. If there are more
 * threads than slices, they share a slice: its rows in phase A and its features in phase C, which
 * takes a second barrier. Slices depend on the shape and not on the threads, and so do the bits.
 */

/* All panels of a thread. */
static void NAME(work)(void *context, int64_t thread) {
    const RUN *run = context;
    const request *ask = run->ask;
    const SHAPE *shape = &run->shape;
    OWN *own = &run->own[thread];
    int buffer = 0;
    NAME(panel) panel = NAME(panel_at)(run, own, 0, buffer);
    NAME(begin)(run, own);
    while (panel.n_rows > 0) {
        /* Two buffers: others may still read the last panel's sums while this one's are written. */
        WEIGHT *partial = run->partial + (run->residual_shared ? 0 : buffer) * shape->n_slices *
                                             shape->k_padded * PANEL;
        WEIGHT *offset = run->offset + buffer * shape->n_slices * shape->k_padded;
        decide_to_leave_off(run->barrier, ask->samples->stop, thread, panel.first);

        /* A */
        NAME(partial_logits)(run, own, &panel, partial);
        if (ask->samples->shift && own->part.of.part == 0)
            for (int64_t s = own->part.of.first; s < own->part.of.stop; s++)
                NAME(slice_offset)(run, NAME(slice_bound)(shape, s),
                                   NAME(slice_bound)(shape, s + 1), offset + s * shape->k_padded);
        wait_for_all(run->barrier, run->n_threads);
        if (leaves_off(run->barrier, panel.first)) break;

        /* B */
        NAME(residuals)(run, own, thread, &panel, partial, offset);

        /* C */
        NAME(panel) next = NAME(panel_at)(run, own, panel.first + panel.n_rows, 1 - buffer);
        NAME(gradient)(run, own, &panel, next.n_rows > 0 ? next.rows : panel.rows);
        if (ask->options && panel.ends_batch)
            NAME(step_intercept)(ask->options, panel.step, shape->k, own->residual_sum,
                                 own->intercept);
        /* The next panel needs all of a shared slice's weights, and overwrites shared residuals. */
        if ((run->n_threads > shape->n_slices && panel.ends_batch) || run->residual_shared)
            wait_for_all(run->barrier, run->n_threads);
        buffer = 1 - buffer;
        panel = next;
    }
    NAME(end)();
}

/* Unpack the gradient over all rows, and correct it for the shift of the rows. */
static void NAME(write_gradient)(const RUN *run) {
    const SHAPE *shape = &run->shape;
    const request *ask = run->ask;
    for (int64_t c = 0; c < shape->k; c++)
        for (int64_t v = 0; v < shape->n_vectors; v++) {
            const double *from = run->gradient_sum + NAME(packed_at)(shape, c, v);
            double *to = ask->weights_gradient_out + c * shape->d + NAME(column)(shape, v);
            for (int lane = 0; lane < LANES; lane++)
                if (NAME(owns)(shape, v, lane))
                    to[lane] = from[lane] - ask->intercept_gradient_out[c] *
                                                (double)run->shift[v * LANES + lane];
        }
}

static RUN NAME(run_of)(const request *ask) {
    return (RUN){.ask = ask, .shape = NAME(shape_of)(ask)};
}

static int NAME(descend)(const request *ask) {
    RUN run = NAME(run_of)(ask);
    if (!NAME(is_sane)(ask)) return FASTLIN_BAD_BLOCKING;
    const fastlin_parameters *p = ask->parameters;
    int status = work_together(ask->blocking->n_threads, NAME(set_up), NAME(work), &run);
    if (status == FASTLIN_OK && ask->options) {
        NAME(pack)(&run.shape, run.weights, p->weights, true);
        if (run.velocity) NAME(pack)(&run.shape, run.velocity, p->weights_velocity, true);
        if (run.average) NAME(pack)(&run.shape, run.average, p->weights_average, true);
        NAME(copy_intercept)(p, run.own[0].intercept, true);
    } else if (status == FASTLIN_OK) {
        NAME(write_gradient)(&run);
    }
    free(run.memory.block);
    return status;
}

#if !MATRIX_UNIT
/* The start of a pass, and the logits of a panel: see pass.h. */
static void NAME(begin_pass)(const RUN *run, int64_t thread) {
    const SHAPE *shape = &run->shape;
    for (int64_t s = 0; s < shape->n_slices && run->ask->samples->shift; s++)
        NAME(slice_offset)(run, NAME(slice_bound)(shape, s), NAME(slice_bound)(shape, s + 1),
                           run->own[thread].residual_sum + s * shape->k_padded);
}

static WEIGHT *NAME(pass_logits)(const RUN *run, int64_t thread, int64_t first, int64_t n_rows) {
    const SHAPE *shape = &run->shape;
    OWN *own = &run->own[thread];
    NAME(gather)(run, first, n_rows, own->rows[0], own->short_rows[0]);
    /* A slice of the weights, unlike all of them, stays in the first-level cache. */
    for (int64_t s = 0; s < shape->n_slices; s++)
        NAME(slice_logits)(true, run, (const ROW *const *)own->rows[0], 0, round_up(n_rows, 8), s,
                           own->residual + s * shape->k_padded * PANEL);
    NAME(join_slices)(run, own->residual, own->residual_sum, shape->n_slices, own->intercept.values,
                      0, round_up(n_rows, LANES), own->residual);
    return own->residual;
}
#endif
