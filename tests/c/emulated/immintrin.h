/*
 * immintrin.h: the intrinsics that simd_avx512.h is written in, as loops over the lanes, found in place of the
 * compiler's header of this name. So the kernels of AVX-512 are tested on CPUs without it. What each does: Intel's
 * Intrinsics Guide. An intrinsic that simd_avx512.h begins to use has to be added.
 */
#ifndef NNF_EMULATED_IMMINTRIN_H
#define NNF_EMULATED_IMMINTRIN_H

#include <math.h>
#include <stdint.h>
#include <string.h>

typedef float __m512 __attribute__((vector_size(64)));
typedef double __m512d __attribute__((vector_size(64)));
typedef int64_t __m512i __attribute__((vector_size(64)));
typedef uint16_t __mmask16;
typedef uint8_t __mmask8;

enum { _CMP_EQ_OQ, _CMP_LT_OQ, _CMP_LE_OQ, _CMP_UNORD_Q };

#define EMULATED static inline __attribute__((always_inline, unused))

EMULATED __m512i _mm512_and_si512(__m512i a, __m512i b) { return a & b; }
EMULATED __m512i _mm512_xor_si512(__m512i a, __m512i b) { return a ^ b; }
EMULATED __m512d _mm512_castps_pd(__m512 a) { return (__m512d)a; }
EMULATED __m512 _mm512_castpd_ps(__m512d a) { return (__m512)a; }

#define T float
#define VT __m512
#define MASK __mmask16
#define UINT uint32_t
#define LANES 16
#define OP(name) _mm512_##name##_ps
#define OP_MASK(name) _mm512_##name##_ps_mask
#define OP_INT(name) _mm512_##name##_epi32
#define TO_INT _mm512_castps_si512
#define FROM_INT _mm512_castsi512_ps
#define SHUFFLE_QUARTERS _mm512_shuffle_f32x4
#define FMA fmaf
#define SQRT sqrtf
#include "lanes.inc.h"

#define T double
#define VT __m512d
#define MASK __mmask8
#define UINT uint64_t
#define LANES 8
#define OP(name) _mm512_##name##_pd
#define OP_MASK(name) _mm512_##name##_pd_mask
#define OP_INT(name) _mm512_##name##_epi64
#define TO_INT _mm512_castpd_si512
#define FROM_INT _mm512_castsi512_pd
#define SHUFFLE_QUARTERS _mm512_shuffle_f64x2
#define FMA fma
#define SQRT sqrt
#include "lanes.inc.h"

#endif
