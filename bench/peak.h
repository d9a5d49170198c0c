/*
 * peak.h: chains of multiply-adds, a pair (float32, float64) for each instruction set. peak.c defines them, kernels.c
 * runs them.
 */
#ifndef NNFAST_BENCH_PEAK_H
#define NNFAST_BENCH_PEAK_H

#include "nnfast.h"

typedef struct bench_fma {
    nnf_index flop;                                              /* floating-point operations of a round */
    double (*run)(nnf_index rounds, double factor, double term); /* the result is there to be needed */
} bench_fma;

#define NNF_ISA(name, cpu) extern const bench_fma bench_fma_##name[2]; /* by nnf_dtype */
#include "isa.def"
#undef NNF_ISA

#endif
