/*
 * simd_avx2.h: vectors of 256 bits with AVX2 and FMA: 8 floats, 4 doubles. simd_scalar.h defines the interface.
 * A mask is a vector whose lanes are all ones or all zeros.
 */
#ifndef NNF_SIMD_AVX2_H
#define NNF_SIMD_AVX2_H

#include "../kernels.h"

#include <immintrin.h>
#include <stdint.h>

enum { F32_LANES = 8, F64_LANES = 4 };
enum { NNF_TILE_VECTORS = 2, NNF_TILE_ACCUMULATORS = 12 }; /* 12 + 2 of B + 2 of A in 16 registers */
/* Saves one instruction in 23, which counts where two threads share a core. With four, gcc 12 spills accumulators. */
enum { NNF_TILE_STEPS = 2 };

typedef __m256 f32_v;
typedef __m256 f32_m;
typedef __m256i f32_i;

typedef __m256d f64_v;
typedef __m256d f64_m;
typedef __m256i f64_i;

/* ---- memory ------------------------------------------------------------------------------------------------- */

NNF_INLINE f32_v f32_zero(void) { return _mm256_setzero_ps(); }
NNF_INLINE f64_v f64_zero(void) { return _mm256_setzero_pd(); }
NNF_INLINE f32_v f32_set1(float x) { return _mm256_set1_ps(x); }
NNF_INLINE f64_v f64_set1(double x) { return _mm256_set1_pd(x); }
NNF_INLINE f32_v f32_load(const float *p) { return _mm256_loadu_ps(p); }
NNF_INLINE f64_v f64_load(const double *p) { return _mm256_loadu_pd(p); }
NNF_INLINE void f32_store(float *p, f32_v v) { _mm256_storeu_ps(p, v); }
NNF_INLINE void f64_store(double *p, f64_v v) { _mm256_storeu_pd(p, v); }

/* The first n lanes, as the masked moves want them. */
NNF_INLINE __m256i f32_first(nnf_index n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
NNF_INLINE __m256i f64_first(nnf_index n)
{
    return _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3));
}

NNF_INLINE f32_v f32_load_n(const float *p, nnf_index n) { return _mm256_maskload_ps(p, f32_first(n)); }
NNF_INLINE f64_v f64_load_n(const double *p, nnf_index n) { return _mm256_maskload_pd(p, f64_first(n)); }
NNF_INLINE void f32_store_n(float *p, f32_v v, nnf_index n) { _mm256_maskstore_ps(p, f32_first(n), v); }
NNF_INLINE void f64_store_n(double *p, f64_v v, nnf_index n) { _mm256_maskstore_pd(p, f64_first(n), v); }

/* ---- arithmetic --------------------------------------------------------------------------------------------- */

NNF_INLINE f32_v f32_add(f32_v a, f32_v b) { return _mm256_add_ps(a, b); }
NNF_INLINE f64_v f64_add(f64_v a, f64_v b) { return _mm256_add_pd(a, b); }
NNF_INLINE f32_v f32_sub(f32_v a, f32_v b) { return _mm256_sub_ps(a, b); }
NNF_INLINE f64_v f64_sub(f64_v a, f64_v b) { return _mm256_sub_pd(a, b); }
NNF_INLINE f32_v f32_mul(f32_v a, f32_v b) { return _mm256_mul_ps(a, b); }
NNF_INLINE f64_v f64_mul(f64_v a, f64_v b) { return _mm256_mul_pd(a, b); }
NNF_INLINE f32_v f32_div(f32_v a, f32_v b) { return _mm256_div_ps(a, b); }
NNF_INLINE f64_v f64_div(f64_v a, f64_v b) { return _mm256_div_pd(a, b); }
NNF_INLINE f32_v f32_sqrt(f32_v a) { return _mm256_sqrt_ps(a); }
NNF_INLINE f64_v f64_sqrt(f64_v a) { return _mm256_sqrt_pd(a); }
NNF_INLINE f32_v f32_fma(f32_v a, f32_v b, f32_v c) { return _mm256_fmadd_ps(a, b, c); }
NNF_INLINE f64_v f64_fma(f64_v a, f64_v b, f64_v c) { return _mm256_fmadd_pd(a, b, c); }
NNF_INLINE f32_v f32_nfma(f32_v a, f32_v b, f32_v c) { return _mm256_fnmadd_ps(a, b, c); }
NNF_INLINE f64_v f64_nfma(f64_v a, f64_v b, f64_v c) { return _mm256_fnmadd_pd(a, b, c); }

