/* AMX, a matrix unit for bytes, with AVX-512: for uint8 rows with float32 weights. */
#include "compiler.h"
#if HAS_AMX
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,fma,f16c,amx-tile,amx-int8")
#define ISA amx
#define VECTOR_BYTES 64
#define REGISTERS 32
#define MATRIX_UNIT 1
#include "family.h"
#endif
