/*
 * peak.inc.h: the multiply-adds of peak.c for one element type. The includer defines, and this file undefines, T, LANES
 * and V(name), which adds the prefix of the vector functions.
 *
 * As many chains as a tile of the matrix kernel has accumulators: they hide the latency of an FMA (4 cycles x 2 units:
 * at least 8) and fit the registers; a round is an FMA a chain, without a stack access. The accumulator is a factor,
 * not the term: where an FMA is a product and a sum, no product can be taken out of the loop. Each chain has a start of
 * its own, or the compiler would see that all are one.
 */
enum { V(HEIGHT) = NNF_TILE_ACCUMULATORS / NNF_TILE_VECTORS };

static double V(run)(nnf_index rounds, double factor, double term)
{
    const V(v) vfactor = V(set1)((T)factor), vterm = V(set1)((T)term);
    V(v) vacc[V(HEIGHT)][NNF_TILE_VECTORS];
    NNF_UNROLL
    for (int r = 0; r < V(HEIGHT); r++) {
        NNF_UNROLL
        for (int v = 0; v < NNF_TILE_VECTORS; v++)
            vacc[r][v] = V(set1)((T)(r * NNF_TILE_VECTORS + v));
    }
    for (nnf_index i = 0; i < rounds; i++) {
        NNF_UNROLL
        for (int r = 0; r < V(HEIGHT); r++) {
            NNF_UNROLL
            for (int v = 0; v < NNF_TILE_VECTORS; v++)
                vacc[r][v] = V(fma)(vacc[r][v], vfactor, vterm);
        }
    }
    V(v) vsum = V(zero)();
    NNF_UNROLL
    for (int r = 0; r < V(HEIGHT); r++) {
        NNF_UNROLL
        for (int v = 0; v < NNF_TILE_VECTORS; v++)
            vsum = V(add)(vsum, vacc[r][v]);
    }
    T lanes[LANES];
    V(store)(lanes, vsum);
    return (double)lanes[0];
}

#undef T
#undef LANES
#undef V