NNF_INLINE f32_v f32_neg(f32_v a) { return _mm256_xor_ps(a, _mm256_set1_ps(-0.0f)); }
NNF_INLINE f64_v f64_neg(f64_v a) { return _mm256_xor_pd(a, _mm256_set1_pd(-0.0)); }
NNF_INLINE f32_v f32_abs(f32_v a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
NNF_INLINE f64_v f64_abs(f64_v a) { return _mm256_andnot_pd(_mm256_set1_pd(-0.0), a); }
NNF_INLINE f32_v f32_copysign(f32_v a, f32_v b)
{
    return _mm256_or_ps(f32_abs(a), _mm256_and_ps(_mm256_set1_ps(-0.0f), b));
}
NNF_INLINE f64_v f64_copysign(f64_v a, f64_v b)
{
    return _mm256_or_pd(f64_abs(a), _mm256_and_pd(_mm256_set1_pd(-0.0), b));
}

/* ---- comparisons -------------------------------------------------------------------------------------------- */

NNF_INLINE f32_m f32_lt(f32_v a, f32_v b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
NNF_INLINE f64_m f64_lt(f64_v a, f64_v b) { return _mm256_cmp_pd(a, b, _CMP_LT_OQ); }
NNF_INLINE f32_m f32_le(f32_v a, f32_v b) { return _mm256_cmp_ps(a, b, _CMP_LE_OQ); }
NNF_INLINE f64_m f64_le(f64_v a, f64_v b) { return _mm256_cmp_pd(a, b, _CMP_LE_OQ); }
NNF_INLINE f32_m f32_eq(f32_v a, f32_v b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
NNF_INLINE f64_m f64_eq(f64_v a, f64_v b) { return _mm256_cmp_pd(a, b, _CMP_EQ_OQ); }
NNF_INLINE f32_m f32_isnan(f32_v a) { return _mm256_cmp_ps(a, a, _CMP_UNORD_Q); }
NNF_INLINE f64_m f64_isnan(f64_v a) { return _mm256_cmp_pd(a, a, _CMP_UNORD_Q); }
NNF_INLINE f32_v f32_select(f32_m m, f32_v a, f32_v b) { return _mm256_blendv_ps(b, a, m); }
NNF_INLINE f64_v f64_select(f64_m m, f64_v a, f64_v b) { return _mm256_blendv_pd(b, a, m); }
NNF_INLINE f32_v f32_zero_where(f32_m m, f32_v a) { return _mm256_andnot_ps(m, a); }
NNF_INLINE f64_v f64_zero_where(f64_m m, f64_v a) { return _mm256_andnot_pd(m, a); }
NNF_INLINE f32_v f32_max(f32_v a, f32_v b) { return _mm256_max_ps(b, a); }
NNF_INLINE f64_v f64_max(f64_v a, f64_v b) { return _mm256_max_pd(b, a); }

/* ---- bits --------------------------------------------------------------------------------------------------- */

NNF_INLINE f32_i f32_bits(f32_v a) { return _mm256_castps_si256(a); }
NNF_INLINE f64_i f64_bits(f64_v a) { return _mm256_castpd_si256(a); }
NNF_INLINE f32_v f32_from_bits(f32_i a) { return _mm256_castsi256_ps(a); }
NNF_INLINE f64_v f64_from_bits(f64_i a) { return _mm256_castsi256_pd(a); }
NNF_INLINE f32_i f32_iset1(int32_t x) { return _mm256_set1_epi32(x); }
NNF_INLINE f64_i f64_iset1(int64_t x) { return _mm256_set1_epi64x(x); }
NNF_INLINE f32_i f32_iadd(f32_i a, f32_i b) { return _mm256_add_epi32(a, b); }
NNF_INLINE f64_i f64_iadd(f64_i a, f64_i b) { return _mm256_add_epi64(a, b); }
NNF_INLINE f32_i f32_isub(f32_i a, f32_i b) { return _mm256_sub_epi32(a, b); }
NNF_INLINE f64_i f64_isub(f64_i a, f64_i b) { return _mm256_sub_epi64(a, b); }
NNF_INLINE f32_i f32_iand(f32_i a, f32_i b) { return _mm256_and_si256(a, b); }
NNF_INLINE f64_i f64_iand(f64_i a, f64_i b) { return _mm256_and_si256(a, b); }
NNF_INLINE f32_i f32_ixor(f32_i a, f32_i b) { return _mm256_xor_si256(a, b); }
NNF_INLINE f64_i f64_ixor(f64_i a, f64_i b) { return _mm256_xor_si256(a, b); }
NNF_INLINE f32_i f32_imul(f32_i a, f32_i b) { return _mm256_mullo_epi32(a, b); }
NNF_INLINE f32_i f32_ishl(f32_i a, int count) { return _mm256_slli_epi32(a, count); }
NNF_INLINE f64_i f64_ishl(f64_i a, int count) { return _mm256_slli_epi64(a, count); }
NNF_INLINE f32_i f32_ishr(f32_i a, int count) { return _mm256_srli_epi32(a, count); }
NNF_INLINE f64_i f64_ishr(f64_i a, int count) { return _mm256_srli_epi64(a, count); }

/* ---- transposition ------------------------------------------------------------------------------------------ */

NNF_INLINE __m256 f32_unpacklo_pairs(__m256 a, __m256 b)
{
    return _mm256_castpd_ps(_mm256_unpacklo_pd(_mm256_castps_pd(a), _mm256_castps_pd(b)));
}
NNF_INLINE __m256 f32_unpackhi_pairs(__m256 a, __m256 b)
{
    return _mm256_castpd_ps(_mm256_unpackhi_pd(_mm256_castps_pd(a), _mm256_castps_pd(b)));
}

/* First within the 128-bit halves: u[4 g + q] holds column q of rows 4 g .. 4 g + 3 below, column 4 + q above. Then the
 * halves change places. */
NNF_INLINE void f32_transpose(f32_v r[8])
{
    __m256 t[8], u[8];
    NNF_UNROLL
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    NNF_UNROLL
    for (int i = 0; i < 8; i += 4) {
        u[i] = f32_unpacklo_pairs(t[i], t[i + 2]);
        u[i + 1] = f32_unpackhi_pairs(t[i], t[i + 2]);
        u[i + 2] = f32_unpacklo_pairs(t[i + 1], t[i + 3]);
        u[i + 3] = f32_unpackhi_pairs(t[i + 1], t[i + 3]);
    }
    NNF_UNROLL
    for (int q = 0; q < 4; q++) {
        r[q] = _mm256_permute2f128_ps(u[q], u[4 + q], 0x20);
        r[4 + q] = _mm256_permute2f128_ps(u[q], u[4 + q], 0x31);
    }
}

NNF_INLINE void f64_transpose(f64_v r[4])
{
    __m256d t[4];
    NNF_UNROLL
    for (int i = 0; i < 4; i += 2) {
        t[i] = _mm256_unpacklo_pd(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_pd(r[i], r[i + 1]);
    }
    NNF_UNROLL
    for (int q = 0; q < 2; q++) {
        r[q] = _mm256_permute2f128_pd(t[q], t[2 + q], 0x20);
        r[2 + q] = _mm256_permute2f128_pd(t[q], t[2 + q], 0x31);
    }
}

#endif
