/* The baseline of the architecture: SSE2 on x86-64, NEON on 64-bit Arm, and elsewhere the
 * instructions that the compiler chooses for 16-byte vectors. */
#define ISA baseline
#define VECTOR_BYTES 16
#if defined(__aarch64__)
#define REGISTERS 32
#else
#define REGISTERS 16
#endif
#include "family.h"
