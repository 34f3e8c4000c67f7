/* AVX-512: 64-byte vectors, 32 registers. */
#if defined(__x86_64__) && defined(__GNUC__)
#if defined(__clang__)
#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma,f16c"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,fma,f16c")
#endif
#define ISA avx512
#define VECTOR_BYTES 64
#define REGISTERS 32
#include "family.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
