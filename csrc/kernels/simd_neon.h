/*
 * simd_neon.h: vectors of 128 bits with Advanced SIMD on 64-bit Arm: 4 floats, 2 doubles. simd_scalar.h defines the
 * interface. A mask is an integer vector whose lanes are all ones or all zeros.
 */
#ifndef NNF_SIMD_NEON_H
#define NNF_SIMD_NEON_H

#include "../kernels.h"

#include <arm_neon.h>
#include <stdint.h>

enum { F32_LANES = 4, F64_LANES = 2 };
enum { NNF_TILE_VECTORS = 4, NNF_TILE_ACCUMULATORS = 24 }; /* 24 + 4 of B + 4 of A in 32 registers */
enum { NNF_TILE_STEPS = 1 };

typedef float32x4_t f32_v;
typedef uint32x4_t f32_m;
typedef uint32x4_t f32_i;

typedef float64x2_t f64_v;
typedef uint64x2_t f64_m;
typedef uint64x2_t f64_i;

/* ---- memory ------------------------------------------------------------------------------------------------- */

NNF_INLINE f32_v f32_zero(void) { return vdupq_n_f32(0); }
NNF_INLINE f64_v f64_zero(void) { return vdupq_n_f64(0); }
NNF_INLINE f32_v f32_set1(float x) { return vdupq_n_f32(x); }
NNF_INLINE f64_v f64_set1(double x) { return vdupq_n_f64(x); }
NNF_INLINE f32_v f32_load(const float *p) { return vld1q_f32(p); }
NNF_INLINE f64_v f64_load(const double *p) { return vld1q_f64(p); }
NNF_INLINE void f32_store(float *p, f32_v v) { vst1q_f32(p, v); }
NNF_INLINE void f64_store(double *p, f64_v v) { vst1q_f64(p, v); }

NNF_INLINE f32_v f32_load_n(const float *p, nnf_index n)
{
    float lanes[4] = {0};
    for (nnf_index j = 0; j < n; j++)
        lanes[j] = p[j];
    return vld1q_f32(lanes);
}
NNF_INLINE f64_v f64_load_n(const double *p, nnf_index n)
{
    double lanes[2] = {0};
    for (nnf_index j = 0; j < n; j++)
        lanes[j] = p[j];
    return vld1q_f64(lanes);
}
NNF_INLINE void f32_store_n(float *p, f32_v v, nnf_index n)
{
    float lanes[4];
    vst1q_f32(lanes, v);
    for (nnf_index j = 0; j < n; j++)
        p[j] = lanes[j];
}
NNF_INLINE void f64_store_n(double *p, f64_v v, nnf_index n)
{
    double lanes[2];
    vst1q_f64(lanes, v);
    for (nnf_index j = 0; j < n; j++)
        p[j] = lanes[j];
}

/* ---- arithmetic --------------------------------------------------------------------------------------------- */

NNF_INLINE f32_v f32_add(f32_v a, f32_v b) { return vaddq_f32(a, b); }
NNF_INLINE f64_v f64_add(f64_v a, f64_v b) { return vaddq_f64(a, b); }
NNF_INLINE f32_v f32_sub(f32_v a, f32_v b) { return vsubq_f32(a, b); }
NNF_INLINE f64_v f64_sub(f64_v a, f64_v b) { return vsubq_f64(a, b); }
NNF_INLINE f32_v f32_mul(f32_v a, f32_v b) { return vmulq_f32(a, b); }
NNF_INLINE f64_v f64_mul(f64_v a, f64_v b) { return vmulq_f64(a, b); }
NNF_INLINE f32_v f32_div(f32_v a, f32_v b) { return vdivq_f32(a, b); }
NNF_INLINE f64_v f64_div(f64_v a, f64_v b) { return vdivq_f64(a, b); }
NNF_INLINE f32_v f32_sqrt(f32_v a) { return vsqrtq_f32(a); }
NNF_INLINE f64_v f64_sqrt(f64_v a) { return vsqrtq_f64(a); }
NNF_INLINE f32_v f32_fma(f32_v a, f32_v b, f32_v c) { return vfmaq_f32(c, a, b); }
NNF_INLINE f64_v f64_fma(f64_v a, f64_v b, f64_v c) { return vfmaq_f64(c, a, b); }
NNF_INLINE f32_v f32_nfma(f32_v a, f32_v b, f32_v c) { return vfmsq_f32(c, a, b); }
NNF_INLINE f64_v f64_nfma(f64_v a, f64_v b, f64_v c) { return vfmsq_f64(c, a, b); }

NNF_INLINE f32_v f32_neg(f32_v a) { return vnegq_f32(a); }
NNF_INLINE f64_v f64_neg(f64_v a) { return vnegq_f64(a); }
NNF_INLINE f32_v f32_abs(f32_v a) { return vabsq_f32(a); }
NNF_INLINE f64_v f64_abs(f64_v a) { return vabsq_f64(a); }
NNF_INLINE f32_v f32_copysign(f32_v a, f32_v b) { return vbslq_f32(vdupq_n_u32(0x80000000u), b, a); }
NNF_INLINE f64_v f64_copysign(f64_v a, f64_v b) { return vbslq_f64(vdupq_n_u64(0x8000000000000000u), b, a); }

/* ---- comparisons -------------------------------------------------------------------------------------------- */

