/* Products of uint8 rows on a matrix unit (Intel AMX), sixteen times as many a cycle as FMA makes.
 *
 * The unit multiplies bytes and sums them up in 32-bit integers, exactly. Rows are bytes already;
 * weights and residuals are written as fixed-point numbers and taken apart into digits of base 256,
 * -128 .. 127, the lowest first:
 *
 *   w = unit * (w0 + 2^8 w1 + 2^16 w2 + 2^24 w3),  |w| <= 2^30 units,
 *
 * with one unit, a power of two, for each class and slice of features (weights) or tile of rows
 * (residuals). So a number is off by at most 2^-30 of the largest of its class, and a small one
 * keeps about the digits that float32 would have left it. (Three digits would not do: many classes'
 * residuals are small but for a few rows.) The sums of products by digit are exact, in any order.
 *
 * A tile register holds 16 rows of 64 bytes. Its 16 columns (phase A) or rows (phase C) are the
 * digits of a block of four classes. Operands lie as the unit reads them:
 *
 *   A  staged       [row][feature]                       x  digits of weights [quad of features]
 *      [class][digit][feature in quad]                   =  [row][class][digit]
 *   C  digits of residuals [class][digit][row]           x  interleaved [quad of rows][feature]
 *      [row in quad]                                     =  [class][digit][feature]
 */
#define GROUP 4 /* feature vectors in a tile register's 64 bytes */
#define ROWS_STAGED 32

typedef struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t bytes_of_row[16];
    uint8_t rows[16];
} NAME(tile_shapes);

static void NAME(configure_tiles)(void) {
    NAME(tile_shapes) shapes = {.palette = 1};
    for (int i = 0; i < 8; i++) shapes.bytes_of_row[i] = 64, shapes.rows[i] = 16;
    _tile_loadconfig(&shapes);
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
                         0x02020202, 0x02020202, 0x01010101, 0x01010101, 0x01010101, 0x01010101,
                         0, 0, 0, 0));
    return _mm512_permutexvar_epi8(order, v);
}

/* Byte 16 j + i of a vector goes to byte 4 i + j. */
INLINE __m512i NAME(join_quads)(__m512i v) {
    const __m512i order = _mm512_set_epi32(
        0x3f2f1f0f, 0x3e2e1e0e, 0x3d2d1d0d, 0x3c2c1c0c, 0x3b2b1b0b, 0x3a2a1a0a, 0x39291909,
        0x38281808, 0x37271707, 0x36261606, 0x35251505, 0x34241404, 0x33231303, 0x32221202,
        0x31211101, 0x30201000);
    return _mm512_permutexvar_epi8(order, v);
}

/* Within each 128-bit part byte 4 i + j goes to byte 4 j + i. */
INLINE __m512i NAME(transpose_quads)(__m512i v) {
    return _mm512_shuffle_epi8(
        v, _mm512_broadcast_i32x4(
               _mm_set_epi32(0x0f0b0703, 0x0e0a0602, 0x0d090501, 0x0c080400)));
}

/* The bits of a number's magnitude: as integers they are ordered as the magnitudes are, with
 * infinity and then nan last. */
INLINE __m512i NAME(magnitude)(V v) {
    return _mm512_and_si512((__m512i)v, _mm512_set1_epi32(0x7fffffff));
}

/* The factor that makes the magnitude with these bits at most 2^30 units; and the unit, its
 * inverse, or nan where the number is not finite, which then shows in all that is made of it. Both
 * are powers of two. */
INLINE float NAME(fixed_point)(int32_t magnitude, float *unit) {
    enum { BITS = 30 };
    int32_t exponent = (magnitude >> 23) - 126;
    if (exponent < BITS - 120) exponent = BITS - 120;
    if (magnitude >= 0x7f800000) {
        *unit = NAN;
        return 0;
    }
    int32_t inverse = (exponent - BITS + 127) << 23, factor = (BITS - exponent + 127) << 23;
    float result;
    memcpy(unit, &inverse, sizeof inverse);
    memcpy(&result, &factor, sizeof factor);
    return result;
}

/* Bytes [lane][digit]. */
INLINE __m512i NAME(digits)(V v, float factor) {
    const __m512i halves = _mm512_set1_epi32(0x00808080);
    __m512i fixed = _mm512_cvtps_epi32((__m512)(v * factor));
    return _mm512_xor_si512(_mm512_add_epi32(fixed, halves), halves);
}

