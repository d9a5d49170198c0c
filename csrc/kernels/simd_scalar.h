/*
 * simd_scalar.h: vectors of one element in portable C, and the definition of the vector interface.
 *
 * Every simd_<isa>.h offers exactly what follows, once with the prefix f32_ (float) and once with f64_ (double). The
 * kernels are written against these names alone, so an instruction set is one such header and one isa_<name>.c.
 *
 *   f32_v, f32_m, f32_i       a vector of F32_LANES floats; a mask of as many lanes; as many integers of the same width
 *   NNF_TILE_VECTORS          most vectors in a row of the matrix micro-kernel's tile
 *   NNF_TILE_ACCUMULATORS     vectors that a tile may keep in registers
 *   NNF_TILE_STEPS            columns of a slice in one round of its loop
 *
 *   zero()  set1(x)           all lanes 0, all lanes x
 *   load(p)  store(p, v)      F32_LANES elements, any alignment
 *   load_n(p, n)              the first n lanes, 0 <= n <= F32_LANES, the others 0; nothing beyond p[n - 1] is read
 *   store_n(p, v, n)          the first n lanes; nothing beyond p[n - 1] is written
 *   add  sub  mul  div  sqrt  rounded as IEEE 754 asks
 *   fma(a, b, c)              a b + c  } rounded once, except here, where the product is rounded first:
 *   nfma(a, b, c)             c - a b  } an FMA without the instruction is a slow library call
 *   neg  abs                  sign bit flipped, cleared
 *   copysign(a, b)            magnitude of a, sign of b
 *   lt(a, b)  le  eq          a < b, a <= b, a == b; false where a or b is NaN
 *   isnan(a)                  true where a is NaN
 *   select(m, a, b)           m ? a : b, lane by lane
 *   zero_where(m, a)          m ? 0 : a; of select with a zero gcc 12 makes two instructions on AVX2
 *   max(a, b)                 a < b ? b : a; callers must not rely on what NaN gives
 *   bits(v)  from_bits(i)     the same bits as integers, as floats
 *   iset1(x)                  all lanes x
 *   iadd  isub  iand  ixor    modulo 2^32 (2^64), bitwise
 *   imul                      modulo 2^32; f32_ only
 *   ishl(i, count)  ishr      shifts by a compile-time constant; ishr brings in zeros
 *   transpose(r)              r[0] .. r[F32_LANES - 1] as the rows of a square matrix, transposed in place
 */
#ifndef NNF_SIMD_SCALAR_H
#define NNF_SIMD_SCALAR_H

#include "../kernels.h"

#include <math.h>
#include <stdint.h>

enum { F32_LANES = 1, F64_LANES = 1 };
enum { NNF_TILE_VECTORS = 4, NNF_TILE_ACCUMULATORS = 12 };
enum { NNF_TILE_STEPS = 1 }; /* of two gcc 12 makes vectors that read beyond the last row of B */

#define T float
#define INT int32_t
#define UINT uint32_t
#define SIGN_BIT 0x80000000u
#define SQRT sqrtf
#define V(name) f32_##name
#include "simd_scalar.inc.h"

#define T double
#define INT int64_t
#define UINT uint64_t
#define SIGN_BIT 0x8000000000000000u
#define SQRT sqrt
#define V(name) f64_##name
#include "simd_scalar.inc.h"

#endif
