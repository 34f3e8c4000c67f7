/* The pairs of types: for each, EACH_PAIR is included once, with its name and its types defined.
 *
 * ROW_TYPE is ROW's fastlin_type. COLUMN is defined for sparse rows, as the type of their columns.
 * MANY_CLASSES is defined for the kernels of many classes, which copy rows of any type (ROW is
 * void) to panels of one. The matrix unit has one pair. */
#define WEIGHT float
#define WEIGHT_IS_DOUBLE 0

#define PAIR uint8_float32
#define ROW uint8_t
#define ROW_TYPE FASTLIN_UINT8
#include EACH_PAIR
#undef PAIR
#undef ROW
#undef ROW_TYPE

#if !MATRIX_UNIT
#define PAIR int8_float32
#define ROW int8_t
#define ROW_TYPE FASTLIN_INT8
#include EACH_PAIR
#undef PAIR
#undef ROW
#undef ROW_TYPE

#define PAIR float16_float32
#define ROW half
#define ROW_TYPE FASTLIN_FLOAT16
#include EACH_PAIR
#undef PAIR
#undef ROW
#undef ROW_TYPE

#define PAIR many_float32
#define ROW void
#define MANY_CLASSES
#include EACH_PAIR
#undef PAIR
#undef ROW
#undef MANY_CLASSES

#define ROW float
#define ROW_TYPE FASTLIN_FLOAT32
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
#undef ROW_TYPE
#undef WEIGHT
#undef WEIGHT_IS_DOUBLE

#define WEIGHT double
#define WEIGHT_IS_DOUBLE 1
#define ROW double
#define ROW_TYPE FASTLIN_FLOAT64
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
#undef ROW_TYPE

#define PAIR many_float64
#define ROW void
#define MANY_CLASSES
#include EACH_PAIR
#undef PAIR
#undef ROW
#undef MANY_CLASSES

#define PAIR uint8_float64
#define ROW uint8_t
#define ROW_TYPE FASTLIN_UINT8
#include EACH_PAIR
#undef PAIR
#undef ROW
#undef ROW_TYPE

#define PAIR int8_float64
#define ROW int8_t
#define ROW_TYPE FASTLIN_INT8
#include EACH_PAIR
#undef PAIR
#undef ROW
#undef ROW_TYPE

#define PAIR float16_float64
#define ROW half
#define ROW_TYPE FASTLIN_FLOAT16
#include EACH_PAIR
#undef PAIR
#undef ROW
#undef ROW_TYPE

#define PAIR float32_float64
#define ROW float
#define ROW_TYPE FASTLIN_FLOAT32
#include EACH_PAIR
#undef PAIR
#undef ROW
#undef ROW_TYPE
#endif
#undef WEIGHT
#undef WEIGHT_IS_DOUBLE
