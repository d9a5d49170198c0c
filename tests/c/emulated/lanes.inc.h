/*
 * lanes.inc.h: the intrinsics of one element type. The includer defines, and this file undefines, T and VT, its vector;
 * MASK and UINT, an unsigned integer of its width; LANES; OP(name), OP_MASK(name) and OP_INT(name), the names of
 * intrinsics; TO_INT, FROM_INT, SHUFFLE_QUARTERS; FMA and SQRT.
 */

typedef UINT OP_INT(lanes) __attribute__((vector_size(64)));

/* ---- memory, and one value in all lanes ---- */

EMULATED VT OP(loadu)(const void *p)
{
    VT v;
    memcpy(&v, p, sizeof v);
    return v;
}

EMULATED void OP(storeu)(void *p, VT v)
{
    memcpy(p, &v, sizeof v);
}

/* Other lanes are not touched: a page beyond them may not be there. */
EMULATED VT OP(maskz_loadu)(MASK mask, const void *p)
{
    VT v = {0};
    for (int i = 0; i < LANES; i++)
        if (mask >> i & 1)
            v[i] = ((const T *)p)[i];
    return v;
}

EMULATED void OP(mask_storeu)(void *p, MASK mask, VT v)
{
    for (int i = 0; i < LANES; i++)
        if (mask >> i & 1)
            ((T *)p)[i] = v[i];
}

EMULATED VT OP(set1)(T x)
{
    VT v;
    for (int i = 0; i < LANES; i++)
        v[i] = x;
    return v;
}

EMULATED VT OP(setzero)(void) { return OP(set1)(0); }

/* ---- arithmetic ---- */

EMULATED VT OP(add)(VT a, VT b) { return a + b; }
EMULATED VT OP(sub)(VT a, VT b) { return a - b; }
EMULATED VT OP(mul)(VT a, VT b) { return a * b; }
EMULATED VT OP(div)(VT a, VT b) { return a / b; }

EMULATED VT OP(sqrt)(VT a)
{
    for (int i = 0; i < LANES; i++)
        a[i] = SQRT(a[i]);
    return a;
}

EMULATED VT OP(fmadd)(VT a, VT b, VT c)
{
    for (int i = 0; i < LANES; i++)
        a[i] = FMA(a[i], b[i], c[i]);
    return a;
}

EMULATED VT OP(fnmadd)(VT a, VT b, VT c) { return OP(fmadd)(-a, b, c); }

EMULATED VT OP(max)(VT a, VT b)
{
    for (int i = 0; i < LANES; i++)
        a[i] = a[i] > b[i] ? a[i] : b[i];
    return a;
}

/* ---- comparisons ---- */

EMULATED MASK OP_MASK(cmp)(VT a, VT b, int comparison)
{
    unsigned mask = 0;
    for (int i = 0; i < LANES; i++) {
        const int results[] = {
            [_CMP_EQ_OQ] = a[i] == b[i],
            [_CMP_LT_OQ] = a[i] < b[i],
            [_CMP_LE_OQ] = a[i] <= b[i],
            [_CMP_UNORD_Q] = a[i] != a[i] || b[i] != b[i],
        };
        mask |= (unsigned)results[comparison] << i;
    }
    return (MASK)mask;
}

EMULATED VT OP(mask_blend)(MASK mask, VT a, VT b)
{
    for (int i = 0; i < LANES; i++)
        if (mask >> i & 1)
            a[i] = b[i];
    return a;
}

/* ---- bits ---- */

EMULATED __m512i TO_INT(VT a) { return (__m512i)a; }
EMULATED VT FROM_INT(__m512i a) { return (VT)a; }
EMULATED VT OP(and)(VT a, VT b) { return (VT)((__m512i)a & (__m512i)b); }
EMULATED VT OP(andnot)(VT a, VT b) { return (VT)(~(__m512i)a & (__m512i)b); }
EMULATED VT OP(or)(VT a, VT b) { return (VT)((__m512i)a | (__m512i)b); }
EMULATED VT OP(xor)(VT a, VT b) { return (VT)((__m512i)a ^ (__m512i)b); }

EMULATED __m512i OP_INT(set1)(int64_t x)
{
    OP_INT(lanes) v;
    for (int i = 0; i < LANES; i++)
        v[i] = (UINT)x;
    return (__m512i)v;
}

EMULATED __m512i OP_INT(add)(__m512i a, __m512i b) { return (__m512i)((OP_INT(lanes))a + (OP_INT(lanes))b); }
EMULATED __m512i OP_INT(sub)(__m512i a, __m512i b) { return (__m512i)((OP_INT(lanes))a - (OP_INT(lanes))b); }
EMULATED __m512i OP_INT(mullo)(__m512i a, __m512i b) { return (__m512i)((OP_INT(lanes))a * (OP_INT(lanes))b); }
EMULATED __m512i OP_INT(slli)(__m512i a, unsigned count) { return (__m512i)((OP_INT(lanes))a << count); }
EMULATED __m512i OP_INT(srli)(__m512i a, unsigned count) { return (__m512i)((OP_INT(lanes))a >> count); }

/* ---- lanes in another order: within quarters of the vector, and whole quarters ---- */

EMULATED VT OP(unpacklo)(VT a, VT b)
{
    VT v;
    for (int i = 0; i < LANES; i++) {
        const int quarter = i / (LANES / 4) * (LANES / 4), place = i % (LANES / 4);
        v[i] = (place % 2 == 0 ? a : b)[quarter + place / 2];
    }
    return v;
}

EMULATED VT OP(unpackhi)(VT a, VT b)
{
    VT v;
    for (int i = 0; i < LANES; i++) {
        const int quarter = i / (LANES / 4) * (LANES / 4), place = i % (LANES / 4);
        v[i] = (place % 2 == 0 ? a : b)[quarter + LANES / 8 + place / 2];
    }
    return v;
}

EMULATED VT SHUFFLE_QUARTERS(VT a, VT b, int order)
{
    VT v;
    for (int i = 0; i < LANES; i++) {
        const int to = i / (LANES / 4), from = order >> 2 * to & 3;
        v[i] = (to < 2 ? a : b)[from * (LANES / 4) + i % (LANES / 4)];
    }
    return v;
}

#undef T
#undef VT
#undef MASK
#undef UINT
#undef LANES
#undef OP
#undef OP_MASK
#undef OP_INT
#undef TO_INT
#undef FROM_INT
#undef SHUFFLE_QUARTERS
#undef FMA
#undef SQRT
