/*
 * activation.inc.h: exp, log and the activations on one vector. V(name)(x) is the function; V(name_grad)(y) its slope,
 * taken from its value y.
 *
 * Only operations that IEEE 754 rounds exactly, integer operations, comparisons and selections: instruction sets with
 * an FMA give the same bits. Exact at 0 and at infinity; NaN passes, because no selection drops it when a comparison
 * with it is false. Largest errors in ULP, over every float and over 2^25 doubles (tests/c/test_math.c):
 *
 *                 float32            float64
 *                 FMA    scalar      FMA    scalar
 *      exp        0.91   1.19        0.89   1.17
 *      log        0.84   0.84        0.81   0.81
 *      tanh       1.96   2.15        2.12   2.22
 *      logistic   2.41   2.41        2.33   2.33
 *
 * The polynomials come from tools/coefficients.py, the constant coefficient first, and are evaluated by Horner's rule:
 * it has the fewest operations and the smallest error, and independent vectors hide its latency.
 */

#include <math.h>

#if NNF_F32
enum { V(MANTISSA) = 23, V(BIAS) = 127 };
static const float V(round) = 0x1.8p23f; /* a sum with it is an integer */
static const int32_t V(one_bits) = 0x3f800000, V(sqrt_half_bits) = 0x3f3504f3, V(mantissa_mask) = 0x007fffff;

/* ln 2 in two parts; the product of the first with any exponent is exact. */
static const float V(log2_e) = 0x1.715476p+0f, V(ln2_high) = 0x1.62e4p-1f, V(ln2_low) = 0x1.7f7d1cp-20f;

/* (e^r - 1 - r) / r^2 for |r| <= ln 2 / 2. Error of e^r - 1: below 0.24 * 2^-24 of itself. */
static const float V(exp_tail)[] = {0x1.fffffep-2f, 0x1.5554aep-3f, 0x1.555722p-5f, 0x1.1228bep-7f, 0x1.6b6504p-10f};

/* (log((1 + s) / (1 - s)) - 2 s) / s^3 in z = s^2 for |s| <= 3 - 2 sqrt(2). Error of the logarithm: below 0.014 * 2^-24
 * of itself. */
static const float V(log_tail)[] = {0x1.55557ap-1f, 0x1.995edap-2f, 0x1.31dfeap-2f};

/* Arguments are clamped a little beyond the point where the result stops changing, so that the arithmetic itself gives
 * 0, infinity and 1: e^x < 2^-150 from -103.98, e^x >= 2^128 from 88.73, 1 - tanh(x) < 2^-25 from 9.02. */
static const float V(exp_low) = -104.0f, V(exp_high) = 89.0f, V(tanh_high) = 10.0f;
#else
enum { V(MANTISSA) = 52, V(BIAS) = 1023 };
static const double V(round) = 0x1.8p52;
static const int64_t V(one_bits) = 0x3ff0000000000000, V(sqrt_half_bits) = 0x3fe6a09e667f3bcd,
                     V(mantissa_mask) = 0x000fffffffffffff;
static const double V(log2_e) = 0x1.71547652b82fep+0, V(ln2_high) = 0x1.62e42fefa38p-1,
                    V(ln2_low) = 0x1.ef35793c7673p-45;

/* Errors: below 0.17 * 2^-53 and 0.012 * 2^-53. */
static const double V(exp_tail)[] = {
    0x1.0000000000005p-1,  0x1.555555555553ep-3,  0x1.555555555211fp-5,  0x1.1111111117ddcp-7,
    0x1.6c16c17f28c76p-10, 0x1.a01a017af6bbdp-13, 0x1.a019a6b60cda2p-16, 0x1.71de7b325e233p-19,
    0x1.28a27a1f0a9e5p-22, 0x1.ae7f82a45f34bp-26,
};
static const double V(log_tail)[] = {
    0x1.5555555555594p-1, 0x1.999999997f73fp-2, 0x1.249249423ac79p-2, 0x1.c71c51d6d7e76p-3,
    0x1.746647f14b159p-3, 0x1.39a0eaea502f7p-3, 0x1.2f0ccd19fb262p-3,
};