/* ---------------------------------------------------------------- operands */

/* Digits of the weights of a slice: [block][vector][quad of features][class][digit][feature]. */
static void NAME(write_weight_digits)(const ENGINE *e, int64_t slice) {
    int64_t first = NAME(slice_bound)(e, slice), n = NAME(slice_bound)(e, slice + 1) - first;
    for (int64_t b = 0; b < e->k_padded / 4; b++) {
        const V *w = (const V *)(e->weights + (first * e->k_padded + b * 4) * LANES);
        __m512i largest[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(),
                              _mm512_setzero_si512(), _mm512_setzero_si512()};
        for (int64_t v = 0; v < n; v++)
            UNROLL for (int c = 0; c < 4; c++)
                largest[c] =
                    _mm512_max_epi32(largest[c], NAME(magnitude)(w[v * e->k_padded + c]));
        float factor[4];
        for (int c = 0; c < 4; c++)
            factor[c] = NAME(fixed_point)(_mm512_reduce_max_epi32(largest[c]),
                                          &e->weight_unit[slice * e->k_padded + b * 4 + c]);
        __m512i *out = (__m512i *)(e->weight_digits + (b * e->n_vectors + first) * 4 * 64);
        for (int64_t v = 0; v < n; v++) {
            __m512i of_class[4];
            UNROLL for (int c = 0; c < 4; c++)
                of_class[c] =
                    NAME(transpose_quads)(NAME(digits)(w[v * e->k_padded + c], factor[c]));
            NAME(transpose_parts)(of_class);
            UNROLL for (int part = 0; part < 4; part++) out[v * 4 + part] = of_class[part];
        }
    }
}

/* Digits of the residuals of a tile: [block][half of the tile][class][digit][row]. */
static void NAME(write_residual_digits)(const ENGINE *e, SHARE *share, int64_t n_rows) {
    int64_t n_halves = (n_rows + 63) / 64;
    for (int64_t c = 0; c < e->k_padded; c++) {
        const V *r = (const V *)(share->residual + c * TILE);
        __m512i largest = _mm512_setzero_si512();
        for (int64_t i = 0; i < n_halves * 4; i++)
            largest = _mm512_max_epi32(largest, NAME(magnitude)(r[i]));
        float factor = NAME(fixed_point)(_mm512_reduce_max_epi32(largest),
                                         &share->residual_unit[c]);
        for (int64_t half = 0; half < n_halves; half++) {
            __m512i of_rows[4];
            UNROLL for (int i = 0; i < 4; i++)
                of_rows[i] = NAME(split_quads)(NAME(digits)(r[half * 4 + i], factor));
            NAME(transpose_parts)(of_rows);
            __m512i *out = (__m512i *)(share->residual_digits +
                                       ((c / 4 * 2 + half) * 16 + c % 4 * 4) * 64);
            UNROLL for (int digit = 0; digit < 4; digit++) out[digit] = of_rows[digit];
        }
    }
}

/* 64 features of a row, 0 where the row has ended. */
INLINE __m512i NAME(load_group)(const ENGINE *e, const ROW *row, int64_t column) {
    int64_t left = e->d - column;
    return _mm512_maskz_loadu_epi8(left >= 64 ? ~0ull : left > 0 ? (1ull << left) - 1 : 0,
                                   row + column);
}

/* Copy this thread's features of ROWS_STAGED rows; rows after the last repeat it. */
static void NAME(stage)(const ENGINE *e, const SHARE *share, const ROW *const *rows,
                        uint8_t *out) {
    int64_t first = share->first_vector * LANES, stop = share->stop_vector * LANES;
    for (int64_t i = 0; i < ROWS_STAGED; i++)
        for (int64_t column = first; column < stop; column += 64, out += 64)
            _mm512_store_si512(out, NAME(load_group)(e, rows[i], column));
}

/* Copy 64 features of a tile's rows: [vector][quad of rows][feature][row in quad]. */
static void NAME(interleave)(const ENGINE *e, const ROW *const *rows, int64_t n_rows,
                             int64_t column, uint8_t *out) {
    for (int64_t i = 0; i < n_rows; i += 4, out += 64) {
        __m512i x[4];
        UNROLL for (int s = 0; s < 4; s++) x[s] = NAME(load_group)(e, rows[i + s], column);
        NAME(transpose_parts)(x);
        UNROLL for (int v = 0; v < 4; v++)
            _mm512_store_si512(out + v * LANES * TILE, NAME(join_quads)(x[v]));
    }
}

