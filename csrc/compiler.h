/* What differs between compilers and machines. */
#ifndef FASTLIN_COMPILER_H
#define FASTLIN_COMPILER_H
#define _GNU_SOURCE /* affinities, madvise, syscall */
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define INLINE static inline __attribute__((always_inline, unused))
/* A function of the templates that some instances do not use. */
#define MAY_BE_UNUSED static __attribute__((unused))

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 64")
#endif

#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE(I, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(I, a, b, ...) __builtin_shuffle(a, b, (I){__VA_ARGS__})
#endif

/* Keep a vector that is used several times in a register. Compilers would read it from memory in
 * each instruction, and then loads instead of products would limit the speed. */
#if defined(__x86_64__)
#define KEEP_IN_REGISTER(v) __asm__("" : "+v"(v))
#elif defined(__aarch64__)
#define KEEP_IN_REGISTER(v) __asm__("" : "+w"(v))
#else
#define KEEP_IN_REGISTER(v) ((void)0)
#endif

/* Whether AMX can be compiled: it takes GCC 11 or newer, and Linux, which grants its registers. */
#if defined(__x86_64__) && defined(__linux__) && !defined(__clang__) && __GNUC__ >= 11
#define HAS_AMX 1
#else
#define HAS_AMX 0
#endif

INLINE int64_t at_most(int64_t a, int64_t b) {
    return a < b ? a : b;
}
INLINE int64_t at_least(int64_t a, int64_t b) {
    return a > b ? a : b;
}
INLINE int64_t round_up(int64_t n, int64_t multiple) {
    return (n + multiple - 1) / multiple * multiple;
}

#endif
