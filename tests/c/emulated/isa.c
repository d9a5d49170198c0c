/*
 * isa.c: the kernels of AVX-512 on the emulated intrinsics, under AVX2's name: a program that links this file tests them
 * wherever AVX2 runs.
 */
#include "kernels/simd_avx512.h"

#define NNF_TABLE nnf_kernels_avx2
#include "kernels/kernels.inc.h"
