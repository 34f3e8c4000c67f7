/* One pair of types; forgets its macros so that the next pair can define its own. */
#include "vector.h"

#include "kernels.h"

#undef ROW
#undef ROW_IS_UINT8
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
#undef ROWS_AT_ONCE
