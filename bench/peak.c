/*
 * peak.c: multiply-adds, as many a second as an instruction set can. CMake compiles it once for each, with the flags of
 * the kernels, and defines SIMD_HEADER, the vector header, and FMA_PAIR, the name to define.
 */
#include SIMD_HEADER

#include "peak.h"

#define T float
#define LANES F32_LANES
#define V(name) f32_##name
#include "peak.inc.h"

#define T double
#define LANES F64_LANES
#define V(name) f64_##name
#include "peak.inc.h"

const bench_fma FMA_PAIR[2] = {
    {.flop = 2 * NNF_TILE_ACCUMULATORS * F32_LANES, .run = f32_run},
    {.flop = 2 * NNF_TILE_ACCUMULATORS * F64_LANES, .run = f64_run},
};
