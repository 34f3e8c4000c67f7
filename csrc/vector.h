/* Vectors of one instruction set, for one type of weights.
 *
 * Expects VECTOR_BYTES and WEIGHT, and WEIGHT_IS_DOUBLE as 0 or 1. Written in the vector extensions
 * that GCC and Clang share, so that one text serves every instruction set.
 */
#define LANES (VECTOR_BYTES / (WEIGHT_IS_DOUBLE ? 8 : 4))

#if WEIGHT_IS_DOUBLE
typedef int64_t NAME(lane_integer);
#define MANTISSA_BITS 52
#define EXP_LOWEST -708.0
#define EXP_TERMS 13 /* 0.3466^14 / 14! = 4e-18, below half an ulp of 1 */
#define LOG_TERMS 11 /* 0.0295^11 / 23 = 6e-19 */
#else
typedef int32_t NAME(lane_integer);
#define MANTISSA_BITS 23
#define EXP_LOWEST -87.0f
#define EXP_TERMS 7 /* 0.3466^8 / 8! = 5e-9 */
#define LOG_TERMS 5 /* 0.0295^5 / 11 = 2e-9 */
#endif

typedef WEIGHT NAME(vector) __attribute__((vector_size(VECTOR_BYTES), may_alias));
/* At any address: rows may be a view of bytes. */
typedef WEIGHT NAME(unaligned) __attribute__((vector_size(VECTOR_BYTES), aligned(1), may_alias));
typedef NAME(lane_integer) NAME(integers) __attribute__((vector_size(VECTOR_BYTES), may_alias));
#define V NAME(vector)
#define I NAME(integers)

INLINE V NAME(splat)(WEIGHT value) {
    return value - (V){0};
}

INLINE V NAME(load)(const WEIGHT *p) {
    return *(const NAME(unaligned) *)p;
}

INLINE V NAME(select)(I mask, V yes, V no) {
    return (V)((mask & (I)yes) | (~mask & (I)no));
}

INLINE V NAME(largest)(V a, V b) {
    return NAME(select)(a > b, a, b);
}

/* One level of a transposing sum. In every group of 2 * width lanes, the first half becomes the sum
 * of a's two halves, the second half the sum of b's: one blend and one permutation. */
#define UPPER(lane, width) (((lane) & (width)) != 0)
#define KEPT(lane, width) (UPPER(lane, width) ? LANES + (lane) : (lane))
#define MOVED(lane, width) (UPPER(lane, width) ? LANES + (lane) - (width) : (lane) + (width))
#define EACH_2(at, w) at(0, w), at(1, w)
#define EACH_4(at, w) EACH_2(at, w), at(2, w), at(3, w)
#define EACH_8(at, w) EACH_4(at, w), at(4, w), at(5, w), at(6, w), at(7, w)
#define EACH_16(at, w)                                                                        \
    EACH_8(at, w), at(8, w), at(9, w), at(10, w), at(11, w), at(12, w), at(13, w), at(14, w), \
        at(15, w)
#if LANES == 16
#define EACH_LANE EACH_16
#elif LANES == 8
#define EACH_LANE EACH_8
#elif LANES == 4
#define EACH_LANE EACH_4
#else
#define EACH_LANE EACH_2
#endif
#define FOLD(a, b, width) \
    (SHUFFLE(I, a, b, EACH_LANE(KEPT, width)) + SHUFFLE(I, a, b, EACH_LANE(MOVED, width)))

/* The sum over the lanes of a[p], in lane p, for each of LANES vectors. Overwrites a. */
INLINE V NAME(sum_each)(V *a) {
#if LANES >= 16
    UNROLL for (int i = 0; i < 8; i++)
        a[i] = FOLD(a[i], a[i + 8], 8);
#endif
#if LANES >= 8
    UNROLL for (int i = 0; i < 4; i++)
        a[i] = FOLD(a[i], a[i + 4], 4);
#endif
#if LANES >= 4
    UNROLL for (int i = 0; i < 2; i++)
        a[i] = FOLD(a[i], a[i + 2], 2);
#endif
    return FOLD(a[0], a[1], 1);
}

INLINE WEIGHT NAME(sum)(V v) {
    WEIGHT total = 0;
    for (int lane = 0; lane < LANES; lane++) total += v[lane];
    return total;
}

/* e^x for x <= 0, within 2 ulp; below EXP_LOWEST the (tiny) value there; nan stays nan.
 * x = n ln 2 + r with |r| <= ln 2 / 2, Taylor's series for r, n added to the exponent's bits.
 * ln 2 comes in two parts (Cody and Waite, "Software Manual for the Elementary Functions"). */
INLINE V NAME(exp)(V x) {
#if WEIGHT_IS_DOUBLE
    const WEIGHT magic = 6755399441055744.0, ln2_high = 6.93147180369123816490e-01,
                 ln2_low = 1.90821492927058770002e-10;
#else
    const WEIGHT magic = 12582912.0f, ln2_high = 6.93145752e-1f, ln2_low = 1.42860677e-6f;
#endif
    static const double inverse_factorial[14] = {1.0,
                                                 1.0,
                                                 1.0 / 2,
                                                 1.0 / 6,
                                                 1.0 / 24,
                                                 1.0 / 120,
                                                 1.0 / 720,
                                                 1.0 / 5040,
                                                 1.0 / 40320,
                                                 1.0 / 362880,
                                                 1.0 / 3628800,
                                                 1.0 / 39916800,
                                                 1.0 / 479001600,
                                                 1.0 / 6227020800};
    V clamped =
        NAME(select)(x < NAME(splat)((WEIGHT)EXP_LOWEST), NAME(splat)((WEIGHT)EXP_LOWEST), x);
    V biased = clamped * (WEIGHT)1.44269504088896340736 + magic;
    V n = biased - magic;
    V r = clamped - n * ln2_high;
    r = r - n * ln2_low;
    V p = NAME(splat)((WEIGHT)inverse_factorial[EXP_TERMS]);
    UNROLL for (int term = EXP_TERMS - 1; term >= 0; term--)
        p = p * r + (WEIGHT)inverse_factorial[term];
    V result = (V)((I)p + ((I)biased << MANTISSA_BITS));
    return NAME(select)(x == x, result, x);
}

/* ln s for s >= 1, within 2 ulp: the exponent's bits, and for the mantissa m in
 * [sqrt(1/2), sqrt(2)) the series of 2 artanh((m - 1) / (m + 1)). */
INLINE V NAME(log)(V s) {
    I bits = (I)s;
    I one = (I)NAME(splat)(1);
    I root_half = (I)NAME(splat)((WEIGHT)0.70710678118654752440);
    I offset = bits - root_half;
    I exponent = offset >> MANTISSA_BITS;
    V m = (V)(bits - (exponent << MANTISSA_BITS));
    V t = (m - (V)one) / (m + (V)one);
    V square = t * t;
    V series = NAME(splat)((WEIGHT)(1.0 / (2 * LOG_TERMS - 1)));
    UNROLL for (int term = LOG_TERMS - 2; term >= 0; term--)
        series = series * square + (WEIGHT)(1.0 / (2 * term + 1));
    V e = __builtin_convertvector(exponent, V);
    V result = e * (WEIGHT)0.69314718055994530942 + 2 * t * series;
    return NAME(select)(s == s, result, s);
}
