/*
 * engine.h: what the two drivers of engine.c, libFuzzer and replay.c, run.
 */
#ifndef NNF_FUZZ_ENGINE_H
#define NNF_FUZZ_ENGINE_H

#include <stddef.h>
#include <stdint.h>

/* Digests of all that a program computes, the same on every machine: with fused multiply-adds, and without. 0 where
 * this CPU has no such instruction set. */
typedef struct digests {
    uint64_t fused, scalar;
} digests;

/* Runs the bytes as a program; aborts when something does not hold that must hold of every one. */
digests run_program(const uint8_t *bytes, size_t n);

#endif
