/* One pair of types, of sparse rows where COLUMN is the type of their columns; forgets its macros so that the next pair can define its own. */
#include "vector.h"

#if defined(COLUMN)
#include "sparse.h"
#else
#include "kernels.h"
#endif

#undef ROW
#undef ROW_IS_UINT8
#undef COLUMN
#undef PAIR
#undef LANES
#undef EACH_LANE
#undef MANTISSA_BITS
#undef EXP_LOWEST
#undef EXP_TERMS
#undef LOG_TERMS
#undef V
#undef I
#undef UPPER
#undef KEPT
#undef MOVED
#undef EACH_2
#undef EACH_4
#undef EACH_8
#undef EACH_16
#undef FOLD
#undef ENGINE
#undef SHARE
#undef MOST_VECTORS
#undef EACH_WIDTH
#undef ROWS_AT_ONCE
#undef MOST_ROWS_IN_PLACE
#undef WINDOW
#undef OF_FEATURE
