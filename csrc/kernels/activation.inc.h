/*
 * activation.inc.h: exp, log and the activations on one vector. V(name)(x) is the function; V(name_grad)(y) its slope,
 * taken from its value y, or V(name_grad)(x) where its row in activation.def says INPUT.
 *
 * Only operations that IEEE 754 rounds exactly, integer operations, comparisons and selections: instruction sets with
 * an FMA give the same bits. Exact at 0 and at infinity; NaN passes, because no selection drops it when a comparison
 * with it is false. Largest errors in ULP, over every float and over 2^25 doubles, from elu on 2^21
 * (tests/c/test_math.c):
 *
 *                 float32            float64
 *                 FMA    scalar      FMA    scalar
 *      exp        0.91   1.19        0.89   1.17
 *      log        0.84   0.84        0.81   0.81
 *      tanh       1.96   2.15        2.12   2.22
 *      logistic   2.41   2.41        2.33   2.33
 *      elu        0.95   1.01        1.15   1.08
 *      selu       1.88   1.93        1.59   1.63
 *      gelu       5.01   6.06        4.40   5.23
 *      silu       3.35   3.35        2.75   2.86
 *      mish       3.09   3.72        2.63   3.32
 *      softplus   2.12   2.06        1.84   1.88
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

/* The share of a normal distribution beyond a >= 0, divided by e^(-a^2 / 2) u with u = 1 / (1 + a / 4), in u - 1/2, for
 * a <= normal_high. Error: below 0.35 * 2^-24 of itself. */
static const float V(normal_ratio)[] = {
    0x1.82b4bcp-3f, 0x1.373e38p-2f, 0x1.8c6d9p-2f, 0x1.7e003ap-2f, 0x1.eed64ep-3f, 0x1.ed02ccp-5f, -0x1.cc85e4p-5f,
    -0x1.9a5e9cp-5f, 0x1.7306cp-7f, 0x1.15059ap-6f,
};

/* x e^-x < 2^-150 from 108.7, x e^(-x^2 / 2) < 2^-150 from 14.6. */
static const float V(decay_high) = 110.0f, V(normal_high) = 15.0f;
static const int32_t V(upper_half) = -(1 << 12); /* of the 24 bits of a significand */
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

/* Error: below 0.32 * 2^-53. */
static const double V(normal_ratio)[] = {
    0x1.82b4bb8c94dcep-3, 0x1.373e3a893c28ap-2, 0x1.8c6dbf2cfc2c7p-2, 0x1.7dff2bff68423p-2, 0x1.eec4cc3e47d91p-3,
    0x1.ee2761044e39fp-5, -0x1.c81719cc578adp-5, -0x1.ab825fb4514b6p-5, 0x1.17a4a75841d6ap-7, 0x1.e4a422624f958p-6,
    -0x1.00128f583f2edp-11, -0x1.26d06c657ebd8p-6, 0x1.7feb21cc186a7p-11, 0x1.8d498d977ad74p-7,
    -0x1.4fcb909905ff6p-9, -0x1.124fa5f27444ep-7, 0x1.1bf06b822e4ddp-8, 0x1.504cd2bf39876p-8, -0x1.4c7f8f093b7f1p-8,
    -0x1.13edde9828ec6p-9, 0x1.f905c14569802p-9, 0x1.6e98d5e99dd27p-13, -0x1.4c0beef5d2399p-10,
};

/* Likewise: 2^-1075 at 751.8 and 38.7. */
static const double V(decay_high) = 755.0, V(normal_high) = 39.0;
static const int64_t V(upper_half) = -((int64_t)1 << 27);
#endif

static const T V(tanh_half) = (T)0.55; /* about where tanh is 1/2 */
static const T V(density_0) = (T)0.39894228040143267793994605993438; /* of the normal distribution, at 0 */