/* ---------------------------------------------------------------- products */

/* Where a factor's tile registers lie: bytes from one of a tile's 16 rows to the next, from one
 * tile to the next that it is summed over, and to the next that has a result of its own. */
typedef struct {
    const void *at;
    int64_t row, next, other;
} NAME(factor);

/* The products of up to three blocks' digits with two tiles of rows, each summed over n_inner
 * tiles. out: [block][tile][16][16]. */
#define PRODUCTS(name, multiply)                                                                  \
    static void NAME(name)(const NAME(factor) digits, const NAME(factor) rows, int64_t n_blocks,  \
                           int64_t n_inner, int32_t *out) {                                       \
        const char *digits_at = digits.at, *rows_at = rows.at;                                    \
        _tile_zero(0);                                                                            \
        _tile_zero(1);                                                                            \
        _tile_zero(2);                                                                            \
        _tile_zero(3);                                                                            \
        _tile_zero(4);                                                                            \
        _tile_zero(5);                                                                            \
        for (int64_t i = 0; i < n_inner; i++, digits_at += digits.next, rows_at += rows.next) {   \
            _tile_loadd(6, digits_at, digits.row);                                                \
            _tile_loadd(7, rows_at, rows.row);                                                    \
            multiply(0, 6, 7);                                                                    \
            _tile_loadd(7, rows_at + rows.other, rows.row);                                       \
            multiply(1, 6, 7);                                                                    \
            if (n_blocks == 1) continue;                                                          \
            _tile_loadd(6, digits_at + digits.other, digits.row);                                 \
            multiply(3, 6, 7);                                                                    \
            _tile_loadd(7, rows_at, rows.row);                                                    \
            multiply(2, 6, 7);                                                                    \
            if (n_blocks == 2) continue;                                                          \
            _tile_loadd(6, digits_at + 2 * digits.other, digits.row);                             \
            multiply(4, 6, 7);                                                                    \
            _tile_loadd(7, rows_at + rows.other, rows.row);                                       \
            multiply(5, 6, 7);                                                                    \
        }                                                                                         \
        _tile_stored(0, out, 64);                                                                 \
        _tile_stored(1, out + 256, 64);                                                           \
        if (n_blocks == 1) return;                                                                \
        _tile_stored(2, out + 512, 64);                                                           \
        _tile_stored(3, out + 768, 64);                                                           \
        if (n_blocks == 2) return;                                                                \
        _tile_stored(4, out + 1024, 64);                                                          \
        _tile_stored(5, out + 1280, 64);                                                          \
    }
#define ROWS_BY_DIGITS(sum, digits, rows) _tile_dpbusd(sum, rows, digits)
#define DIGITS_BY_ROWS(sum, digits, rows) _tile_dpbsud(sum, digits, rows)
PRODUCTS(logit_products, ROWS_BY_DIGITS)
PRODUCTS(gradient_products, DIGITS_BY_ROWS)

/* ---------------------------------------------------------------- phase A */

/* Logits of 16 rows and a block of classes from products [row][class][digit]; out [class][TILE]. */
INLINE void NAME(join_logits)(const int32_t *products, const WEIGHT *unit, WEIGHT *out) {
    const V place = (V)_mm512_broadcast_f32x4(_mm_set_ps(16777216.0f, 65536.0f, 256.0f, 1.0f));
    __m512i of_quad[4];
    UNROLL for (int quad = 0; quad < 4; quad++) {
        V a[4];
        UNROLL for (int i = 0; i < 4; i++)
            a[i] = (V)_mm512_cvtepi32_ps(
                       _mm512_load_si512(products + (quad * 4 + i) * LANES)) * place;
        V even = FOLD(a[0], a[2], 2);
        V odd = FOLD(a[1], a[3], 2);
        of_quad[quad] = (__m512i)FOLD(even, odd, 1);
    }
    NAME(transpose_parts)(of_quad);
    UNROLL for (int c = 0; c < 4; c++) *(V *)(out + c * TILE) = (V)of_quad[c] * unit[c];
}

