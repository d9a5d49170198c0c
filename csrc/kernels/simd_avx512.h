/*
 * simd_avx512.h: vectors of 512 bits with AVX-512 F, BW, DQ and VL: 16 floats, 8 doubles. simd_scalar.h defines the
 * interface. A mask is a mask register.
 */
#ifndef NNF_SIMD_AVX512_H
#define NNF_SIMD_AVX512_H

#include "../kernels.h"

#include <immintrin.h>
#include <stdint.h>

enum { F32_LANES = 16, F64_LANES = 8 };
enum { NNF_TILE_VECTORS = 4, NNF_TILE_ACCUMULATORS = 24 }; /* 24 + 4 of B + 4 of A in 32 registers */
enum { NNF_TILE_STEPS = 1 };

typedef __m512 f32_v;
typedef __mmask16 f32_m;
typedef __m512i f32_i;

typedef __m512d f64_v;
typedef __mmask8 f64_m;
typedef __m512i f64_i;

/* ---- memory ------------------------------------------------------------------------------------------------- */

NNF_INLINE f32_v f32_zero(void) { return _mm512_setzero_ps(); }
NNF_INLINE f64_v f64_zero(void) { return _mm512_setzero_pd(); }
NNF_INLINE f32_v f32_set1(float x) { return _mm512_set1_ps(x); }
NNF_INLINE f64_v f64_set1(double x) { return _mm512_set1_pd(x); }
NNF_INLINE f32_v f32_load(const float *p) { return _mm512_loadu_ps(p); }
NNF_INLINE f64_v f64_load(const double *p) { return _mm512_loadu_pd(p); }
NNF_INLINE void f32_store(float *p, f32_v v) { _mm512_storeu_ps(p, v); }
NNF_INLINE void f64_store(double *p, f64_v v) { _mm512_storeu_pd(p, v); }

/* The first n lanes. */
NNF_INLINE f32_m f32_first(nnf_index n) { return (f32_m)((1u << n) - 1); }
NNF_INLINE f64_m f64_first(nnf_index n) { return (f64_m)((1u << n) - 1); }

NNF_INLINE f32_v f32_load_n(const float *p, nnf_index n) { return _mm512_maskz_loadu_ps(f32_first(n), p); }
NNF_INLINE f64_v f64_load_n(const double *p, nnf_index n) { return _mm512_maskz_loadu_pd(f64_first(n), p); }
NNF_INLINE void f32_store_n(float *p, f32_v v, nnf_index n) { _mm512_mask_storeu_ps(p, f32_first(n), v); }
NNF_INLINE void f64_store_n(double *p, f64_v v, nnf_index n) { _mm512_mask_storeu_pd(p, f64_first(n), v); }

/* ---- arithmetic --------------------------------------------------------------------------------------------- */

NNF_INLINE f32_v f32_add(f32_v a, f32_v b) { return _mm512_add_ps(a, b); }
NNF_INLINE f64_v f64_add(f64_v a, f64_v b) { return _mm512_add_pd(a, b); }
NNF_INLINE f32_v f32_sub(f32_v a, f32_v b) { return _mm512_sub_ps(a, b); }
NNF_INLINE f64_v f64_sub(f64_v a, f64_v b) { return _mm512_sub_pd(a, b); }
NNF_INLINE f32_v f32_mul(f32_v a, f32_v b) { return _mm512_mul_ps(a, b); }
NNF_INLINE f64_v f64_mul(f64_v a, f64_v b) { return _mm512_mul_pd(a, b); }
NNF_INLINE f32_v f32_div(f32_v a, f32_v b) { return _mm512_div_ps(a, b); }
NNF_INLINE f64_v f64_div(f64_v a, f64_v b) { return _mm512_div_pd(a, b); }
NNF_INLINE f32_v f32_sqrt(f32_v a) { return _mm512_sqrt_ps(a); }
NNF_INLINE f64_v f64_sqrt(f64_v a) { return _mm512_sqrt_pd(a); }
NNF_INLINE f32_v f32_fma(f32_v a, f32_v b, f32_v c) { return _mm512_fmadd_ps(a, b, c); }
NNF_INLINE f64_v f64_fma(f64_v a, f64_v b, f64_v c) { return _mm512_fmadd_pd(a, b, c); }
NNF_INLINE f32_v f32_nfma(f32_v a, f32_v b, f32_v c) { return _mm512_fnmadd_ps(a, b, c); }
NNF_INLINE f64_v f64_nfma(f64_v a, f64_v b, f64_v c) { return _mm512_fnmadd_pd(a, b, c); }

