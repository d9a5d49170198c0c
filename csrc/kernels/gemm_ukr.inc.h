/*
 * gemm_ukr.inc.h: the matrix micro-kernel, written once for every ISA and type, the slices that it may read of A, and
 * the tiling of a panel, or of a few, with it; then the products with few columns, and with a sparse matrix.
 *
 * A tile holds `height` x `vectors` accumulators in registers. Each element of C is ONE chain of fused multiply-adds in
 * k order that starts from zero, the bias or C itself; so its bits depend neither on the tile it falls in nor on how k
 * is cut into calls. The accumulators must hide the latency of an FMA (NNF_CHAINS: at least 8) and fit the registers
 * beside one row of B and one broadcast element of A (24 of 32 registers, 12 of 16).
 *
 * Functions with constant arguments are inlined and specialised; the loop over k of a 6 x 4 tile is 4 loads of B and 6
 * times (broadcast, 4 FMA), without a stack access.
 */

enum { V(MAX_HEIGHT) = 12 };

/* How the operands of a dense product lie: A in rows, B in panels of whole vectors; A in rows, B exact; A in slices. */
enum { V(WHOLE_ROWS), V(EXACT_ROWS), V(SLICES), V(FORMS) };

/* Rows of A in a full slice, as many as a tile of all vectors has. */
enum { V(SLICE) = NNF_TILE_ACCUMULATORS / NNF_TILE_VECTORS };
_Static_assert((int)V(SLICE) <= 6, "slice_columns knows the lower ones");

/* Rows of the next tile when `left` remain and `most` fit the registers: full tiles, and a last pair split evenly,
 * since a tile of one or two rows takes as long as one of four. */
NNF_INLINE nnf_index V(next_height)(nnf_index left, nnf_index most)
{
    nnf_index height = left > most && left < 2 * most ? (left + 1) / 2 : nnf_min(left, most);
    return height >= 12 ? 12 : height >= 8 ? 8 : nnf_min(height, 6);
}

/* Rows of the next slice when `left` remain of a block of NNF_BLOCK_ROWS. */
NNF_INLINE nnf_index V(slice_height)(nnf_index left)
{
    return V(next_height)(left, V(SLICE));
}

/* `count` slices of this height, side by side. */
NNF_INLINE void V(cut_columns)(int height, nnf_index count, nnf_index k, T *slices, nnf_index depth,
                               const void *const *a, nnf_index first)
{
    for (nnf_index p = 0; p < k; p++) {
        const T *from = (const T *)a[p] + first;
        T *to = slices + p * height;
        for (nnf_index s = 0; s < count; s++, from += height, to += height * depth)
            memcpy(to, from, (size_t)height * sizeof(T)); /* the height is a constant: a few moves, no call */
    }
}

static void V(slice_columns)(nnf_index m, nnf_index k, void *slices, nnf_index depth, const void *const *a,
                             nnf_index first)
{
    const nnf_index left = m % NNF_BLOCK_ROWS, uneven = left % V(SLICE) != 0 && left > V(SLICE);
    const nnf_index full = m / NNF_BLOCK_ROWS * (NNF_BLOCK_ROWS / V(SLICE)) + left / V(SLICE) - uneven;
    if (full > 0)
        V(cut_columns)(V(SLICE), full, k, (T *)slices, depth, a, first);
    for (nnf_index i = full * V(SLICE), height; i < m; i += height) { /* the last two */
        height = V(slice_height)(m - i);
        T *to = (T *)slices + i * depth;
        switch (height) {
        case 1: V(cut_columns)(1, 1, k, to, depth, a, first + i); break;
        case 2: V(cut_columns)(2, 1, k, to, depth, a, first + i); break;
        case 3: V(cut_columns)(3, 1, k, to, depth, a, first + i); break;
        case 4: V(cut_columns)(4, 1, k, to, depth, a, first + i); break;
        case 5: V(cut_columns)(5, 1, k, to, depth, a, first + i); break;
        default: V(cut_columns)(V(SLICE), 1, k, to, depth, a, first + i); break;
        }
    }
}

/* Whole vectors are stored, of which the next column of the slice overwrites what is too much; hence the order, and the
 * vector that `slices` has room for beyond its end. */
