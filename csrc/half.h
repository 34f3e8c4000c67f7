/* float16 numbers, as their bits: not every compiler has the type. */
#ifndef FASTLIN_HALF_H
#define FASTLIN_HALF_H
#include "compiler.h"

typedef struct {
    uint16_t bits;
} half;

/* The number as float32, exactly. The exponent is biased by 15 in float16 and by 127 in float32,
 * where the mantissa has 13 bits more. Numbers whose exponent's bits are 0 are multiples of 2^-24.
 */
INLINE float widen_half(half number) {
    uint32_t size = number.bits & 0x7fffu, sign = (uint32_t)(number.bits & 0x8000u) << 16;
    uint32_t moved = size << 13, normal = moved + ((127u - 15u) << 23), bits;
    float tiny = (float)(int32_t)size * 0x1p-24f, result;
    memcpy(&bits, &tiny, sizeof bits);
    bits = size < 0x0400u ? bits : size >= 0x7c00u ? moved | 0x7f800000u : normal;
    bits |= sign;
    memcpy(&result, &bits, sizeof result);
    return result;
}

#endif
