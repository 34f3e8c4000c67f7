/* A pass over all rows, which returns the sum of the losses and the number of correct predictions,
 * or the logits. Threads split the panels.
 *
 * Expects PASS, which names what it uses: run, run_of, is_sane, set_up, begin_pass, pass_logits. */

/* One thread's panels. */
static void PASS(pass_work)(void *context, int64_t thread) {
    const PASS(run) *run = context;
    const request *ask = run->ask;
    int64_t n_panels = (ask->n_order + PANEL - 1) / PANEL, k = ask->parameters->n_classes;
    WEIGHT *logits_out = ask->logits_out;
    int32_t labels[PANEL];
    WEIGHT row_weight[PANEL] __attribute__((aligned(VECTOR_BYTES)));
    WEIGHT losses[PANEL] __attribute__((aligned(VECTOR_BYTES)));
    PASS(begin_pass)(run, thread);
    int64_t stop = n_panels * (thread + 1) / run->n_threads;
    for (int64_t panel = n_panels * thread / run->n_threads; panel < stop; panel++) {
        if (told_to_stop(ask->samples->stop)) break;
        int64_t first = panel * PANEL, n_rows = at_most(ask->n_order - first, PANEL);
        WEIGHT *z = PASS(pass_logits)(run, thread, first, n_rows);
        if (logits_out) {
            for (int64_t i = 0; i < n_rows; i++)
                for (int64_t c = 0; c < k; c++) logits_out[(first + i) * k + c] = z[c * PANEL + i];
            continue;
        }
        NAME(weigh)(ask, first, n_rows, PANEL, 1, row_weight, labels);
        NAME(losses)(k, z, labels, row_weight, n_rows, 0, round_up(n_rows, LANES), false, losses);
        for (int64_t i = 0; i < n_rows; i++) {
            run->panel_losses[panel] += losses[i];
            run->panel_correct[panel] += NAME(is_correct)(k, z + i, labels[i]);
        }
    }
}

static int PASS(pass)(const request *ask) {
    PASS(run) run = PASS(run_of)(ask);
    if (!PASS(is_sane)(ask)) return FASTLIN_BAD_BLOCKING;
    int64_t n_panels = (ask->n_order + PANEL - 1) / PANEL;
    int status = work_together(at_most(ask->blocking->n_threads, n_panels), PASS(set_up),
                               PASS(pass_work), &run);
    for (int64_t panel = 0; panel < n_panels && status == FASTLIN_OK && !ask->logits_out; panel++) {
        *ask->losses_out += run.panel_losses[panel];
        *ask->n_correct_out += run.panel_correct[panel];
    }
    free(run.memory.block);
    return status;
}
