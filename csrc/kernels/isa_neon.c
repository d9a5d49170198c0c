/* isa_neon.c: the kernel table of this ISA. Its compiler flags stand in CMakeLists.txt. */
#include "simd_neon.h"
#define NNF_TABLE nnf_kernels_neon
#include "kernels.inc.h"
