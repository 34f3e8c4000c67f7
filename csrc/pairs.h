/* The pairs of types: for each, EACH_PAIR is included once, with its name and its types defined.
 * COLUMN is defined for sparse rows, as the type of their columns. The matrix unit has one pair. */
#define WEIGHT float
#define WEIGHT_IS_DOUBLE 0

#define PAIR uint8_float32
#define ROW uint8_t
#define ROW_IS_UINT8 1
#include EACH_PAIR
#undef PAIR
#undef ROW
#undef ROW_IS_UINT8

#if !MATRIX_UNIT
#define ROW_IS_UINT8 0
#define ROW float
#define PAIR float32_float32
#include EACH_PAIR
#undef PAIR
#define PAIR sparse32_float32
#define COLUMN int32_t
#include EACH_PAIR
#undef PAIR
#undef COLUMN
#define PAIR sparse64_float32
#define COLUMN int64_t
#include EACH_PAIR
#undef PAIR
#undef COLUMN
#undef ROW
#undef WEIGHT
#undef WEIGHT_IS_DOUBLE

#define WEIGHT double
#define WEIGHT_IS_DOUBLE 1
#define ROW double
#define PAIR float64_float64
#include EACH_PAIR
#undef PAIR
#define PAIR sparse32_float64
#define COLUMN int32_t
#include EACH_PAIR
#undef PAIR
#undef COLUMN
#define PAIR sparse64_float64
#define COLUMN int64_t
#include EACH_PAIR
#undef PAIR
#undef COLUMN
#undef ROW
#undef ROW_IS_UINT8

#define PAIR uint8_float64
#define ROW uint8_t
#define ROW_IS_UINT8 1
#include EACH_PAIR
#undef PAIR
#undef ROW
#undef ROW_IS_UINT8
#endif
#undef WEIGHT
#undef WEIGHT_IS_DOUBLE
