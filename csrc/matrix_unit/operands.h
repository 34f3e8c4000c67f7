/* Products of uint8 rows on a matrix unit (Intel AMX), which makes sixteen times as many in each
 * cycle as FMA.
 *
 * The unit multiplies bytes and sums the products in 32-bit integers, exactly. Rows are bytes
 * already; weights and residuals become fixed-point numbers, which are split into digits of base
 * 256, -128 .. 127, the lowest first:
 *
 *   w = quantum * (w0 + 2^8 w1 + 2^16 w2 + 2^24 w3),  |w| <= 2^30 quanta,
 *
 * with one quantum, a power of two, for each class and slice of features (weights) or panel of rows
 * (residuals). So the error of a number is at most 2^-30 of the largest in its class, and small
 * numbers keep about as many digits as in float32. (Three digits would be too few, because the
 * residuals of many classes are small except in a few rows.) The sums of products of digits are
 * exact, in any order.
 *
 * A tile register holds 16 rows of 64 bytes. Its 16 columns (phase A) or rows (phase C) are the
 * digits of four classes. Operands have the layout that the unit reads:
 *
 *   A  staged       [row][feature]                       x  digits of weights [quad of features]
 *      [class][digit][feature in quad]                   =  [row][class][digit]
 *   C  digits of residuals [class][digit][row]           x  interleaved [quad of rows][feature]
 *      [row in quad]                                     =  [class][digit][feature]
 */
#define VECTORS_OF_REGISTER 4 /* LANES features each, in 64 bytes */

/* The digits of four classes fill a register's columns; a slice belongs to one thread. */
static bool NAME(is_sane)(const request *ask) {
    const fastlin_blocking *blocking = ask->blocking;
    return blocking->block == 4 && blocking->n_threads > 0 &&
           blocking->n_slices >= blocking->n_threads;
}

/* Four vectors of four 128-bit parts each: part j of vector i becomes part i of vector j. */
INLINE void NAME(transpose_parts)(__m512i *v) {
    __m512i even_low = _mm512_shuffle_i32x4(v[0], v[1], 0x88);
    __m512i odd_low = _mm512_shuffle_i32x4(v[0], v[1], 0xdd);
    __m512i even_high = _mm512_shuffle_i32x4(v[2], v[3], 0x88);
    __m512i odd_high = _mm512_shuffle_i32x4(v[2], v[3], 0xdd);
    v[0] = _mm512_shuffle_i32x4(even_low, even_high, 0x88);
    v[1] = _mm512_shuffle_i32x4(odd_low, odd_high, 0x88);
    v[2] = _mm512_shuffle_i32x4(even_low, even_high, 0xdd);
    v[3] = _mm512_shuffle_i32x4(odd_low, odd_high, 0xdd);
}

/* Byte 4 i + j of a vector goes to byte 16 j + i. */
INLINE __m512i NAME(split_quads)(__m512i v) {
    const __m512i order = _mm512_add_epi8(
        _mm512_set_epi32(0x3c383430, 0x2c282420, 0x1c181410, 0x0c080400, 0x3c383430, 0x2c282420,
                         0x1c181410, 0x0c080400, 0x3c383430, 0x2c282420, 0x1c181410, 0x0c080400,
                         0x3c383430, 0x2c282420, 0x1c181410, 0x0c080400),
        _mm512_set_epi32(0x03030303, 0x03030303, 0x03030303, 0x03030303, 0x02020202, 0x02020202,
                         0x02020202, 0x02020202, 0x01010101, 0x01010101, 0x01010101, 0x01010101, 0,
                         0, 0, 0));
    return _mm512_permutexvar_epi8(order, v);
}

/* Byte 16 j + i of a vector goes to byte 4 i + j. */
INLINE __m512i NAME(join_quads)(__m512i v) {
    const __m512i order =
        _mm512_set_epi32(0x3f2f1f0f, 0x3e2e1e0e, 0x3d2d1d0d, 0x3c2c1c0c, 0x3b2b1b0b, 0x3a2a1a0a,
                         0x39291909, 0x38281808, 0x37271707, 0x36261606, 0x35251505, 0x34241404,
                         0x33231303, 0x32221202, 0x31211101, 0x30201000);
    return _mm512_permutexvar_epi8(order, v);
}

/* Within each 128-bit part byte 4 i + j goes to byte 4 j + i. */
INLINE __m512i NAME(transpose_quads)(__m512i v) {
    return _mm512_shuffle_epi8(
        v, _mm512_broadcast_i32x4(_mm_set_epi32(0x0f0b0703, 0x0e0a0602, 0x0d090501, 0x0c080400)));
}

/* The bits of a number's magnitude, which as integers have the order of the magnitudes, with
 * infinity and then nan last. */
INLINE __m512i NAME(magnitude)(V v) {
    return _mm512_and_si512((__m512i)v, _mm512_set1_epi32(0x7fffffff));
}

/* The factor by which the magnitude with these bits becomes at most 2^30 quanta; and its inverse,
 * the quantum, or nan if the number is not finite, so that the results are nan too. Both are powers
 * of two. */
