/*
 * dropout.inc.h: which units of a row are dropped. The random numbers are counted, not drawn in turn: that of a unit is
 * a function of the row's key and the unit's number alone, the same for every instruction set, type and thread.
 */

#if NNF_F32
/* out[j] = a number in [1, 2), in steps of 2^-23, for the units first + j. The unit's number, spread by the golden
 * ratio, passes through the mixer "lowbias32" of C. Wellons, Prospecting for hash functions (2018); one half of the key
 * goes in before it, the other between its two products. */
static void f32_uniform(nnf_index n, float *out, nnf_index first, uint64_t key)
{
    static const int32_t steps[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const IT spread = V(iset1)((int32_t)0x9e3779b9u), one = V(iset1)(V(one_bits));
    const IT before = V(iset1)((int32_t)(uint32_t)key), between = V(iset1)((int32_t)(uint32_t)(key >> 32));
    const IT lane = V(bits)(V(load)((const float *)(const void *)steps));
    for (nnf_index j = 0; j < n; j += LANES) {
        IT x = V(iadd)(lane, V(iset1)((int32_t)(uint32_t)(first + j)));
        x = V(iadd)(V(imul)(x, spread), before);
        x = V(imul)(V(ixor)(x, V(ishr)(x, 16)), V(iset1)(0x7feb352d));
        x = V(iadd)(x, between);
        x = V(imul)(V(ixor)(x, V(ishr)(x, 15)), V(iset1)((int32_t)0x846ca68bu));
        x = V(ixor)(x, V(ishr)(x, 16));
        V(store_n)(out + j, V(from_bits)(V(iadd)(V(ishr)(x, 9), one)), nnf_min(n - j, LANES));
    }
}
#endif

static void V(dropout)(nnf_index n, void *out, void *slope, nnf_index first, double rate, uint64_t key)
{
    enum { CHUNK = 64 };
    const VT threshold = V(set1)((T)(float)(1 + rate)), kept = V(set1)((T)(1 / (1 - rate)));
    for (nnf_index j = 0; j < n; j += CHUNK) {
        const nnf_index count = nnf_min(n - j, CHUNK);
        float drawn[CHUNK];
        f32_uniform(count, drawn, first + j, key);
#if NNF_F32
        const T *u = drawn;
#else
        T u[CHUNK];
        for (nnf_index i = 0; i < count; i++)
            u[i] = (T)drawn[i];
#endif
        for (nnf_index i = 0; i < count; i += LANES) {
            const nnf_index lanes = nnf_min(count - i, LANES);
            T *y = (T *)out + j + i, *s = (T *)slope + j + i;
            const VT factor = V(zero_where)(V(lt)(V(load_n)(u + i, lanes), threshold), kept);
            V(store_n)(y, V(mul)(V(load_n)(y, lanes), factor), lanes);
            V(store_n)(s, V(mul)(V(load_n)(s, lanes), factor), lanes);
        }
    }
}