/* Partial logits of a tile's rows from this thread's slices; out [slice][class][TILE]. */
static void NAME(tile_logits)(const ENGINE *e, SHARE *share, const ROW *const *rows,
                              int64_t n_rows, WEIGHT *out) {
    int32_t products[3 * 2 * 256] __attribute__((aligned(64)));
    int64_t width = (share->stop_vector - share->first_vector) * LANES;
    int64_t block_bytes = e->n_vectors * 4 * 64, n_blocks = e->k_padded / 4;
    for (int64_t i = 0; i < n_rows; i += ROWS_STAGED) {
        NAME(stage)(e, share, rows + i, share->staged);
        for (int64_t s = share->first_slice; s < share->stop_slice; s++) {
            int64_t first = NAME(slice_bound)(e, s), stop = NAME(slice_bound)(e, s + 1);
            NAME(factor) x = {share->staged + (first - share->first_vector) * LANES, width, 64,
                              16 * width};
            for (int64_t b = 0; b < n_blocks; b += 3) {
                NAME(factor) w = {e->weight_digits + b * block_bytes + first * 4 * 64, 64, 1024,
                                  block_bytes};
                int64_t few = n_blocks - b < 3 ? n_blocks - b : 3;
                NAME(logit_products)(w, x, few, (stop - first) / GROUP, products);
                for (int64_t t = 0; t < few * 2; t++) {
                    int64_t c = s * e->k_padded + (b + t / 2) * 4;
                    NAME(join_logits)(products + t * 256, e->weight_unit + c,
                                      out + c * TILE + i + t % 2 * 16);
                }
            }
        }
    }
}

/* ---------------------------------------------------------------- phase C */

/* A block's gradient for one feature vector from products [class][digit][feature]. */
INLINE void NAME(join_gradient)(const int32_t *products, const WEIGHT *unit, V *sums_out) {
    UNROLL for (int c = 0; c < 4; c++) {
        V sum = {0};
        UNROLL for (int digit = 3; digit >= 0; digit--)
            sum = sum * 256.0f + (V)_mm512_cvtepi32_ps(
                                     _mm512_load_si512(products + (c * 4 + digit) * LANES));
        sums_out[c] = sum * unit[c];
    }
}

/* Fetch this thread's features of rows first_row .. stop_row - 1 into its cache. */
INLINE void NAME(fetch)(const ROW *const *rows, int64_t first_row, int64_t stop_row,
                        int64_t column) {
    for (int64_t i = first_row; i < stop_row; i++)
        __builtin_prefetch(rows[i] + column, 0, 2);
}

static void NAME(gradient)(const ENGINE *e, SHARE *share, const ROW *const *rows,
                           const ROW *const *next_rows, int64_t n_rows, int64_t step, bool first,
                           bool last) {
    int32_t products[3 * 2 * 256] __attribute__((aligned(64)));
    NAME(write_residual_digits)(e, share, n_rows);
    int64_t n_inner = (n_rows + 63) / 64, n_blocks = e->k_padded / 4;
    int current = 0;
    int64_t v = share->first_vector, stop = share->stop_vector;
    NAME(interleave)(e, rows, n_rows, v * LANES, share->interleaved[current]);
    for (; v < stop; v += 2) {
        if (v % GROUP == 0 && v + GROUP < stop)
            NAME(interleave)(e, rows, n_rows, (v + GROUP) * LANES, share->interleaved[1 - current]);
        NAME(fetch)(next_rows, v % GROUP * TILE / 4, (v % GROUP + 2) * TILE / 4,
                    v / GROUP * GROUP * LANES);
        NAME(factor) x = {share->interleaved[current] + v % GROUP * LANES * TILE, 64, 1024,
                          LANES * TILE};
        for (int64_t b = 0; b < n_blocks; b += 3) {
            NAME(factor) r = {share->residual_digits + b * 2048, 64, 1024, 2048};
            int64_t few = n_blocks - b < 3 ? n_blocks - b : 3;
            NAME(gradient_products)(r, x, few, n_inner, products);
            for (int64_t i = 0; i < few * 2; i++) {
                V sums[4];
                int64_t c = (b + i / 2) * 4;
                NAME(join_gradient)(products + i * 256, share->residual_unit + c, sums);
                NAME(finish)(4, 1, e, share, step, c, v + i % 2, first, last, sums);
            }
        }
        if (v % GROUP) current = 1 - current;
    }
    if (last && e->options)
        for (int64_t s = share->first_slice; s < share->stop_slice; s++)
            NAME(write_weight_digits)(e, s);
}