INLINE float NAME(fixed_point)(int32_t magnitude, float *quantum) {
    enum { BITS = 30 };
    int32_t exponent = (magnitude >> 23) - 126;
    if (exponent < BITS - 120) exponent = BITS - 120;
    if (magnitude >= 0x7f800000) {
        *quantum = NAN;
        return 0;
    }
    int32_t inverse = (exponent - BITS + 127) << 23, factor = (BITS - exponent + 127) << 23;
    float result;
    memcpy(quantum, &inverse, sizeof inverse);
    memcpy(&result, &factor, sizeof factor);
    return result;
}

/* Bytes [lane][digit]. */
INLINE __m512i NAME(digits)(V v, float factor) {
    const __m512i halves = _mm512_set1_epi32(0x00808080);
    __m512i fixed = _mm512_cvtps_epi32((__m512)(v * factor));
    return _mm512_xor_si512(_mm512_add_epi32(fixed, halves), halves);
}

/* Digits of the weights of a slice: [block][vector][quad of features][class][digit][feature]. */
static void NAME(write_weight_digits)(const RUN *run, int64_t slice) {
    int64_t first = NAME(slice_bound)(&run->shape, slice),
            n = NAME(slice_bound)(&run->shape, slice + 1) - first;
    for (int64_t b = 0; b < run->shape.k_padded / 4; b++) {
        const V *w = (const V *)(run->weights + (b * run->shape.n_vectors + first) * 4 * LANES);
        __m512i largest[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(),
                              _mm512_setzero_si512(), _mm512_setzero_si512()};
        for (int64_t v = 0; v < n; v++) UNROLL
            for (int c = 0; c < 4; c++)
                largest[c] = _mm512_max_epi32(largest[c], NAME(magnitude)(w[v * 4 + c]));
        float factor[4];
        for (int c = 0; c < 4; c++)
            factor[c] =
                NAME(fixed_point)(_mm512_reduce_max_epi32(largest[c]),
                                  &run->weight_quantum[slice * run->shape.k_padded + b * 4 + c]);
        __m512i *out =
            (__m512i *)(run->weight_digits + (b * run->shape.n_vectors + first) * 4 * 64);
        for (int64_t v = 0; v < n; v++) {
            __m512i of_class[4];
            UNROLL for (int c = 0; c < 4; c++)
                of_class[c] = NAME(transpose_quads)(NAME(digits)(w[v * 4 + c], factor[c]));
            NAME(transpose_parts)(of_class);
            UNROLL for (int part = 0; part < 4; part++)
                out[v * 4 + part] = of_class[part];
        }
    }
}

static void NAME(write_own_digits)(const RUN *run, const OWN *own) {
    for (int64_t s = own->part.of.first; s < own->part.of.stop; s++)
        NAME(write_weight_digits)(run, s);
}

/* Digits of the residuals of a panel: [block][half of the panel][class][digit][row]. */
static void NAME(write_residual_digits)(const RUN *run, OWN *own, int64_t n_rows) {
    int64_t n_halves = (n_rows + 63) / 64;
    for (int64_t c = 0; c < run->shape.k_padded; c++) {
        const V *r = (const V *)(own->residual + c * PANEL);
        __m512i largest = _mm512_setzero_si512();
        for (int64_t i = 0; i < n_halves * 4; i++)
            largest = _mm512_max_epi32(largest, NAME(magnitude)(r[i]));
        float factor =
            NAME(fixed_point)(_mm512_reduce_max_epi32(largest), &own->residual_quantum[c]);
        for (int64_t half = 0; half < n_halves; half++) {
            __m512i of_rows[4];
            UNROLL for (int i = 0; i < 4; i++)
                of_rows[i] = NAME(split_quads)(NAME(digits)(r[half * 4 + i], factor));
            NAME(transpose_parts)(of_rows);
            __m512i *out =
                (__m512i *)(own->residual_digits + ((c / 4 * 2 + half) * 16 + c % 4 * 4) * 64);
            UNROLL for (int digit = 0; digit < 4; digit++)
                out[digit] = of_rows[digit];
        }
    }
}

/* 64 features of a row, 0 after the row's end. */
INLINE __m512i NAME(load_group)(const RUN *run, const ROW *row, int64_t column) {
    int64_t left = run->shape.d - column;
    return _mm512_maskz_loadu_epi8(left >= 64 ? ~0ull
                                   : left > 0 ? (1ull << left) - 1
                                              : 0,
                                   row + column);
}

/* Copy this thread's features of ROWS_STAGED rows; rows after the last repeat it. */
static void NAME(stage)(const RUN *run, const OWN *own, const ROW *const *rows, uint8_t *out) {
    int64_t first = own->part.first_vector * LANES, stop = own->part.stop_vector * LANES;
    for (int64_t i = 0; i < ROWS_STAGED; i++)
        for (int64_t column = first; column < stop; column += 64, out += 64)
            _mm512_store_si512(out, NAME(load_group)(run, rows[i], column));
}

/* Copy 64 features of a panel's rows: [vector][quad of rows][feature][row in quad]. */
static void NAME(interleave)(const RUN *run, const ROW *const *rows, int64_t n_rows, int64_t column,
                             uint8_t *out) {
    for (int64_t i = 0; i < n_rows; i += 4, out += 64) {
        __m512i x[4];
        UNROLL for (int s = 0; s < 4; s++)
            x[s] = NAME(load_group)(run, rows[i + s], column);
        NAME(transpose_parts)(x);
        UNROLL for (int v = 0; v < 4; v++)
            _mm512_store_si512(out + v * LANES * PANEL, NAME(join_quads)(x[v]));
    }
}
