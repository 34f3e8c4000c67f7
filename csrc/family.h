/* All kernels of one instruction set: kernels.h for each pair of types, sparse.h for sparse rows. Expects ISA and
 * VECTOR_BYTES, and REGISTERS, the number of vector registers. */
#include "common.h"

/* Register tiles: classes in a block, rows at once in phase A, vectors at once in phase C. The
 * products being summed up (classes x rows, classes x vectors) must leave registers for operands. */
#if REGISTERS >= 32
#define REGISTER_TILES(CASE) \
    CASE(1, 8, 8) CASE(2, 8, 8) CASE(3, 8, 8) CASE(4, 4, 4) CASE(5, 4, 4) CASE(6, 4, 4) \
    CASE(8, 2, 2) CASE(10, 2, 2)
#else
#define REGISTER_TILES(CASE) \
    CASE(1, 8, 8) CASE(2, 4, 4) CASE(3, 4, 4) CASE(4, 2, 2) CASE(5, 2, 2) CASE(6, 2, 2)
#endif

#define JOIN_4(a, b, c, d) a##_##b##_##c##_##d
#define JOIN(a, b, c, d) JOIN_4(a, b, c, d)
#define NAME(name) JOIN(fastlin, ISA, PAIR, name)

#define WEIGHT float
#define WEIGHT_IS_DOUBLE 0
#define ROW uint8_t
#define ROW_IS_UINT8 1
#define PAIR uint8_float32
#include "instance.h"
#define ROW float
#define ROW_IS_UINT8 0
#define PAIR float32_float32
#include "instance.h"
#define ROW float
#define ROW_IS_UINT8 0
#define COLUMN int32_t
#define PAIR sparse32_float32
#include "instance.h"
#define ROW float
#define ROW_IS_UINT8 0
#define COLUMN int64_t
#define PAIR sparse64_float32
#include "instance.h"
#undef WEIGHT
#undef WEIGHT_IS_DOUBLE

#define WEIGHT double
#define WEIGHT_IS_DOUBLE 1
#define ROW uint8_t
#define ROW_IS_UINT8 1
#define PAIR uint8_float64
#include "instance.h"
#define ROW double
#define ROW_IS_UINT8 0
#define PAIR float64_float64
#include "instance.h"
#define ROW double
#define ROW_IS_UINT8 0
#define COLUMN int32_t
#define PAIR sparse32_float64
#include "instance.h"
#define ROW double
#define ROW_IS_UINT8 0
#define COLUMN int64_t
#define PAIR sparse64_float64
#include "instance.h"
