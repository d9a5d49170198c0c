/* isa_avx2.c: the kernel table of this ISA. Its compiler flags stand in CMakeLists.txt. */
#include "simd_avx2.h"
#define NNF_TABLE nnf_kernels_avx2
#include "kernels.inc.h"
