/* The loss of rows from their logits: sigmoid, softmax and the rule for ties.
 *
 * See cross_entropy and score in fastlin/kernels/reference.py. Logits are stored [class][PANEL],
 * PANEL rows next to each other, so a vector holds one class of LANES independent rows.
 */

/* The softmax's losses of LANES rows, times their weights: of each the sum of the exponentials of
 * its logits less the largest, that one, and its label's logit. */
INLINE V NAME(softmax_losses)(V total, V largest, V of_label, V weight) {
    return weight * (NAME(log)(total) + (largest - of_label));
}

/* Losses of n_rows <= LANES rows, times row_weight (LANES). z: their logits, which with `gradient`
 * become row_weight * dC/dz. labels: (n_rows). Lanes after the last row have weight 0. */
INLINE V NAME(cross_entropy)(int64_t k, WEIGHT *z, const int32_t *labels, int64_t n_rows,
                             const WEIGHT *row_weight, bool gradient) {
    const V one = NAME(splat)(1), zero = NAME(splat)(0), weight = *(const V *)row_weight;
    /* An array, because compilers store a lane with a variable index through memory. */
    WEIGHT of_label[LANES] __attribute__((aligned(VECTOR_BYTES))) = {0};
    if (k == 1) {
        for (int64_t lane = 0; lane < n_rows; lane++) of_label[lane] = (WEIGHT)labels[lane];
        V logit = *(const V *)z, y = *(const V *)of_label;
        V small = NAME(exp)(NAME(select)(logit > zero, -logit, logit));
        V sum = one + small;
        /* log1p(small): the second term restores what the sum has lost to rounding. */
        V softplus = NAME(largest)(logit, zero) + NAME(log)(sum) + (small - (sum - one)) / sum;
        if (gradient) *(V *)z = weight * (NAME(select)(logit >= zero, one, small) / sum - y);
        return weight * (softplus - y * logit);
    }
    V largest = *(const V *)z;
    for (int64_t c = 1; c < k; c++) largest = NAME(largest)(*(const V *)(z + c * PANEL), largest);
    for (int64_t lane = 0; lane < n_rows; lane++) of_label[lane] = z[labels[lane] * PANEL + lane];
    V total = zero;
    for (int64_t c = 0; c < k; c++) {
        V exponential = NAME(exp)(*(const V *)(z + c * PANEL) - largest);
        if (gradient) *(V *)(z + c * PANEL) = exponential;
        total += exponential;
    }
    V losses = NAME(softmax_losses)(total, largest, *(const V *)of_label, weight);
    if (!gradient) return losses;
    V factor = weight / total;
    for (int64_t c = 0; c < k; c++) *(V *)(z + c * PANEL) *= factor;
    for (int64_t lane = 0; lane < n_rows; lane++)
        z[labels[lane] * PANEL + lane] -= row_weight[lane];
    return losses;
}

/* Rows first_row .. stop_row - 1 of a panel, whole vectors: losses (PANEL), and as above. */
static void NAME(losses)(int64_t k, WEIGHT *z, const int32_t *labels, const WEIGHT *row_weight,
                         int64_t n_rows, int64_t first_row, int64_t stop_row, bool gradient,
                         WEIGHT *losses_out) {
    for (int64_t i = first_row; i < stop_row; i += LANES)
        *(V *)(losses_out + i) = NAME(cross_entropy)(
            k, z + i, labels + i, at_most(n_rows - i, LANES), row_weight + i, gradient);
}

/* The factors of the losses of n_rows rows, 0 after the last of them, and their labels: (n_padded)
 * each. */
static void NAME(weigh)(const request *ask, int64_t first, int64_t n_rows, int64_t n_padded,
                        double divisor, WEIGHT *row_weight_out, int32_t *labels_out) {
    for (int64_t i = 0; i < n_padded; i++) {
        row_weight_out[i] = 0;
        if (i >= n_rows) continue;
        int64_t row = row_at(ask, first + i);
        labels_out[i] = ask->samples->labels[row];
        row_weight_out[i] = (WEIGHT)weight_of_row(ask, row, divisor);
    }
}

/* Whether the first of a row's largest logits is its label's; z: at the row. */
INLINE bool NAME(is_correct)(int64_t k, const WEIGHT *z, int32_t label) {
    if (k == 1) return (z[0] > 0) == (label == 1);
    WEIGHT of_label = z[label * PANEL];
    bool correct = true;
    for (int64_t c = 0; c < k; c++)
        correct &= c < label ? z[c * PANEL] < of_label : z[c * PANEL] <= of_label;
    return correct;
}
