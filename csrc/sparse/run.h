/* Sparse rows: the loop of a thread over all batches, and the entry points.
 *
 * A batch has two phases, each ended by a barrier:
 *
 *   A  residuals   threads split the batch's rows: logits, losses and their gradient by the logits
 *   C  update      threads split the features: each goes through all rows of the batch, in order,
 *                  and adds the products of those non-zeros that lie in its range of features
 *
 * So one thread sums each logit, and one thread changes each weight, in the order of the rows: the
 * bits do not depend on the number of threads. A few rows are added to the state one by one, with a
 * rounding each; the gradient of many rows is summed first.
 */

/* All batches of a thread. */
static void NAME(work)(void *context, int64_t thread) {
    const RUN *run = context;
    const request *ask = run->ask;
    OWN *own = &run->own[thread];
    mixture m = identity;
    int64_t first_feature = run->range[thread], stop_feature = run->range[thread + 1];
    NAME(pack)(run, first_feature, stop_feature, false);
    if (thread == 0) NAME(split)(run, 0, 0, batch_rows(ask, 0), run->splits[0]);
    wait_for_all(run->barrier, run->n_threads);

    int64_t step = 0;
    for (int64_t first = 0; first < ask->n_order; step++) {
        int64_t n_rows = batch_rows(ask, first), next = first + n_rows;
        int64_t next_n_rows = batch_rows(ask, next);
        int64_t *splits = run->splits[step % 2];

        /* A */
        NAME(residuals)(run, own, m, first, NAME(first_position)(run, first, next, thread),
                        NAME(first_position)(run, first, next, thread + 1),
                        ask->options ? (double)n_rows : 1.0);
        NAME(split)(run, next, next_n_rows * thread / run->n_threads,
                    next_n_rows * (thread + 1) / run->n_threads, run->splits[(step + 1) % 2]);
        decide_to_leave_off(run->barrier, ask->samples->stop, thread, first);
        wait_for_all(run->barrier, run->n_threads);
        if (leaves_off(run->barrier, first)) break;

        /* C */
        if (thread == 0) NAME(finish_batch)(run, step, n_rows);
        triple change = {0};
        if (ask->options) {
            m = after(NAME(mixture_of)(run, step), m);
            if (has_grown(m)) {
                NAME(make_values)(run, m, first_feature, stop_feature);
                m = identity;
            }
            change = coordinates(m, NAME(stepped)(run, step, (triple){0}, 1));
        }
        if (run->in_place) {
            NAME(step_in_place)(run, own, thread, n_rows, splits, change);
        } else {
            NAME(add_gradient)(run, thread, n_rows, splits);
            if (ask->options)
                NAME(step_with_gradient)(run, first_feature, stop_feature, change);
            else if ((step + 1) % ask->blocking->flush_interval == 0 || next_n_rows == 0)
                NAME(flush)(run, first_feature, stop_feature);
        }
        wait_for_all(run->barrier, run->n_threads);
        first = next;
    }
    if (!ask->options) return;
    NAME(make_values)(run, m, first_feature, stop_feature);
    NAME(pack)(run, first_feature, stop_feature, true);
    if (thread == 0) NAME(copy_intercept)(ask->parameters, run->intercept, true);
}

static bool NAME(is_sane)(const request *ask) {
    const fastlin_blocking *blocking = ask->blocking;
    return blocking->n_threads > 0 && blocking->rows_of_a_sum > 0 && blocking->flush_interval > 0;
}

static RUN NAME(run_of)(const request *ask) {
    return (RUN){.ask = ask,
                 .shape = NAME(shape_of)(ask),
                 .values = ask->samples->rows,
                 .columns = ask->samples->columns,
                 .row_starts = ask->samples->row_starts,
                 .in_place = ask->options && ask->blocking->in_place};
}

static int NAME(descend)(const request *ask) {
    RUN run = NAME(run_of)(ask);
    if (!NAME(is_sane)(ask)) return FASTLIN_BAD_BLOCKING;
    if (ask->options) {
        const WEIGHT *gain = ask->options->gain;
        run.one_gain = true;
        for (int64_t f = 1; f < run.shape.d; f++) run.one_gain &= gain[f] == gain[0];
    }
    int status = work_together(ask->blocking->n_threads, NAME(set_up), NAME(work), &run);
    free(run.memory.block);
    return status;
}

/* The start of a pass, and the logits of a panel: see pass.h. */
static void NAME(begin_pass)(const RUN *run, int64_t thread) {
    int64_t d = run->shape.d;
    NAME(pack)(run, d * thread / run->n_threads, d * (thread + 1) / run->n_threads, false);
    wait_for_all(run->barrier, run->n_threads);
}

static WEIGHT *NAME(pass_logits)(const RUN *run, int64_t thread, int64_t first, int64_t n_rows) {
    OWN *own = &run->own[thread];
    NAME(panel_logits)(run, own, identity, first, n_rows, run->ask->n_order);
    return own->z;
}
