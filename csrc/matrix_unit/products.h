/* Products of tile registers: six registers hold sums of products, and two the operands. */

typedef struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t bytes_of_row[16];
    uint8_t rows[16];
} NAME(register_shapes);

static void NAME(configure_registers)(void) {
    NAME(register_shapes) shapes = {.palette = 1};
    for (int i = 0; i < 8; i++) shapes.bytes_of_row[i] = 64, shapes.rows[i] = 16;
    _tile_loadconfig(&shapes);
}

/* The strides of an operand in bytes: from one of the 16 rows of a tile register to the next, to
 * the next register of the same sum, and to the next register of another sum. */
typedef struct {
    const void *at;
    int64_t row, next, other;
} NAME(operand);

/* The products of the digits of up to three blocks of four classes with two registers of rows, each
 * summed over n_inner registers. out: [block][register of rows][16][16]. */
#define PRODUCTS(name, multiply)                                                                   \
    static void NAME(name)(const NAME(operand) digits, const NAME(operand) rows, int64_t n_blocks, \
                           int64_t n_inner, int32_t *out) {                                        \
        const char *digits_at = digits.at, *rows_at = rows.at;                                     \
        _tile_zero(0);                                                                             \
        _tile_zero(1);                                                                             \
        _tile_zero(2);                                                                             \
        _tile_zero(3);                                                                             \
        _tile_zero(4);                                                                             \
        _tile_zero(5);                                                                             \
        for (int64_t i = 0; i < n_inner; i++, digits_at += digits.next, rows_at += rows.next) {    \
            _tile_loadd(6, digits_at, digits.row);                                                 \
            _tile_loadd(7, rows_at, rows.row);                                                     \
            multiply(0, 6, 7);                                                                     \
            _tile_loadd(7, rows_at + rows.other, rows.row);                                        \
            multiply(1, 6, 7);                                                                     \
            if (n_blocks == 1) continue;                                                           \
            _tile_loadd(6, digits_at + digits.other, digits.row);                                  \
            multiply(3, 6, 7);                                                                     \
            _tile_loadd(7, rows_at, rows.row);                                                     \
            multiply(2, 6, 7);                                                                     \
            if (n_blocks == 2) continue;                                                           \
            _tile_loadd(6, digits_at + 2 * digits.other, digits.row);                              \
            multiply(4, 6, 7);                                                                     \
            _tile_loadd(7, rows_at + rows.other, rows.row);                                        \
            multiply(5, 6, 7);                                                                     \
        }                                                                                          \
        _tile_stored(0, out, 64);                                                                  \
        _tile_stored(1, out + 256, 64);                                                            \
        if (n_blocks == 1) return;                                                                 \
        _tile_stored(2, out + 512, 64);                                                            \
        _tile_stored(3, out + 768, 64);                                                            \
        if (n_blocks == 2) return;                                                                 \
        _tile_stored(4, out + 1024, 64);                                                           \
        _tile_stored(5, out + 1280, 64);                                                           \
    }
#define ROWS_BY_DIGITS(sum, digits, rows) _tile_dpbusd(sum, rows, digits)
#define DIGITS_BY_ROWS(sum, digits, rows) _tile_dpbsud(sum, digits, rows)
PRODUCTS(logit_products, ROWS_BY_DIGITS)
PRODUCTS(gradient_products, DIGITS_BY_ROWS)