static void V(slice_rows)(nnf_index m, nnf_index k, void *slices, nnf_index depth, const void *const *a,
                          nnf_index first)
{
    for (nnf_index i = 0, height; i < m; i += height) {
        height = V(slice_height)(nnf_min(m - i, NNF_BLOCK_ROWS - i % NNF_BLOCK_ROWS));
        for (nnf_index p = 0; p < k; p += LANES) {
            const nnf_index count = nnf_min(k - p, LANES);
            for (nnf_index begin = (height - 1) / LANES * LANES; begin >= 0; begin -= LANES) {
                T *to = (T *)slices + i * depth + p * height + begin;
                VT block[LANES];
                NNF_UNROLL
                for (nnf_index r = 0; r < LANES; r++) {
                    const T *from = (const T *)a[i + nnf_min(begin + r, height - 1)] + first + p;
                    block[r] = count == LANES ? V(load)(from) : V(load_n)(from, count);
                }
                V(transpose)(block);
                NNF_UNROLL
                for (nnf_index c = 0; c < LANES; c++)
                    if (c < count)
                        V(store)(to + c * height, block[c]);
            }
        }
    }
}

/* Valid lanes of the last vector of a row. */
NNF_INLINE nnf_index V(last_lanes)(int vectors, const nnf_gemm *g)
{
    return g->n - (vectors - 1) * LANES;
}

/* Masked stores are slow on some CPUs (AVX2 on Zen): only where they must be. */
NNF_INLINE int V(c_masked)(int vectors, const nnf_gemm *g)
{
    return g->c_exact && V(last_lanes)(vectors, g) != LANES;
}

/* The accumulators of a tile of C before the first term; c is where it begins. */
NNF_INLINE void V(start_tile)(int height, int vectors, const nnf_gemm *g, const T *c, VT vacc[][NNF_CHAINS])
{
    const nnf_index last = V(last_lanes)(vectors, g), ldc = g->ldc;
    const int c_masked = V(c_masked)(vectors, g);
    NNF_UNROLL
    for (int v = 0; v < vectors; v++) {
        VT vbias = V(zero)();
        if (g->start == NNF_FROM_BIAS) {
            const T *bias = (const T *)g->bias + v * LANES;
            vbias = v == vectors - 1 ? V(load_n)(bias, last) : V(load)(bias);
        }
        NNF_UNROLL
        for (int r = 0; r < height; r++)
            vacc[r][v] = vbias;
    }
    if (g->start == NNF_FROM_C) {
        NNF_UNROLL
        for (int r = 0; r < height; r++, c += ldc) {
            NNF_UNROLL
            for (int v = 0; v < vectors; v++)
                vacc[r][v] = c_masked && v == vectors - 1 ? V(load_n)(c + v * LANES, last) : V(load)(c + v * LANES);
        }
    }
}

/* Whether the epilogue is done in registers: relu and its slope are shorter than to read the tile once more. Steps of
 * 20-64-64-1 take 5 to 6 % less so, of 30-100-1 10 %, predictions 7 to 12 % (Zen 3). The code grows by a fifth; so not
 * with slices, which no layer uses. */
NNF_INLINE int V(in_registers)(const nnf_gemm *g)
{
    return g->epilogue != NNF_STORE && g->activation == NNF_RELU && g->slices == NULL;
}

/* relu, or C times its slope: rows i .. i + height - 1. */
NNF_INLINE void V(rectify_tile)(int height, int vectors, const nnf_gemm *g, nnf_index i, VT vacc[][NNF_CHAINS])
{
    const nnf_index last = V(last_lanes)(vectors, g), ldv = g->ldv;
    const int c_masked = V(c_masked)(vectors, g);
    if (g->epilogue == NNF_ACTIVATE) {
        NNF_UNROLL
        for (int r = 0; r < height; r++) {
            NNF_UNROLL
            for (int v = 0; v < vectors; v++)
                vacc[r][v] = V(relu)(vacc[r][v]);
        }
        return;
    }
    const T *value = (const T *)g->value + i * ldv;
    NNF_UNROLL
    for (int r = 0; r < height; r++, value += ldv) {
        NNF_UNROLL
        for (int v = 0; v < vectors; v++) {
            const T *y = value + v * LANES;
            const VT vy = c_masked && v == vectors - 1 ? V(load_n)(y, last) : V(load)(y);
            vacc[r][v] = V(mul)(vacc[r][v], V(relu_grad)(vy));
        }
    }
}

