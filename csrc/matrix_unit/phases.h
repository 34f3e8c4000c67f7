/* The phases that multiply, A and C, on the matrix unit. */

/* Logits of 16 rows and four classes from products [row][class][digit]; out [class][PANEL]. */
INLINE void NAME(join_logits)(const int32_t *products, const WEIGHT *quantum, WEIGHT *out) {
    const V place = (V)_mm512_broadcast_f32x4(_mm_set_ps(16777216.0f, 65536.0f, 256.0f, 1.0f));
    __m512i of_quad[4];
    UNROLL for (int quad = 0; quad < 4; quad++) {
        V a[4];
        UNROLL for (int i = 0; i < 4; i++)
            a[i] =
                (V)_mm512_cvtepi32_ps(_mm512_load_si512(products + (quad * 4 + i) * LANES)) * place;
        V even = FOLD(a[0], a[2], 2);
        V odd = FOLD(a[1], a[3], 2);
        of_quad[quad] = (__m512i)FOLD(even, odd, 1);
    }
    NAME(transpose_parts)(of_quad);
    UNROLL for (int c = 0; c < 4; c++)
        *(V *)(out + c * PANEL) = (V)of_quad[c] * quantum[c];
}

/* Phase A: out [slice][class][PANEL]. Slices have whole registers of features. */
static void NAME(partial_logits)(const RUN *run, OWN *own, const NAME(panel) * panel, WEIGHT *out) {
    const SHAPE *shape = &run->shape;
    const NAME(division) *part = &own->part;
    int32_t products[3 * 2 * 256] __attribute__((aligned(64)));
    int64_t width = (part->stop_vector - part->first_vector) * LANES;
    int64_t block_bytes = shape->n_vectors * 4 * 64, n_blocks = shape->k_padded / 4;
    for (int64_t i = 0; i < panel->n_rows; i += ROWS_STAGED) {
        NAME(stage)(run, own, panel->rows + i, own->staged);
        for (int64_t s = part->of.first; s < part->of.stop; s++) {
            int64_t first = NAME(slice_bound)(shape, s), stop = NAME(slice_bound)(shape, s + 1);
            NAME(operand)
            x = {own->staged + (first - part->first_vector) * LANES, width, 64, 16 * width};
            for (int64_t b = 0; b < n_blocks; b += 3) {
                NAME(operand)
                w = {run->weight_digits + b * block_bytes + first * 4 * 64, 64, 1024, block_bytes};
                int64_t few = at_most(n_blocks - b, 3);
                NAME(logit_products)(w, x, few, (stop - first) / VECTORS_OF_REGISTER, products);
                for (int64_t t = 0; t < few * 2; t++) {
                    int64_t c = s * shape->k_padded + (b + t / 2) * 4;
                    NAME(join_logits)(products + t * 256, run->weight_quantum + c,
                                      out + c * PANEL + i + t % 2 * 16);
                }
            }
        }
    }
}

/* The gradient of four classes for one vector of features from products [class][digit][feature]. */
INLINE void NAME(join_gradient)(const int32_t *products, const WEIGHT *quantum, V *sums_out) {
    UNROLL for (int c = 0; c < 4; c++) {
        V sum = {0};
        UNROLL for (int digit = 3; digit >= 0; digit--)
            sum = sum * 256.0f +
                  (V)_mm512_cvtepi32_ps(_mm512_load_si512(products + (c * 4 + digit) * LANES));
        sums_out[c] = sum * quantum[c];
    }
}

/* Phase C for a thread's vectors, two at a time; next_rows: the next panel's. */
static void NAME(gradient)(const RUN *run, OWN *own, const NAME(panel) * panel,
                           const ROW *const *next_rows) {
    int32_t products[3 * 2 * 256] __attribute__((aligned(64)));
    int64_t n_rows = panel->n_rows, n_inner = (n_rows + 63) / 64;
    int64_t n_blocks = run->shape.k_padded / 4, stop = own->part.stop_vector;
    int current = 0; /* the buffer of the current features */
    NAME(write_residual_digits)(run, own, n_rows);
    NAME(interleave)(run, panel->rows, n_rows, own->part.first_vector * LANES,
                     own->interleaved[current]);
    for (int64_t v = own->part.first_vector; v < stop; v += 2) {
        int64_t in_register = v % VECTORS_OF_REGISTER, next = v + VECTORS_OF_REGISTER;
        if (in_register == 0 && next < stop)
            NAME(interleave)(run, panel->rows, n_rows, next * LANES, own->interleaved[1 - current]);
        /* Half of the next panel's rows for each of a register's two pairs of vectors. */
        for (int64_t i = in_register * PANEL / 4; i < (in_register + 2) * PANEL / 4; i++)
            __builtin_prefetch(next_rows[i] + (v - in_register) * LANES, 0, 2);
        NAME(operand)
        x = {own->interleaved[current] + in_register * LANES * PANEL, 64, 1024, LANES * PANEL};
        for (int64_t b = 0; b < n_blocks; b += 3) {
            NAME(operand) r = {own->residual_digits + b * 2048, 64, 1024, 2048};
            int64_t few = at_most(n_blocks - b, 3);
            NAME(gradient_products)(r, x, few, n_inner, products);
            for (int64_t i = 0; i < few * 2; i++) {
                V sums[4];
                int64_t c = (b + i / 2) * 4;
                NAME(join_gradient)(products + i * 256, own->residual_quantum + c, sums);
                NAME(finish)(4, 1, run, own, panel, c, v + i % 2, sums);
            }
        }
        if (in_register) current = 1 - current;
    }
    if (panel->ends_batch && run->ask->options) NAME(write_own_digits)(run, own);
}

INLINE void NAME(begin)(const RUN *run, OWN *own) {
    NAME(configure_registers)();
    NAME(write_own_digits)(run, own);
}
INLINE void NAME(end)(void) {
    _tile_release();
}