NNF_INLINE f32_v f32_neg(f32_v a) { return _mm512_xor_ps(a, _mm512_set1_ps(-0.0f)); }
NNF_INLINE f64_v f64_neg(f64_v a) { return _mm512_xor_pd(a, _mm512_set1_pd(-0.0)); }
NNF_INLINE f32_v f32_abs(f32_v a) { return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), a); }
NNF_INLINE f64_v f64_abs(f64_v a) { return _mm512_andnot_pd(_mm512_set1_pd(-0.0), a); }
NNF_INLINE f32_v f32_copysign(f32_v a, f32_v b)
{
    return _mm512_or_ps(f32_abs(a), _mm512_and_ps(_mm512_set1_ps(-0.0f), b));
}
NNF_INLINE f64_v f64_copysign(f64_v a, f64_v b)
{
    return _mm512_or_pd(f64_abs(a), _mm512_and_pd(_mm512_set1_pd(-0.0), b));
}

/* ---- comparisons -------------------------------------------------------------------------------------------- */

NNF_INLINE f32_m f32_lt(f32_v a, f32_v b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
NNF_INLINE f64_m f64_lt(f64_v a, f64_v b) { return _mm512_cmp_pd_mask(a, b, _CMP_LT_OQ); }
NNF_INLINE f32_m f32_le(f32_v a, f32_v b) { return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ); }
NNF_INLINE f64_m f64_le(f64_v a, f64_v b) { return _mm512_cmp_pd_mask(a, b, _CMP_LE_OQ); }
NNF_INLINE f32_m f32_eq(f32_v a, f32_v b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
NNF_INLINE f64_m f64_eq(f64_v a, f64_v b) { return _mm512_cmp_pd_mask(a, b, _CMP_EQ_OQ); }
NNF_INLINE f32_m f32_isnan(f32_v a) { return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q); }
NNF_INLINE f64_m f64_isnan(f64_v a) { return _mm512_cmp_pd_mask(a, a, _CMP_UNORD_Q); }
NNF_INLINE f32_v f32_select(f32_m m, f32_v a, f32_v b) { return _mm512_mask_blend_ps(m, b, a); }
NNF_INLINE f64_v f64_select(f64_m m, f64_v a, f64_v b) { return _mm512_mask_blend_pd(m, b, a); }
NNF_INLINE f32_v f32_zero_where(f32_m m, f32_v a) { return f32_select(m, f32_zero(), a); }
NNF_INLINE f64_v f64_zero_where(f64_m m, f64_v a) { return f64_select(m, f64_zero(), a); }
NNF_INLINE f32_v f32_max(f32_v a, f32_v b) { return _mm512_max_ps(b, a); }
NNF_INLINE f64_v f64_max(f64_v a, f64_v b) { return _mm512_max_pd(b, a); }

/* ---- bits --------------------------------------------------------------------------------------------------- */

NNF_INLINE f32_i f32_bits(f32_v a) { return _mm512_castps_si512(a); }
NNF_INLINE f64_i f64_bits(f64_v a) { return _mm512_castpd_si512(a); }
NNF_INLINE f32_v f32_from_bits(f32_i a) { return _mm512_castsi512_ps(a); }
NNF_INLINE f64_v f64_from_bits(f64_i a) { return _mm512_castsi512_pd(a); }
NNF_INLINE f32_i f32_iset1(int32_t x) { return _mm512_set1_epi32(x); }
NNF_INLINE f64_i f64_iset1(int64_t x) { return _mm512_set1_epi64(x); }
NNF_INLINE f32_i f32_iadd(f32_i a, f32_i b) { return _mm512_add_epi32(a, b); }
NNF_INLINE f64_i f64_iadd(f64_i a, f64_i b) { return _mm512_add_epi64(a, b); }
NNF_INLINE f32_i f32_isub(f32_i a, f32_i b) { return _mm512_sub_epi32(a, b); }
NNF_INLINE f64_i f64_isub(f64_i a, f64_i b) { return _mm512_sub_epi64(a, b); }
NNF_INLINE f32_i f32_iand(f32_i a, f32_i b) { return _mm512_and_si512(a, b); }
NNF_INLINE f64_i f64_iand(f64_i a, f64_i b) { return _mm512_and_si512(a, b); }
NNF_INLINE f32_i f32_ixor(f32_i a, f32_i b) { return _mm512_xor_si512(a, b); }
NNF_INLINE f64_i f64_ixor(f64_i a, f64_i b) { return _mm512_xor_si512(a, b); }
NNF_INLINE f32_i f32_imul(f32_i a, f32_i b) { return _mm512_mullo_epi32(a, b); }
NNF_INLINE f32_i f32_ishl(f32_i a, int count) { return _mm512_slli_epi32(a, (unsigned)count); }
NNF_INLINE f64_i f64_ishl(f64_i a, int count) { return _mm512_slli_epi64(a, (unsigned)count); }
NNF_INLINE f32_i f32_ishr(f32_i a, int count) { return _mm512_srli_epi32(a, (unsigned)count); }
NNF_INLINE f64_i f64_ishr(f64_i a, int count) { return _mm512_srli_epi64(a, (unsigned)count); }