/* And after the last one. The row distance is read once: a store to C might change it where it lies. */
NNF_INLINE void V(store_tile)(int height, int vectors, int form, const nnf_gemm *g, nnf_index i,
                              VT vacc[][NNF_CHAINS])
{
    const nnf_index last = V(last_lanes)(vectors, g), ldc = g->ldc;
    const int c_masked = V(c_masked)(vectors, g);
    T *c = (T *)g->c + i * ldc;
    if (form != (int)V(SLICES) && V(in_registers)(g))
        V(rectify_tile)(height, vectors, g, i, vacc);
    NNF_UNROLL
    for (int r = 0; r < height; r++, c += ldc) {
        NNF_UNROLL
        for (int v = 0; v < vectors; v++) {
            if (c_masked && v == vectors - 1)
                V(store_n)(c + v * LANES, vacc[r][v], last);
            else
                V(store)(c + v * LANES, vacc[r][v]);
        }
    }
}

/* Asks for the lines of a tile of C, which is written when its chains have ended. In training another thread read them
 * in the step before, for dW, and has to give them back: stores alone would wait for that. On two Zen 3 cores with
 * caches far apart (0.47 us there and back) steps of 20-64-64-1 with 256 rows take 5 to 28 % less so, near each other
 * (0.1 us) 1 to 4 %; those of one thread the same. */
NNF_INLINE void V(claim_tile)(int height, int vectors, const T *c, nnf_index ldc)
{
    enum { IN_LINE = 64 / sizeof(VT) };
    NNF_UNROLL
    for (int r = 0; r < height; r++, c += ldc) {
        NNF_UNROLL
        for (int v = 0; v < vectors; v += IN_LINE)
            nnf_prefetch_to_write(c + v * LANES);
    }
}

/* One term of each chain, that of A's column p. `a` points to the rows of A, or to slices of `in_slice` rows; b to a
 * row of B, or to that of the first of its panels, which are `panel_size` apart. */
NNF_INLINE void V(add_products)(int height, int vectors, int form, int in_slice, nnf_index last, const T *const a[],
                                nnf_index p, const T *b, nnf_index panel_size, VT vacc[][NNF_CHAINS])
{
    const int exact = form == (int)V(EXACT_ROWS), in_panel = form == (int)V(WHOLE_ROWS) ? NNF_TILE_VECTORS : vectors;
    VT vb[NNF_CHAINS];
    NNF_UNROLL
    for (int v = 0; v < vectors; v++) {
        const T *from = b + v / in_panel * panel_size + v % in_panel * LANES;
        vb[v] = exact && v == vectors - 1 ? V(load_n)(from, last) : V(load)(from);
    }
    NNF_UNROLL
    for (int r = 0; r < height; r++) {
        VT va = V(set1)(form == (int)V(SLICES) ? a[r / in_slice][p * in_slice + r % in_slice] : a[r][p]);
        NNF_UNROLL
        for (int v = 0; v < vectors; v++)
            vacc[r][v] = V(fma)(va, vb[v], vacc[r][v]);
    }
}

/* C rows i .. i + height - 1, all columns given. */
NNF_INLINE void V(tile)(int height, int vectors, int form, const nnf_gemm *g, nnf_index i)
{
    const nnf_index last = V(last_lanes)(vectors, g), ldb = g->ldb, panel_size = g->panel_size, k = g->k;
    const T *b = (const T *)g->b;
    T *c = (T *)g->c + i * g->ldc;
    VT vacc[V(MAX_HEIGHT)][NNF_CHAINS];
    if (form != (int)V(SLICES)) /* dW is the thread's own, a public C fetched ahead */
        V(claim_tile)(height, vectors, c, g->ldc);
    V(start_tile)(height, vectors, g, c, vacc);

    const T *a[V(MAX_HEIGHT)];
    if (form == (int)V(SLICES)) {
        const int in_slice = height > V(SLICE) ? V(SLICE) : height; /* or it is two slices */
        a[0] = (const T *)g->slices + i * g->depth + g->a_first * in_slice;
        a[1] = a[0] + in_slice * g->depth;
        nnf_index p = 0;
        for (; p + NNF_TILE_STEPS <= k; p += NNF_TILE_STEPS) {
            NNF_UNROLL
            for (int u = 0; u < NNF_TILE_STEPS; u++, b += ldb)
                V(add_products)(height, vectors, form, in_slice, last, a, u, b, panel_size, vacc);
            a[0] += NNF_TILE_STEPS * in_slice;
            a[1] += NNF_TILE_STEPS * in_slice;
        }
        for (; p < k; p++, a[0] += in_slice, a[1] += in_slice, b += ldb)
            V(add_products)(height, vectors, form, in_slice, last, a, 0, b, panel_size, vacc);
    } else {
        NNF_UNROLL
        for (int r = 0; r < height; r++)
            a[r] = (const T *)g->a[i + r] + g->a_first;
        for (nnf_index p = 0; p < k; p++, b += ldb)
            V(add_products)(height, vectors, form, height, last, a, p, b, panel_size, vacc);
    }
    V(store_tile)(height, vectors, form, g, i, vacc);
}

