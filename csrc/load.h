/* Vectors of elements of a row, at any address, widened to weights: every number exactly.
 *
 * Intrinsics, because compilers translate these conversions badly. */

INLINE V NAME(load_uint8)(const uint8_t *p) {
#if VECTOR_BYTES == 64 && defined(__AVX512F__) && !WEIGHT_IS_DOUBLE
    return (V)_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p)));
#elif VECTOR_BYTES == 64 && defined(__AVX512F__)
    return (V)_mm512_cvtepi32_pd(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)));
#elif VECTOR_BYTES == 32 && defined(__AVX2__) && !WEIGHT_IS_DOUBLE
    return (V)_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)));
#elif VECTOR_BYTES == 32 && defined(__AVX2__)
    int32_t four;
    memcpy(&four, p, sizeof four);
    return (V)_mm256_cvtepi32_pd(_mm_cvtepu8_epi32(_mm_cvtsi32_si128(four)));
#else
    V v;
    for (int lane = 0; lane < LANES; lane++) v[lane] = p[lane];
    return v;
#endif
}

INLINE V NAME(load_int8)(const int8_t *p) {
#if VECTOR_BYTES == 64 && defined(__AVX512F__) && !WEIGHT_IS_DOUBLE
    return (V)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p)));
#elif VECTOR_BYTES == 64 && defined(__AVX512F__)
    return (V)_mm512_cvtepi32_pd(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p)));
#elif VECTOR_BYTES == 32 && defined(__AVX2__) && !WEIGHT_IS_DOUBLE
    return (V)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p)));
#elif VECTOR_BYTES == 32 && defined(__AVX2__)
    int32_t four;
    memcpy(&four, p, sizeof four);
    return (V)_mm256_cvtepi32_pd(_mm_cvtepi8_epi32(_mm_cvtsi32_si128(four)));
#else
    V v;
    for (int lane = 0; lane < LANES; lane++) v[lane] = p[lane];
    return v;
#endif
}

INLINE V NAME(load_float16)(const half *p) {
#if VECTOR_BYTES == 64 && !WEIGHT_IS_DOUBLE
    return (V)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
#elif VECTOR_BYTES == 64
    return (V)_mm512_cvtps_pd(_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p)));
#elif VECTOR_BYTES == 32 && !WEIGHT_IS_DOUBLE
    return (V)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
#elif VECTOR_BYTES == 32
    return (V)_mm256_cvtps_pd(_mm_cvtph_ps(_mm_loadl_epi64((const __m128i *)p)));
#elif defined(__aarch64__)
    uint16x4_t bits = {0};
    memcpy(&bits, p, LANES * sizeof *p);
    float32x4_t wide = vcvt_f32_f16(vreinterpret_f16_u16(bits));
#if WEIGHT_IS_DOUBLE
    return (V)vcvt_f64_f32(vget_low_f32(wide));
#else
    return (V)wide;
#endif
#else
    half narrow[LANES];
    V v;
    memcpy(narrow, p, sizeof narrow);
    for (int lane = 0; lane < LANES; lane++) v[lane] = widen_half(narrow[lane]);
    return v;
#endif
}

#if WEIGHT_IS_DOUBLE
INLINE V NAME(load_float32)(const float *p) {
#if VECTOR_BYTES == 64
    return (V)_mm512_cvtps_pd(_mm256_loadu_ps(p));
#elif VECTOR_BYTES == 32
    return (V)_mm256_cvtps_pd(_mm_loadu_ps(p));
#elif defined(__aarch64__)
    return (V)vcvt_f64_f32(vld1_f32(p));
#else
    float narrow[LANES];
    V v;
    memcpy(narrow, p, sizeof narrow);
    for (int lane = 0; lane < LANES; lane++) v[lane] = narrow[lane];
    return v;
#endif
}
#endif

/* LANES elements of a row of a fastlin_type; a type that is not narrow is the weights'. */
INLINE V NAME(load_row)(const int type, const void *p) {
    if (type == FASTLIN_UINT8) return NAME(load_uint8)(p);
    if (type == FASTLIN_INT8) return NAME(load_int8)(p);
    if (type == FASTLIN_FLOAT16) return NAME(load_float16)(p);
#if WEIGHT_IS_DOUBLE
    if (type == FASTLIN_FLOAT32) return NAME(load_float32)(p);
#endif
    return NAME(load)(p);
}