enum {
    V(EXP_TERMS) = sizeof V(exp_tail) / sizeof V(exp_tail)[0],
    V(LOG_TERMS) = sizeof V(log_tail) / sizeof V(log_tail)[0],
    V(NORMAL_TERMS) = sizeof V(normal_ratio) / sizeof V(normal_ratio)[0]
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

/* e^x for x not far beyond exp_low and exp_high, as a product of three: sqrt(1/2) <= e <= sqrt(2), and 2^n in two
 * halves. So overflow gives infinity, and a subnormal result, even one that a factor brings about, is rounded once. */
NNF_INLINE VT V(exp_parts)(VT x, VT *first, VT *second)
{
    const VT one = V(set1)(1);
    VT r;
    const IT n = V(reduce)(x, 2 * V(BIAS), &r), half = V(ishr)(n, 1);
    const VT tail = V(polynomial)(V(exp_tail), V(EXP_TERMS), r);
    *first = V(from_bits)(V(ishl)(half, V(MANTISSA)));
    *second = V(from_bits)(V(ishl)(V(isub)(n, half), V(MANTISSA)));
    return V(fma)(V(fma)(tail, r, one), r, one);
}

NNF_INLINE VT V(exp_between)(VT x)
{
    VT first, second;
    const VT e = V(exp_parts)(x, &first, &second);
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

/* log(1 + x) for x > -1, by the logarithm of the rounded sum and what the rounding has lost. */
NNF_INLINE VT V(log1p)(VT x)
{
    const VT one = V(set1)(1), w = V(add)(one, x), lost = V(sub)(x, V(sub)(w, one));
    return V(add)(V(log)(w), V(div)(lost, w));
}

/* e^x - 1 for x <= 0. With x = n ln 2 + r it is 2^n (e^r - 1) + (2^n - 1), and the second term is exact. */
NNF_INLINE VT V(expm1_negative)(VT x)
{
    const VT low = V(set1)(-2 * V(tanh_high)), one = V(set1)(1);
    VT r;
    const IT n = V(reduce)(V(select)(V(lt)(x, low), low, x), V(BIAS), &r);
    const VT power = V(from_bits)(V(ishl)(n, V(MANTISSA)));
    const VT tail = V(polynomial)(V(exp_tail), V(EXP_TERMS), r);
    return V(fma)(V(fma)(V(mul)(r, r), tail, r), power, V(sub)(power, one));
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

NNF_INLINE VT V(relu)(VT x) { return V(zero_where)(V(le)(x, V(zero)()), x); }
NNF_INLINE VT V(relu_grad)(VT y) { return V(zero_where)(V(eq)(y, V(zero)()), V(set1)(1)); }

NNF_INLINE VT V(leaky_relu)(VT x, VT slope) { return V(select)(V(le)(x, V(zero)()), V(mul)(x, slope), x); }
NNF_INLINE VT V(leaky_relu_grad)(VT y, VT slope) { return V(select)(V(le)(y, V(zero)()), slope, V(set1)(1)); }

NNF_INLINE VT V(step)(VT x)
{
    return V(zero_where)(V(le)(x, V(zero)()), V(select)(V(lt)(V(zero)(), x), V(set1)(1), x));
}
NNF_INLINE VT V(step_grad)(VT y)
{
    (void)y;
    return V(zero)();
}

NNF_INLINE VT V(exp_grad)(VT y) { return y; }

/* Clevert, Unterthiner and Hochreiter 2016: x, or alpha (e^x - 1) below 0. */
NNF_INLINE VT V(elu)(VT x, VT alpha)
{
    return V(select)(V(lt)(x, V(zero)()), V(mul)(alpha, V(expm1_negative)(x)), x);
}
NNF_INLINE VT V(elu_grad)(VT y, VT alpha) { return V(select)(V(le)(y, V(zero)()), V(add)(y, alpha), V(set1)(1)); }

/* Klambauer, Unterthiner, Mayr and Hochreiter 2017: elu with these alpha and scale keeps mean 0 and variance 1. */
static const T V(selu_scale) = (T)1.0507009873554804934193349852946, V(selu_low) = (T)1.7580993408473768599402175208123;

NNF_INLINE VT V(selu)(VT x)
{
    const VT scale = V(set1)(V(selu_scale)), low = V(set1)(V(selu_low)); /* scale * alpha */
    return V(select)(V(lt)(x, V(zero)()), V(mul)(low, V(expm1_negative)(x)), V(mul)(scale, x));
}
NNF_INLINE VT V(selu_grad)(VT y)
{
    return V(select)(V(le)(y, V(zero)()), V(add)(y, V(set1)(V(selu_low))), V(set1)(V(selu_scale)));
}

/* log(1 + e^x) = max(x, 0) + log(1 + e^-|x|); its slope 1 / (1 + e^-x) is 1 - e^-y. */
NNF_INLINE VT V(softplus)(VT x)
{
    const VT low = V(set1)(V(exp_low)), down = V(neg)(V(abs)(x));
    const VT e = V(exp_between)(V(select)(V(lt)(down, low), low, down));
    return V(add)(V(zero_where)(V(lt)(x, V(zero)()), x), V(log1p)(e));
}
NNF_INLINE VT V(softplus_grad)(VT y) { return V(neg)(V(expm1_negative)(V(neg)(y))); }

/* (x + 3) / 6 between 0 and 1, as PyTorch and Keras have it. */
NNF_INLINE VT V(hard_sigmoid)(VT x)
{
    const VT one = V(set1)(1), y = V(div)(V(add)(x, V(set1)(3)), V(set1)(6));
    const VT above = V(zero_where)(V(lt)(y, V(zero)()), y);
    return V(select)(V(lt)(one, above), one, above);
}
NNF_INLINE VT V(hard_sigmoid_grad)(VT y)
{
    const VT inside = V(select)(V(lt)(y, V(set1)(1)), V(set1)((T)(1.0 / 6.0)), V(zero)());
    return V(zero_where)(V(le)(y, V(zero)()), inside);
}

/* x / (1 + |x|), whose slope 1 / (1 + |x|)^2 is (1 - |y|)^2. Beyond the largest integers of the type it is 1. */
NNF_INLINE VT V(softsign)(VT x)
{
    const VT high = V(set1)((T)0x1p60);
    VT a = V(abs)(x);
    a = V(select)(V(lt)(high, a), high, a);
    return V(copysign)(V(div)(a, V(add)(V(set1)(1), a)), x);
}
NNF_INLINE VT V(softsign_grad)(VT y)
{
    const VT rest = V(sub)(V(set1)(1), V(abs)(y));
    return V(mul)(rest, rest);
}

/* ---- x times something between 0 and 1 ---- */

/* What silu and mish are made of: e = e^-|x| and te = |x| e^-|x|, each rounded to a subnormal at most once. Returns
 * |x|, clamped where te is 0. */
NNF_INLINE VT V(decay)(VT x, VT *e, VT *te)
{
    const VT high = V(set1)(V(decay_high));
    VT a = V(abs)(x), first, second;
    a = V(select)(V(lt)(high, a), high, a);
    const VT m = V(exp_parts)(V(neg)(a), &first, &second);
    *e = V(mul)(V(mul)(m, first), second);
    *te = V(mul)(V(mul)(V(mul)(m, a), first), second);
    return a;
}

/* x logistic(x): Elfwing, Uchibe and Doya 2018. */
NNF_INLINE VT V(silu)(VT x)
{
    VT e, te;
    V(decay)(x, &e, &te);
    const VT numerator = V(select)(V(lt)(x, V(zero)()), V(neg)(te), x);
    return V(div)(numerator, V(add)(V(set1)(1), e));
}
/* p + x p (1 - p), where p = logistic(x). */
NNF_INLINE VT V(silu_grad)(VT x)
{
    const VT one = V(set1)(1);
    VT e, te;
    V(decay)(x, &e, &te);
    const VT d = V(add)(one, e), p = V(div)(V(select)(V(lt)(x, V(zero)()), e, one), d);
    return V(add)(p, V(copysign)(V(div)(te, V(mul)(d, d)), x));
}

/* tanh(softplus(x)) = n / d with n = e^2x + 2 e^x and d = n + 2, both times e^-2x where x is not negative. */
NNF_INLINE VT V(mish_ratio)(VT x, VT e, VT *n)
{
    const VT one = V(set1)(1), two = V(set1)(2);
    const MT negative = V(lt)(x, V(zero)());
    const VT sum = V(add)(e, two), twice = V(mul)(two, e);
    *n = V(select)(negative, V(mul)(e, sum), V(add)(twice, one));
    return V(fma)(e, V(select)(negative, sum, twice), V(select)(negative, two, *n));
}

/* x tanh(softplus(x)): Misra 2019. Below 0 it is -te (e + 2) / d, whose quotient is 1 - e (e + 1) / d: that errs less
 * where e is small. */
NNF_INLINE VT V(mish)(VT x)
{
    VT e, te, n;
    V(decay)(x, &e, &te);
    const VT d = V(mish_ratio)(x, e, &n);
    const VT one = V(set1)(1), quotient = V(nfma)(e, V(div)(V(add)(e, one), d), one);
    return V(select)(V(lt)(x, V(zero)()), V(mul)(V(neg)(te), quotient), V(mul)(x, V(div)(n, d)));
}
/* n / d + x 4 (1 + e^x)^2 / d^2 logistic(x). */
NNF_INLINE VT V(mish_grad)(VT x)
{
    const VT one = V(set1)(1);
    VT e, te, n;
    V(decay)(x, &e, &te);
    const VT d = V(mish_ratio)(x, e, &n);
    const VT four_te = V(mul)(V(set1)(4), V(mul)(te, V(add)(one, e)));
    const VT bend = V(div)(V(select)(V(lt)(x, V(zero)()), four_te, V(mul)(four_te, e)), V(mul)(d, d));
    return V(add)(V(div)(n, d), V(copysign)(bend, x));
}

/* What gelu is made of: with a = |x|, clamped where the results are 0, e^(-a^2 / 2) as the product of m, first and
 * second, and the share (1 - erf(a / sqrt(2))) / 2 of a normal distribution that lies beyond a, divided by it. The
 * square of a has twice the digits: those that its rounding takes away come back as a factor. */
NNF_INLINE VT V(normal_tail)(VT x, VT *m, VT *first, VT *second, VT *ratio)
{
    const VT high = V(set1)(V(normal_high)), one = V(set1)(1), half = V(set1)((T)0.5);
    VT a = V(abs)(x);
    a = V(select)(V(lt)(high, a), high, a);
    const VT top = V(from_bits)(V(iand)(V(bits)(a), V(iset1)(V(upper_half)))), rest = V(sub)(a, top);
    const VT square = V(mul)(a, a);
    VT low = V(sub)(V(mul)(top, top), square); /* exact, and so are the next two, but for the last bit of `low` */
    low = V(add)(low, V(mul)(V(add)(top, top), rest));
    low = V(add)(low, V(mul)(rest, rest));
    const VT e = V(exp_parts)(V(neg)(V(mul)(half, square)), first, second);
    *m = V(nfma)(V(mul)(half, low), e, e);
    /* u stands for an a that is larger by `off`; the slope of the ratio is a ratio - density_0. */
    const VT quarter = V(mul)(V(set1)((T)0.25), a), s = V(add)(one, quarter), u = V(div)(one, s);
    const VT lost = V(sub)(quarter, V(sub)(s, one));
    const VT off = V(mul)(V(mul)(V(set1)(4), s), V(nfma)(u, lost, V(nfma)(u, s, one)));
    const VT rough = V(mul)(u, V(polynomial)(V(normal_ratio), V(NORMAL_TERMS), V(sub)(u, half)));
    *ratio = V(fma)(V(nfma)(a, rough, V(set1)(V(density_0))), off, rough);
    return a;
}

/* x times the share of a normal distribution below x: Hendrycks and Gimpel 2016, not one of their approximations. */
NNF_INLINE VT V(gelu)(VT x)
{
    VT m, first, second, ratio;
    const VT a = V(normal_tail)(x, &m, &first, &second, &ratio), tail = V(mul)(m, ratio);
    const VT below = V(neg)(V(mul)(V(mul)(V(mul)(tail, a), first), second));
    const VT share = V(sub)(V(set1)(1), V(mul)(V(mul)(tail, first), second));
    return V(select)(V(lt)(x, V(zero)()), below, V(mul)(x, share));
}
/* The share below x, and x times the density there. */
NNF_INLINE VT V(gelu_grad)(VT x)
{
    VT m, first, second, ratio;
    const VT a = V(normal_tail)(x, &m, &first, &second, &ratio);
    const VT tail = V(mul)(V(mul)(V(mul)(m, ratio), first), second);
    const VT rise = V(mul)(V(mul)(V(mul)(V(mul)(m, V(set1)(V(density_0))), a), first), second);
    const VT share = V(select)(V(lt)(x, V(zero)()), tail, V(sub)(V(set1)(1), tail));
    return V(add)(share, V(copysign)(rise, x));
}