/* Likewise: 2^-1075 at -745.14, 2^1024 at 709.79, 2^-54 at 19.07. */
static const double V(exp_low) = -746.0, V(exp_high) = 710.0, V(tanh_high) = 20.0;
#endif

static const T V(tanh_half) = (T)0.55; /* about where tanh is 1/2 */

enum {
    V(EXP_TERMS) = sizeof V(exp_tail) / sizeof V(exp_tail)[0],
    V(LOG_TERMS) = sizeof V(log_tail) / sizeof V(log_tail)[0]
};

NNF_INLINE VT V(polynomial)(const T *coefficients, int count, VT x)
{
    VT p = V(set1)(coefficients[count - 1]);
    NNF_UNROLL
    for (int k = count - 2; k >= 0; k--)
        p = V(fma)(p, x, V(set1)(coefficients[k]));
    return p;
}

/* x = n ln 2 + r with n an integer and |r| <= ln 2 / 2. Returns an integer whose low bits are n + offset: a sum with
 * `round` has its integer part at the end of its significand. */
NNF_INLINE IT V(reduce)(VT x, int offset, VT *r)
{
    const VT shift = V(set1)(V(round) + (T)offset);
    const VT shifted = V(fma)(x, V(set1)(V(log2_e)), shift);
    const VT n = V(sub)(shifted, shift);
    *r = V(nfma)(n, V(set1)(V(ln2_low)), V(nfma)(n, V(set1)(V(ln2_high)), x));
    return V(bits)(shifted);
}

/* e^x for exp_low <= x <= exp_high. 2^n is applied in two halves, so that overflow gives infinity and a subnormal
 * result is rounded once. */
NNF_INLINE VT V(exp_between)(VT x)
{
    const VT one = V(set1)(1);
    VT r;
    const IT n = V(reduce)(x, 2 * V(BIAS), &r), half = V(ishr)(n, 1);
    const VT tail = V(polynomial)(V(exp_tail), V(EXP_TERMS), r);
    const VT e = V(fma)(V(fma)(tail, r, one), r, one);
    const VT first = V(from_bits)(V(ishl)(half, V(MANTISSA)));
    const VT second = V(from_bits)(V(ishl)(V(isub)(n, half), V(MANTISSA)));
    return V(mul)(V(mul)(e, first), second);
}

NNF_INLINE VT V(exp)(VT x)
{
    const VT low = V(set1)(V(exp_low)), high = V(set1)(V(exp_high));
    x = V(select)(V(lt)(x, low), low, x);
    x = V(select)(V(lt)(high, x), high, x);
    return V(exp_between)(x);
}

/* x = m 2^n with sqrt(1/2) <= m < sqrt(2). With f = m - 1 and s = f / (2 + f),
 * log(m) = f - (f^2/2 - s (f^2/2 + s^2 tail)). */
NNF_INLINE VT V(log)(VT x)
{
    const VT zero = V(zero)(), infinity = V(set1)((T)INFINITY), one = V(set1)(1);
    const MT subnormal = V(lt)(x, V(set1)(SMALLEST_NORMAL));
    const T bring_up = (T)((int64_t)1 << V(MANTISSA)), offset = bring_up + (T)V(BIAS);
    const VT normal = V(select)(subnormal, V(mul)(x, V(set1)(bring_up)), x);

    const IT i = V(iadd)(V(bits)(normal), V(iset1)(V(one_bits) - V(sqrt_half_bits)));
    const IT biased = V(iadd)(V(ishr)(i, V(MANTISSA)), V(bits)(V(set1)(bring_up)));
    const VT n = V(sub)(V(from_bits)(biased), V(select)(subnormal, V(set1)(offset + (T)V(MANTISSA)), V(set1)(offset)));
    const VT m = V(from_bits)(V(iadd)(V(iand)(i, V(iset1)(V(mantissa_mask))), V(iset1)(V(sqrt_half_bits))));

    const VT f = V(sub)(m, one), s = V(div)(f, V(add)(f, V(set1)(2))), z = V(mul)(s, s);
    const VT half_square = V(mul)(V(mul)(V(set1)((T)0.5), f), f);
    const VT tail = V(mul)(z, V(polynomial)(V(log_tail), V(LOG_TERMS), z));
    const VT low = V(fma)(s, V(add)(half_square, tail), V(mul)(n, V(set1)(V(ln2_low))));
    const VT finite = V(fma)(n, V(set1)(V(ln2_high)), V(sub)(f, V(sub)(half_square, low)));

    const VT positive = V(select)(V(lt)(x, infinity), finite, x); /* infinity and NaN are their own logarithms */
    const VT otherwise = V(select)(V(eq)(x, zero), V(neg)(infinity), V(set1)((T)NAN));
    return V(select)(V(le)(x, zero), otherwise, positive);
}