/* ---- transposition ------------------------------------------------------------------------------------------ */

NNF_INLINE __m512 f32_unpacklo_pairs(__m512 a, __m512 b)
{
    return _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
}
NNF_INLINE __m512 f32_unpackhi_pairs(__m512 a, __m512 b)
{
    return _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
}

/* Transpose a 4 x 4 matrix whose elements are the 128-bit quarters of the vectors a, b, c, d. */
NNF_INLINE void f32_transpose_quarters(f32_v *a, f32_v *b, f32_v *c, f32_v *d)
{
    const __m512 ab_even = _mm512_shuffle_f32x4(*a, *b, 0x88), ab_odd = _mm512_shuffle_f32x4(*a, *b, 0xdd);
    const __m512 cd_even = _mm512_shuffle_f32x4(*c, *d, 0x88), cd_odd = _mm512_shuffle_f32x4(*c, *d, 0xdd);
    *a = _mm512_shuffle_f32x4(ab_even, cd_even, 0x88);
    *b = _mm512_shuffle_f32x4(ab_odd, cd_odd, 0x88);
    *c = _mm512_shuffle_f32x4(ab_even, cd_even, 0xdd);
    *d = _mm512_shuffle_f32x4(ab_odd, cd_odd, 0xdd);
}
NNF_INLINE void f64_transpose_quarters(f64_v *a, f64_v *b, f64_v *c, f64_v *d)
{
    const __m512d ab_even = _mm512_shuffle_f64x2(*a, *b, 0x88), ab_odd = _mm512_shuffle_f64x2(*a, *b, 0xdd);
    const __m512d cd_even = _mm512_shuffle_f64x2(*c, *d, 0x88), cd_odd = _mm512_shuffle_f64x2(*c, *d, 0xdd);
    *a = _mm512_shuffle_f64x2(ab_even, cd_even, 0x88);
    *b = _mm512_shuffle_f64x2(ab_odd, cd_odd, 0x88);
    *c = _mm512_shuffle_f64x2(ab_even, cd_even, 0xdd);
    *d = _mm512_shuffle_f64x2(ab_odd, cd_odd, 0xdd);
}

/* First within the quarters: r[4 g + q] then holds, in its quarter i, column 4 i + q of rows 4 g .. 4 g + 3. Then the
 * quarters change places. */
NNF_INLINE void f32_transpose(f32_v r[16])
{
    __m512 t[16];
    NNF_UNROLL
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    NNF_UNROLL
    for (int i = 0; i < 16; i += 4) {
        r[i] = f32_unpacklo_pairs(t[i], t[i + 2]);
        r[i + 1] = f32_unpackhi_pairs(t[i], t[i + 2]);
        r[i + 2] = f32_unpacklo_pairs(t[i + 1], t[i + 3]);
        r[i + 3] = f32_unpackhi_pairs(t[i + 1], t[i + 3]);
    }
    NNF_UNROLL
    for (int q = 0; q < 4; q++) {
        f32_transpose_quarters(&r[q], &r[4 + q], &r[8 + q], &r[12 + q]);
    }
}

/* Likewise: r[2 g + q] holds, in its quarter i, column 2 i + q of rows 2 g and 2 g + 1. */
NNF_INLINE void f64_transpose(f64_v r[8])
{
    NNF_UNROLL
    for (int i = 0; i < 8; i += 2) {
        const __m512d low = _mm512_unpacklo_pd(r[i], r[i + 1]);
        r[i + 1] = _mm512_unpackhi_pd(r[i], r[i + 1]);
        r[i] = low;
    }
    NNF_UNROLL
    for (int q = 0; q < 2; q++) {
        f64_transpose_quarters(&r[q], &r[2 + q], &r[4 + q], &r[6 + q]);
    }
}

#endif
