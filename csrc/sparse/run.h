/* Sparse rows: the loop of a thread over all batches, and the entry points.
 *
 * Each thread has some slices of the features, so that their weights stay in its core's cache. A
 * batch goes through A and B a few rows at a time, then through C:
 *
 *   A  partial logits   each thread sums the products of its features;                    barrier
 *   B  residuals        threads share the rows: logits, losses and their gradient;        barrier
 *   C  update           each thread goes through all rows of the batch, in order, and adds the
 *                       products of its features
 *
 * A barrier after C is needed only if threads share a slice. One thread sums each partial logit,
 * and one thread changes each weight, in the order of the rows: the bits do not depend on the
 * number of threads. A few rows are added to the state one by one, with a rounding each; the
 * gradient of many rows is summed first.
 */

/* A and B of a batch; returns whether the threads leave off. */
static bool NAME(batch_residuals)(const RUN *run, OWN *own, mixture m, int64_t thread,
                                  int64_t first, int64_t n_rows) {
    const request *ask = run->ask;
    double divisor = ask->options ? (double)n_rows : 1.0;
    int64_t n_slices = own->of.stop - own->of.first;
    WEIGHT *partial = run->partial, *other = run->partial + NAME(partial_size)(run);
    for (int64_t done = 0; done < n_rows; done += NAME(ROWS_AT_ONCE)) {
        int64_t at_once = at_most(n_rows - done, NAME(ROWS_AT_ONCE)), at = first + done;
        decide_to_leave_off(run->barrier, ask->samples->stop, thread, at);
        NAME(sum_slices)(run, own, at, at_once, partial, own->starts + done * (n_slices + 1));
        wait_for_all(run->barrier, run->n_threads);
        if (leaves_off(run->barrier, at)) return true;
        NAME(residuals)(run, own, m, thread, first, at, at_once, partial, divisor);
        WEIGHT *last = partial;
        partial = other;
        other = last;
    }
    wait_for_all(run->barrier, run->n_threads);
    return false;
}

/* All batches of a thread. */
static void NAME(work)(void *context, int64_t thread) {
    const RUN *run = context;
    const request *ask = run->ask;
    OWN *own = &run->own[thread];
    mixture m = identity;
    NAME(pack)(run, own->first_feature, own->stop_feature, false);
    wait_for_all(run->barrier, run->n_threads);

    int64_t step = 0;
    for (int64_t first = 0; first < ask->n_order; step++) {
        int64_t n_rows = batch_rows(ask, first), next = first + n_rows;
        if (NAME(batch_residuals)(run, own, m, thread, first, n_rows)) break;
        if (thread == 0) NAME(finish_batch)(run, step, n_rows);
        triple change = {0};
        if (ask->options) {
            m = after(NAME(mixture_of)(run, step), m);
            if (has_grown(m)) {
                NAME(make_values)(run, m, own->first_feature, own->stop_feature);
                m = identity;
            }
            change = coordinates(m, NAME(stepped)(run, step, (triple){0}, 1));
        }
        if (run->in_place) {
            NAME(step_in_place)(run, own, first, n_rows, change);
        } else {
            NAME(add_gradient)(run, own, first, n_rows);
            if (ask->options)
                NAME(step_with_gradient)(run, own->first_feature, own->stop_feature, change);
            else if ((step + 1) % ask->blocking->flush_interval == 0 || next == ask->n_order)
                NAME(flush)(run, own->first_feature, own->stop_feature);
        }
        if (run->n_threads > ask->blocking->n_slices) wait_for_all(run->barrier, run->n_threads);
        first = next;
    }
    if (!ask->options) return;
    NAME(make_values)(run, m, own->first_feature, own->stop_feature);
    NAME(pack)(run, own->first_feature, own->stop_feature, true);
    if (thread == 0) NAME(copy_intercept)(ask->parameters, run->intercept, true);
}

static bool NAME(is_sane)(const request *ask) {
    const fastlin_blocking *blocking = ask->blocking;
    if (is_pass(ask)) return blocking->n_threads > 0;
    return blocking->n_threads > 0 && blocking->n_slices > 0 && blocking->n_parts > 0 &&
           blocking->rows_of_a_sum > 0 && blocking->flush_interval > 0;
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
    NAME(panel_logits)(run, own, first, n_rows, run->ask->n_order);
    return own->z;
}