NNF_INLINE f32_m f32_lt(f32_v a, f32_v b) { return vcltq_f32(a, b); }
NNF_INLINE f64_m f64_lt(f64_v a, f64_v b) { return vcltq_f64(a, b); }
NNF_INLINE f32_m f32_le(f32_v a, f32_v b) { return vcleq_f32(a, b); }
NNF_INLINE f64_m f64_le(f64_v a, f64_v b) { return vcleq_f64(a, b); }
NNF_INLINE f32_m f32_eq(f32_v a, f32_v b) { return vceqq_f32(a, b); }
NNF_INLINE f64_m f64_eq(f64_v a, f64_v b) { return vceqq_f64(a, b); }
NNF_INLINE f32_m f32_isnan(f32_v a) { return ~vceqq_f32(a, a); }
NNF_INLINE f64_m f64_isnan(f64_v a) { return ~vceqq_f64(a, a); }
NNF_INLINE f32_v f32_select(f32_m m, f32_v a, f32_v b) { return vbslq_f32(m, a, b); }
NNF_INLINE f64_v f64_select(f64_m m, f64_v a, f64_v b) { return vbslq_f64(m, a, b); }
NNF_INLINE f32_v f32_zero_where(f32_m m, f32_v a) { return f32_select(m, f32_zero(), a); }
NNF_INLINE f64_v f64_zero_where(f64_m m, f64_v a) { return f64_select(m, f64_zero(), a); }
NNF_INLINE f32_v f32_max(f32_v a, f32_v b) { return vbslq_f32(vcltq_f32(a, b), b, a); }
NNF_INLINE f64_v f64_max(f64_v a, f64_v b) { return vbslq_f64(vcltq_f64(a, b), b, a); }

/* ---- bits --------------------------------------------------------------------------------------------------- */

NNF_INLINE f32_i f32_bits(f32_v a) { return vreinterpretq_u32_f32(a); }
NNF_INLINE f64_i f64_bits(f64_v a) { return vreinterpretq_u64_f64(a); }
NNF_INLINE f32_v f32_from_bits(f32_i a) { return vreinterpretq_f32_u32(a); }
NNF_INLINE f64_v f64_from_bits(f64_i a) { return vreinterpretq_f64_u64(a); }
NNF_INLINE f32_i f32_iset1(int32_t x) { return vdupq_n_u32((uint32_t)x); }
NNF_INLINE f64_i f64_iset1(int64_t x) { return vdupq_n_u64((uint64_t)x); }
NNF_INLINE f32_i f32_iadd(f32_i a, f32_i b) { return vaddq_u32(a, b); }
NNF_INLINE f64_i f64_iadd(f64_i a, f64_i b) { return vaddq_u64(a, b); }
NNF_INLINE f32_i f32_isub(f32_i a, f32_i b) { return vsubq_u32(a, b); }
NNF_INLINE f64_i f64_isub(f64_i a, f64_i b) { return vsubq_u64(a, b); }
NNF_INLINE f32_i f32_iand(f32_i a, f32_i b) { return vandq_u32(a, b); }
NNF_INLINE f64_i f64_iand(f64_i a, f64_i b) { return vandq_u64(a, b); }

/* The shift intrinsics want a literal, which a parameter is not at -O0; operators compile to the same. */
NNF_INLINE f32_i f32_ixor(f32_i a, f32_i b) { return veorq_u32(a, b); }
NNF_INLINE f64_i f64_ixor(f64_i a, f64_i b) { return veorq_u64(a, b); }
NNF_INLINE f32_i f32_imul(f32_i a, f32_i b) { return vmulq_u32(a, b); }
NNF_INLINE f32_i f32_ishl(f32_i a, int count) { return a << vdupq_n_u32((uint32_t)count); }
NNF_INLINE f64_i f64_ishl(f64_i a, int count) { return a << vdupq_n_u64((uint64_t)count); }
NNF_INLINE f32_i f32_ishr(f32_i a, int count) { return a >> vdupq_n_u32((uint32_t)count); }
NNF_INLINE f64_i f64_ishr(f64_i a, int count) { return a >> vdupq_n_u64((uint64_t)count); }

/* ---- transposition ------------------------------------------------------------------------------------------ */

NNF_INLINE void f64_transpose(f64_v r[2])
{
    const float64x2_t first = vtrn1q_f64(r[0], r[1]);
    r[1] = vtrn2q_f64(r[0], r[1]);
    r[0] = first;
}

/* 2 x 2 blocks of floats, then the blocks as doubles: t[0] and t[1] hold columns 0, 2 and 1, 3 of rows 0 and 1. */
NNF_INLINE void f32_transpose(f32_v r[4])
{
    float64x2_t t[4];
    NNF_UNROLL
    for (int i = 0; i < 4; i += 2) {
        t[i] = vreinterpretq_f64_f32(vtrn1q_f32(r[i], r[i + 1]));
        t[i + 1] = vreinterpretq_f64_f32(vtrn2q_f32(r[i], r[i + 1]));
    }
    NNF_UNROLL
    for (int q = 0; q < 2; q++) {
        r[q] = vreinterpretq_f32_f64(vtrn1q_f64(t[q], t[2 + q]));
        r[2 + q] = vreinterpretq_f32_f64(vtrn2q_f64(t[q], t[2 + q]));
    }
}

#endif
