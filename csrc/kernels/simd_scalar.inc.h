/*
 * simd_scalar.inc.h: the functions of simd_scalar.h for one element type. The includer defines, and this file
 * undefines, T (float, double), INT and UINT (integers as wide), SIGN_BIT, SQRT and V(name), which adds the prefix.
 */
typedef T V(v);
typedef int V(m);
typedef UINT V(i);

NNF_INLINE V(v) V(zero)(void) { return 0; }
NNF_INLINE V(v) V(set1)(T x) { return x; }
NNF_INLINE V(v) V(load)(const T *p) { return *p; }
NNF_INLINE void V(store)(T *p, V(v) v) { *p = v; }
NNF_INLINE V(v) V(load_n)(const T *p, nnf_index n) { return n > 0 ? *p : 0; }
NNF_INLINE void V(store_n)(T *p, V(v) v, nnf_index n)
{
    if (n > 0)
        *p = v;
}

NNF_INLINE V(v) V(add)(V(v) a, V(v) b) { return a + b; }
NNF_INLINE V(v) V(sub)(V(v) a, V(v) b) { return a - b; }
NNF_INLINE V(v) V(mul)(V(v) a, V(v) b) { return a * b; }
NNF_INLINE V(v) V(div)(V(v) a, V(v) b) { return a / b; }
NNF_INLINE V(v) V(sqrt)(V(v) a) { return SQRT(a); }
NNF_INLINE V(v) V(fma)(V(v) a, V(v) b, V(v) c) { return a * b + c; }
NNF_INLINE V(v) V(nfma)(V(v) a, V(v) b, V(v) c) { return c - a * b; }

typedef union V(pun) {
    T value;
    UINT bits;
} V(pun);

NNF_INLINE V(i) V(bits)(V(v) a) { return (V(pun)){.value = a}.bits; }
NNF_INLINE V(v) V(from_bits)(V(i) a) { return (V(pun)){.bits = a}.value; }
NNF_INLINE V(i) V(iset1)(INT x) { return (UINT)x; }
NNF_INLINE V(i) V(iadd)(V(i) a, V(i) b) { return a + b; }
NNF_INLINE V(i) V(isub)(V(i) a, V(i) b) { return a - b; }
NNF_INLINE V(i) V(iand)(V(i) a, V(i) b) { return a & b; }
NNF_INLINE V(i) V(ixor)(V(i) a, V(i) b) { return a ^ b; }
NNF_INLINE V(i) V(imul)(V(i) a, V(i) b) { return a * b; }
NNF_INLINE V(i) V(ishl)(V(i) a, int count) { return a << count; }
NNF_INLINE V(i) V(ishr)(V(i) a, int count) { return a >> count; }

NNF_INLINE V(v) V(neg)(V(v) a) { return -a; }
NNF_INLINE V(v) V(abs)(V(v) a) { return V(from_bits)(V(bits)(a) & ~SIGN_BIT); }
NNF_INLINE V(v) V(copysign)(V(v) a, V(v) b)
{
    return V(from_bits)((V(bits)(a) & ~SIGN_BIT) | (V(bits)(b) & SIGN_BIT));
}

NNF_INLINE V(m) V(lt)(V(v) a, V(v) b) { return a < b; }
NNF_INLINE V(m) V(le)(V(v) a, V(v) b) { return a <= b; }
NNF_INLINE V(m) V(eq)(V(v) a, V(v) b) { return a == b; }
NNF_INLINE V(m) V(isnan)(V(v) a) { return a != a; }
NNF_INLINE V(v) V(select)(V(m) m, V(v) a, V(v) b) { return m ? a : b; }
NNF_INLINE V(v) V(zero_where)(V(m) m, V(v) a) { return m ? 0 : a; }
NNF_INLINE V(v) V(max)(V(v) a, V(v) b) { return a < b ? b : a; }

NNF_INLINE void V(transpose)(V(v) r[1]) { (void)r; }

#undef T
#undef INT
#undef UINT
#undef SIGN_BIT
#undef SQRT
#undef V