/* C row i from a sparse row of A: the same chain without the terms that are 0, and so the same sum. */
NNF_INLINE void V(sparse_tile)(int vectors, const nnf_gemm *g, nnf_index i)
{
    const nnf_index last = V(last_lanes)(vectors, g);
    const nnf_sparse_row row = g->sparse[i];
    const T *values = (const T *)row.values;
    T *c = (T *)g->c + i * g->ldc;
    VT vacc[1][NNF_CHAINS];
    V(start_tile)(1, vectors, g, c, vacc);
    for (nnf_index p = 0; p < row.count; p++) {
        const T *b = (const T *)g->b + row.indices[p] * g->ldb;
        VT va = V(set1)(values[p]);
        NNF_UNROLL
        for (int v = 0; v < vectors; v++) {
            VT vb = g->b_exact && v == vectors - 1 ? V(load_n)(b + v * LANES, last) : V(load)(b + v * LANES);
            vacc[0][v] = V(fma)(va, vb, vacc[0][v]);
        }
    }
    V(store_tile)(1, vectors, (int)V(WHOLE_ROWS), g, i, vacc);
}

/* The tile just stored is in the first-level cache: finish it there. Padding may be finished too. */
static void V(finish_tile)(const nnf_gemm *g, nnf_index i, nnf_index height)
{
    const nnf_index n = g->c_exact ? g->n : (g->n + LANES - 1) / LANES * LANES;
    T *c = (T *)g->c + i * g->ldc;
    if (g->epilogue == NNF_ACTIVATE)
        V(activate)(g->activation, g->argument, height, n, c, c, g->ldc);
    else
        V(derive)(g->activation, g->argument, height, n, c, c, g->ldc, (const T *)g->value + i * g->ldv, g->ldv);
}

/* All rows of C from sparse rows of A, one at a time. */
static void V(sparse_rows)(nnf_index vectors, const nnf_gemm *g)
{
    for (nnf_index i = 0; i < g->m; i++) {
        switch (vectors) {
        case 1: V(sparse_tile)(1, g, i); break;
        case 2: V(sparse_tile)(2, g, i); break;
        case 3: V(sparse_tile)(NNF_TILE_VECTORS < 3 ? NNF_TILE_VECTORS : 3, g, i); break;
        default: V(sparse_tile)(NNF_TILE_VECTORS, g, i); break;
        }
        if (g->epilogue != NNF_STORE && !V(in_registers)(g))
            V(finish_tile)(g, i, 1);
    }
}

/* Which tiles there are. Up to 3 rows of A may meet more vectors than a panel has, of whole panels or of a B in plain
 * rows: see nnf_columns_at_once. Of slices there is one, or two full ones. */
NNF_INLINE int V(fits)(int rows, int vectors, int form)
{
    const int chains = rows * vectors, whole = vectors % NNF_TILE_VECTORS == 0;
    const int wide = chains < NNF_CHAINS + rows && (whole || form != (int)V(WHOLE_ROWS));
    if (form == (int)V(SLICES) && rows > V(SLICE) && rows != 2 * V(SLICE))
        return 0;
    return chains <= NNF_TILE_ACCUMULATORS && (vectors <= NNF_TILE_VECTORS || wide);
}

/* A function for each tile. Not inlined into one another: sharing registers with its caller, the loop over k would keep
 * half of its row pointers in memory, which costs 7 % (gcc 12).
 *
 *      TILE(6, 4, SLICES)    static void f32_tile_6_4_SLICES(const nnf_gemm *g, nnf_index i)
 */