NNF_INLINE VT V(identity)(VT x) { return x; }
NNF_INLINE VT V(identity_grad)(VT y)
{
    (void)y;
    return V(set1)(1);
}

/* 1 / (1 + e^-x), written with e^-|x|, which cannot overflow. */
NNF_INLINE VT V(logistic)(VT x)
{
    const VT one = V(set1)(1), low = V(set1)(V(exp_low));
    const VT down = V(neg)(V(abs)(x));
    const VT e = V(exp_between)(V(select)(V(lt)(down, low), low, down));
    return V(div)(V(select)(V(lt)(x, V(zero)()), e, one), V(add)(one, e));
}
NNF_INLINE VT V(logistic_grad)(VT y) { return V(mul)(y, V(sub)(V(set1)(1), y)); }

/* Where tanh(|x|) is above 1/2 it is 1 - 2 / (e^(2|x|) + 1): an error of the quotient counts by half there, and less
 * and less towards 1, where the last bit decides the slope. Below, with u = e^(-2|x|) - 1, which loses nothing near 0,
 * h = u / 2 and q = u / (u + 2), tanh(-|x|) = h - h q, which halves the error of q. Both are b - b v / d with b = v / 2
 * and d = e^y + 1, and every step of them, rounded, is monotone in y. */
NNF_INLINE VT V(tanh)(VT x)
{
    const VT high = V(set1)(V(tanh_high)), one = V(set1)(1);
    VT a = V(abs)(x), r;
    a = V(select)(V(lt)(high, a), high, a);
    const VT beyond = V(sub)(a, V(set1)(V(tanh_half)));
    const IT n = V(reduce)(V(copysign)(V(add)(a, a), beyond), V(BIAS), &r);
    const VT power = V(from_bits)(V(ishl)(n, V(MANTISSA)));
    const VT tail = V(polynomial)(V(exp_tail), V(EXP_TERMS), r);
    const VT inner = V(fma)(V(mul)(r, r), tail, r);
    const VT u = V(fma)(inner, power, V(sub)(power, one)), d = V(fma)(inner, power, V(add)(power, one));
    const VT v = V(select)(V(lt)(beyond, V(zero)()), u, V(set1)(2));
    const VT q = V(div)(v, d), b = V(mul)(V(set1)((T)0.5), v);
    return V(copysign)(V(nfma)(b, q, b), x);
}
NNF_INLINE VT V(tanh_grad)(VT y) { return V(sub)(V(set1)(1), V(mul)(y, y)); }

NNF_INLINE VT V(relu)(VT x) { return V(select)(V(le)(x, V(zero)()), V(zero)(), x); }
NNF_INLINE VT V(relu_grad)(VT y) { return V(select)(V(eq)(y, V(zero)()), V(zero)(), V(set1)(1)); }

NNF_INLINE VT V(leaky_relu)(VT x) { return V(select)(V(le)(x, V(zero)()), V(mul)(x, V(set1)((T)0.01)), x); }
NNF_INLINE VT V(leaky_relu_grad)(VT y)
{
    return V(select)(V(le)(y, V(zero)()), V(set1)((T)0.01), V(set1)(1));
}

NNF_INLINE VT V(step)(VT x)
{
    return V(select)(V(le)(x, V(zero)()), V(zero)(), V(select)(V(lt)(V(zero)(), x), V(set1)(1), x));
}
NNF_INLINE VT V(step_grad)(VT y)
{
    (void)y;
    return V(zero)();
}

NNF_INLINE VT V(exp_grad)(VT y) { return y; }
