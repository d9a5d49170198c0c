/* isa_avx512.c: the kernel table of this ISA. Its compiler flags stand in CMakeLists.txt. */
#include "simd_avx512.h"
#define NNF_TABLE nnf_kernels_avx512
#include "kernels.inc.h"