#define TILE(rows, vectors, form)                                                                                   \
    static void V(tile_##rows##_##vectors##_##form)(const nnf_gemm *g, nnf_index i)                                 \
    {                                                                                                               \
        if (V(fits)(rows, vectors, V(form)))                                                                        \
            V(tile)(rows, vectors, (int)V(form), g, i);                                                             \
    }
#define HEIGHTS(X, vectors, form)                                                                                   \
    X(1, vectors, form) X(2, vectors, form) X(3, vectors, form) X(4, vectors, form)                                 \
    X(5, vectors, form) X(6, vectors, form) X(8, vectors, form) X(12, vectors, form)
#define TILES(X, form)                                                                                              \
    HEIGHTS(X, 1, form) HEIGHTS(X, 2, form) HEIGHTS(X, 3, form) HEIGHTS(X, 4, form)                                 \
    X(1, 5, form) X(1, 6, form) X(1, 7, form) X(1, 8, form)
TILES(TILE, WHOLE_ROWS) TILES(TILE, EXACT_ROWS) TILES(TILE, SLICES)
#undef TILE

typedef void V(tile_function)(const nnf_gemm *g, nnf_index i);

#define TILE(rows, vectors, form) [V(form)][vectors][rows] = V(tile_##rows##_##vectors##_##form),
static V(tile_function) *const V(tiles)[V(FORMS)][NNF_CHAINS + 1][V(MAX_HEIGHT) + 1] = {
    TILES(TILE, WHOLE_ROWS) TILES(TILE, EXACT_ROWS) TILES(TILE, SLICES)
};
#undef TILE
#undef TILES
#undef HEIGHTS

/* A tile, and what is to follow it. */
NNF_INLINE void V(run_tile)(V(tile_function) *tile, const nnf_gemm *g, nnf_index i, nnf_index height)
{
    tile(g, i);
    if (g->epilogue != NNF_STORE && !V(in_registers)(g))
        V(finish_tile)(g, i, height);
}

/* Fetches what is needed after the tile of rows i .. i + height - 1, while that runs: the next rows of C, for which the
 * accumulators would wait, and a share of the next panel of B. Inlined, since gcc 12 takes a function that only fetches
 * for one without effect, and leaves out its calls. */
NNF_INLINE void V(fetch_ahead)(const nnf_gemm *g, nnf_index i, nnf_index height)
{
    enum { LINE = 64 / sizeof(T) };
    const nnf_index next = i + height, end = nnf_min(g->m, next + height), size = g->k * g->ldb;
    const T *c = (const T *)g->c + next * g->ldc, *b = (const T *)g->next_b;
    for (nnf_index r = next; r < end; r++, c += g->ldc) {
        for (nnf_index j = 0; j < g->n; j += LINE)
            nnf_prefetch(c + j);
        nnf_prefetch(c + g->n - 1); /* a row seldom begins a line */
    }
    for (nnf_index e = size * i / g->m; e < size * next / g->m; e += LINE)
        nnf_prefetch(b + e);
}

static void V(gemm)(const nnf_gemm *g)
{
    const nnf_index vectors = (g->n + LANES - 1) / LANES, most = NNF_TILE_ACCUMULATORS / vectors;
    if (g->sparse != NULL) {
        V(sparse_rows)(vectors, g);
    } else if (g->slices == NULL) {
        V(tile_function) *const *tile = V(tiles)[g->b_exact ? V(EXACT_ROWS) : V(WHOLE_ROWS)][vectors];
        for (nnf_index i = 0, height; i < g->m; i += height) {
            height = V(next_height)(g->m - i, most);
            V(run_tile)(tile[height], g, i, height);
        }
    } else {
        V(tile_function) *const *tile = V(tiles)[V(SLICES)][vectors];
        for (nnf_index block = 0; block < g->m; block += NNF_BLOCK_ROWS) {
            const nnf_index end = nnf_min(g->m, block + NNF_BLOCK_ROWS);
            for (nnf_index i = block, height; i < end; i += height) {
                height = V(slice_height)(end - i);
                if (2 * V(SLICE) <= most && end - i >= V(SLICE) && V(slice_height)(end - i - V(SLICE)) == V(SLICE))
                    height = 2 * V(SLICE); /* two slices meet few vectors together */
                if (g->next_b != NULL)
                    V(fetch_ahead)(g, i, height);
                V(run_tile)(tile[height], g, i, height);
            }
        }
    }
}

/* LANES rows of A are a group: a vector has one element of each. So many groups at most go side by side; of 16 rows
 * one, whose 64 shuffles take as long as its chain of 16 FMAs. */
enum { V(FEW_GROUPS) = LANES < 16 ? 2 : 1 };

/* Adds to the sums of rows i .. i + rows - 1 for n columns what `count` columns of A from p on give: their elements are
 * transposed, so that a vector holds one column of a group. With n = 1 that is 64 shuffles and 16 FMAs for 16 x 16
 * elements, where a tile with its columns in the lanes takes 256 FMAs. */
NNF_INLINE void V(few_block)(int n, int groups, const nnf_gemm *g, nnf_index i, nnf_index rows, nnf_index p,
                             nnf_index count, VT (*sums)[NNF_FEW_COLUMNS])
{
    const T *const *a = (const T *const *)(const void *)g->a;
    const T *b = (const T *)g->b + p;
    NNF_UNROLL
    for (int h = 0; h < groups; h++) {
        VT block[LANES];
        NNF_UNROLL
        for (int r = 0; r < LANES; r++) {
            const T *from = a[i + nnf_min(h * LANES + r, rows - 1)] + g->a_first + p;
            block[r] = count == LANES ? V(load)(from) : V(load_n)(from, count);
        }
        V(transpose)(block);
        NNF_UNROLL
        for (int q = 0; q < LANES; q++) {
            if (q < count) {
                NNF_UNROLL
                for (int j = 0; j < n; j++)
                    sums[h][j] = V(fma)(block[q], V(set1)(b[j * g->ldb + q]), sums[h][j]);
            }
        }
    }
}

/* C rows i .. i + rows - 1, rows <= groups LANES, for n columns. */
NNF_INLINE void V(few_columns)(int n, int groups, const nnf_gemm *g, nnf_index i, nnf_index rows)
{
    T *c = (T *)g->c + i * g->ldc;
    VT sums[V(FEW_GROUPS)][NNF_FEW_COLUMNS];
    NNF_UNROLL
    for (int h = 0; h < groups; h++) {
        NNF_UNROLL
        for (int j = 0; j < n; j++)
            sums[h][j] = g->start == NNF_FROM_BIAS ? V(set1)(((const T *)g->bias)[j]) : V(zero)();
    }
    nnf_index p = 0;
    for (; p + LANES <= g->k; p += LANES)
        V(few_block)(n, groups, g, i, rows, p, LANES, sums);
    if (p < g->k)
        V(few_block)(n, groups, g, i, rows, p, g->k - p, sums);
    T lane[V(FEW_GROUPS) * LANES];
    NNF_UNROLL
    for (int j = 0; j < n; j++) {
        NNF_UNROLL
        for (int h = 0; h < groups; h++)
            V(store)(lane + h * LANES, sums[h][j]);
        for (nnf_index r = 0; r < rows; r++)
            c[r * g->ldc + j] = lane[r];
    }
}

/* One column is one chain of FMAs a group, so two groups go side by side: predictions of 30-100-1 take 4 to 5 % less.
 * Two columns are two chains; with three and four the vectors of two groups do not fit the registers of AVX2 (3 to 6 %
 * more). */
static void V(gemm_few)(const nnf_gemm *g)
{
    nnf_index i = 0;
    for (; V(FEW_GROUPS) > 1 && g->n == 1 && i + LANES < g->m; i += V(FEW_GROUPS) * LANES)
        V(few_columns)(1, V(FEW_GROUPS), g, i, nnf_min(g->m - i, V(FEW_GROUPS) * LANES));
    for (; i < g->m; i += LANES) {
        const nnf_index rows = nnf_min(g->m - i, LANES);
        switch (g->n) {
        case 1: V(few_columns)(1, 1, g, i, rows); break;
        case 2: V(few_columns)(2, 1, g, i, rows); break;
        case 3: V(few_columns)(3, 1, g, i, rows); break;
        default: V(few_columns)(NNF_FEW_COLUMNS, 1, g, i, rows); break;
        }
    }
}

/* One row of X after the other: each of its elements times a row of delta, added to a row of dw. */
static void V(sparse_gradient)(nnf_index rows, nnf_index n, void *dw, nnf_index first, nnf_index m,
                               const nnf_sparse_row *x, const void *delta, nnf_index ldd)
{
    T *to = (T *)dw;
    for (nnf_index j = 0; j < rows * n; j += LANES)
        V(store)(to + j, V(zero)());
    for (nnf_index i = 0; i < m; i++) {
        const T *values = (const T *)x[i].values, *d = (const T *)delta + i * ldd;
        for (nnf_index p = 0; p < x[i].count; p++) {
            T *row = to + (x[i].indices[p] - first) * n;
            VT va = V(set1)(values[p]);
            for (nnf_index j = 0; j < n; j += LANES)
                V(store)(row + j, V(fma)(va, V(load)(d + j), V(load)(row + j)));
        }
    }
}
