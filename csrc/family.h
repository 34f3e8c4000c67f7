/* All kernels of one instruction set, and the table of them.
 *
 * Expects ISA, the set's name; VECTOR_BYTES; and REGISTERS, the number of vector registers. */
#include "arena.h"
#include "request.h"

/* 1 if a matrix unit multiplies bytes: uint8 rows and float32 weights only. */
#if !defined(MATRIX_UNIT)
#define MATRIX_UNIT 0
#endif

#define JOIN_3(a, b, c) a##_##b##_##c
#define JOIN(a, b, c) JOIN_3(a, b, c)
#define NAME(name) JOIN(ISA, PAIR, name)

#define EACH_PAIR "instance.h"
#include "pairs.h"
#undef EACH_PAIR

const kernels JOIN(fastlin, ISA, kernels)[] = {
#define EACH_PAIR "entry.h"
#include "pairs.h"
    {.rows = NO_MORE},
};
