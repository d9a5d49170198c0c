/* isa_scalar.c: the kernel table of this ISA. Its compiler flags stand in CMakeLists.txt. */
#include "simd_scalar.h"
#define NNF_TABLE nnf_kernels_scalar
#include "kernels.inc.h"
