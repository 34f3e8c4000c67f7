/* AVX2 with FMA and F16C: 32-byte vectors, 16 registers. */
#if defined(__x86_64__) && defined(__GNUC__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,f16c")
#endif
#define ISA avx2
#define VECTOR_BYTES 32
#define REGISTERS 16
#include "family.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
