/* What every machine of the architecture has: SSE2 on x86-64, NEON on 64-bit Arm, and whatever
 * the compiler makes of 16-byte vectors elsewhere. */
#define ISA baseline
#define VECTOR_BYTES 16
#if defined(__aarch64__)
#define REGISTERS 32
#else
#define REGISTERS 16
#endif
#include "family.h"
