/*
 * rowops.inc.h: loops over rows and columns: the activations on arrays, the search for what is not finite, softmax, the
 * losses with their gradient, sums and squares, and the transposition of a block.
 *
 * Sums along a row follow one rule on every ISA: element j goes to virtual lane j % 16, then a fixed tree. Vectors of
 * 16 / LANES accumulators hold those lanes.
 */

enum { V(SUM_VECTORS) = NNF_SUM_LANES / LANES };

/* ---- elementwise ---- */

/* One case: f of n elements, a vector at a time; the last may be a part of one. */
#define ELEMENTWISE(NAME, f)                             \
    case NNF_##NAME:                                     \
        for (; j + LANES <= n; j += LANES) {             \
            const VT vx = V(load)(from + j);             \
            V(store)(to + j, f);                         \
        }                                                \
        if (j < n) {                                     \
            const VT vx = V(load_n)(from + j, n - j);    \
            V(store_n)(to + j, f, n - j);                \
        }                                                \
        break;
#define NNF_ROW(NAME, name, slope) ELEMENTWISE(NAME, V(name)(vx))
#define NNF_ARGUMENT_ROW(NAME, name, slope, value) ELEMENTWISE(NAME, V(name)(vx, vargument))
static void V(activate)(int activation, double argument, nnf_index n, void *out, const void *x)
{
    const VT vargument = V(set1)((T)argument);
    T *to = (T *)out;
    const T *from = (const T *)x;
    nnf_index j = 0;
    switch (activation) {
#include "../activation.def"
    default:
        break;
    }
}
#undef NNF_ROW
#undef ELEMENTWISE

#define ELEMENTWISE(NAME, f)                                                  \
    case NNF_##NAME:                                                          \
        for (; j + LANES <= n; j += LANES) {                                  \
            const VT vy = V(load)(value + j);                                 \
            V(store)(to + j, V(mul)(V(load)(d + j), f));                      \
        }                                                                     \
        if (j < n) {                                                          \
            const VT vy = V(load_n)(value + j, n - j);                        \
            V(store_n)(to + j, V(mul)(V(load_n)(d + j, n - j), f), n - j);    \
        }                                                                     \
        break;
#define NNF_ROW(NAME, name, slope) ELEMENTWISE(NAME, V(name##_grad)(vy))
#define NNF_ARGUMENT_ROW(NAME, name, slope, value) ELEMENTWISE(NAME, V(name##_grad)(vy, vargument))
static void V(derive)(int activation, double argument, nnf_index n, void *out, const void *y, const void *dy)
{
    const VT vargument = V(set1)((T)argument);
    T *to = (T *)out;
    const T *value = (const T *)y, *d = (const T *)dy;
    nnf_index j = 0;
    switch (activation) {
#include "../activation.def"
    default:
        break;
    }
}
#undef NNF_ROW
#undef ELEMENTWISE

#define FROM_OUTPUT vy
#define FROM_INPUT vx
#define ELEMENTWISE(NAME, f, slope_of_f)                                  \
    case NNF_##NAME:                                                      \
        for (; j < n; j += LANES) {                                       \
            const nnf_index count = nnf_min(n - j, LANES);                \
            const VT vx = V(load_n)(from + j, count), vy = f;             \
            V(store_n)((T *)slope + j, slope_of_f, count);                \
            V(store_n)(to + j, vy, count);                                \
        }                                                                 \
        break;
#define NNF_ROW(NAME, name, slope) ELEMENTWISE(NAME, V(name)(vx), V(name##_grad)(FROM_##slope))
#define NNF_ARGUMENT_ROW(NAME, name, slope, value) \
    ELEMENTWISE(NAME, V(name)(vx, vargument), V(name##_grad)(FROM_##slope, vargument))
static void V(activate_with_slope)(int activation, double argument, nnf_index n, void *out, void *slope, const void *x)
{
    const VT vargument = V(set1)((T)argument);
    T *to = (T *)out;
    const T *from = (const T *)x;
    nnf_index j = 0;
    switch (activation) {
#include "../activation.def"
    default:
        break;
    }
}
#undef NNF_ROW
#undef ELEMENTWISE
#undef FROM_OUTPUT
#undef FROM_INPUT

static void V(log_array)(nnf_index n, void *out, const void *x)
{
    for (nnf_index j = 0; j < n; j += LANES) {
        nnf_index count = nnf_min(n - j, LANES);
        V(store_n)((T *)out + j, V(log)(V(load_n)((const T *)x + j, count)), count);
    }
}

/* x - x is 0, or NaN where x is not finite, and a NaN stays in the sum. */
static int V(finite)(nnf_index n, const void *x)
{
    VT vsum = V(zero)();
    for (nnf_index j = 0; j < n; j += LANES) {
        VT vx = n - j >= LANES ? V(load)((const T *)x + j) : V(load_n)((const T *)x + j, n - j);
        vsum = V(add)(vsum, V(sub)(vx, vx));
    }
    T lane[LANES];
    V(store)(lane, V(select)(V(isnan)(vsum), V(set1)((T)1), V(zero)()));
    T nans = 0;
    for (int j = 0; j < LANES; j++)
        nans += lane[j];
    return nans == 0;
}

/* From the last to the first: a row takes the place of later elements. */
static void V(both_classes)(nnf_index n, void *out)
{
    T *p = (T *)out;
    for (nnf_index i = n - 1; i >= 0; i--) {
        const T second = p[i];
        p[2 * i + 1] = second;
        p[2 * i] = (T)1 - second;
    }
}

/* ---- sums along a row ---- */

/* Adds the 16 virtual lanes: 8 + 8, 4 + 4, 2 + 2, 1 + 1. */
NNF_INLINE T V(sum_lanes)(const VT *vsum)
{
    T lane[NNF_SUM_LANES];
    for (int a = 0; a < V(SUM_VECTORS); a++)
        V(store)(lane + a * LANES, vsum[a]);
    for (int half = NNF_SUM_LANES / 2; half > 0; half /= 2)
        for (int j = 0; j < half; j++)
            lane[j] = lane[j] + lane[j + half];
    return lane[0];
}

/* Adds n elements to the virtual lanes; x[0] belongs to lane 0. */
NNF_INLINE void V(add_to_lanes)(VT *vsum, nnf_index n, const T *x)
{
    for (nnf_index j = 0; j < n; j += LANES) {
        const nnf_index a = j / LANES % V(SUM_VECTORS);
        vsum[a] = V(add)(vsum[a], V(load_n)(x + j, nnf_min(n - j, LANES)));
    }
}

static T V(row_sum)(nnf_index n, const T *x)
{
    VT vsum[V(SUM_VECTORS)];
    for (int a = 0; a < V(SUM_VECTORS); a++)
        vsum[a] = V(zero)();
    V(add_to_lanes)(vsum, n, x);
    return V(sum_lanes)(vsum);
}

/* ---- softmax ---- */

/* exp(x - max) / sum. A NaN or +inf in the row makes the whole row NaN, whatever max returns for it. */
static void V(softmax_row)(nnf_index n, T *x)
{
    T largest = x[0];
    for (nnf_index j = 1; j < n; j++)
        largest = largest < x[j] ? x[j] : largest;
    const VT vmax = V(set1)(largest);
    for (nnf_index j = 0; j < n; j += LANES) {
        nnf_index count = nnf_min(n - j, LANES);
        V(store_n)(x + j, V(exp)(V(sub)(V(load_n)(x + j, count), vmax)), count);
    }
    const VT vsum = V(set1)(V(row_sum)(n, x));
    for (nnf_index j = 0; j < n; j += LANES) {
        nnf_index count = nnf_min(n - j, LANES);
        V(store_n)(x + j, V(div)(V(load_n)(x + j, count), vsum), count);
    }
}

/* ---- few columns: rows side by side in the vectors ---- */

/* Rows of up to NNF_SUM_LANES elements leave most lanes of a vector empty, and each has its own sums. LANES of them at
 * once, a vector a column, give the same bits: a step of 4-10-3 with 150 rows takes 7 us in place of 22 (float64). */

/* columns[j], lane r = element j of row r, of `count` rows; the lanes beyond repeat the last of them. */
static void V(rows_to_columns)(nnf_index n, nnf_index count, const T *const *rows, VT *columns)
{
    for (nnf_index j = 0; j < n; j += LANES) {
        VT block[LANES];
        NNF_UNROLL
        for (int r = 0; r < LANES; r++)
            block[r] = V(load_n)(rows[nnf_min(r, count - 1)] + j, nnf_min(n - j, LANES));
        V(transpose)(block);
        NNF_UNROLL
        for (int c = 0; c < LANES; c++)
            columns[j + c] = block[c];
    }
}

static void V(columns_to_rows)(nnf_index n, nnf_index count, T *const *rows, const VT *columns)
{
    for (nnf_index j = 0; j < n; j += LANES) {
        VT block[LANES];
        NNF_UNROLL
        for (int c = 0; c < LANES; c++)
            block[c] = columns[j + c];
        V(transpose)(block);
        NNF_UNROLL
        for (int r = 0; r < LANES; r++)
            if (r < count)
                V(store_n)(rows[r] + j, block[r], nnf_min(n - j, LANES));
    }
}

/* As sum_lanes: column j is virtual lane j. */
static VT V(sum_columns)(nnf_index n, const VT *columns)
{
    VT lane[NNF_SUM_LANES];
    for (nnf_index j = 0; j < NNF_SUM_LANES; j++)
        lane[j] = j < n ? V(add)(V(zero)(), columns[j]) : V(zero)();
    for (int half = NNF_SUM_LANES / 2; half > 0; half /= 2)
        for (int j = 0; j < half; j++)
            lane[j] = V(add)(lane[j], lane[j + half]);
    return lane[0];
}

static void V(softmax_columns)(nnf_index n, VT *columns)
{
    VT vmax = columns[0];
    for (nnf_index j = 1; j < n; j++)
        vmax = V(select)(V(lt)(vmax, columns[j]), columns[j], vmax);
    for (nnf_index j = 0; j < n; j++)
        columns[j] = V(exp)(V(sub)(columns[j], vmax));
    const VT vsum = V(sum_columns)(n, columns);
    for (nnf_index j = 0; j < n; j++)
        columns[j] = V(div)(columns[j], vsum);
}

/* Pointers to `count` rows from row i on. */
NNF_INLINE void V(point_to_rows)(T **rows, nnf_index i, nnf_index count, T *x, nnf_index ldx)
{
    for (nnf_index r = 0; r < count; r++)
        rows[r] = x + (i + r) * ldx;
}

static void V(softmax)(nnf_index m, nnf_index n, void *x, nnf_index ldx)
{
    if (n > NNF_SUM_LANES) {
        for (nnf_index i = 0; i < m; i++)
            V(softmax_row)(n, (T *)x + i * ldx);
        return;
    }
    for (nnf_index i = 0; i < m; i += LANES) {
        const nnf_index count = nnf_min(m - i, LANES);
        T *rows[LANES];
        VT columns[NNF_SUM_LANES];
        V(point_to_rows)(rows, i, count, (T *)x, ldx);
        V(rows_to_columns)(n, count, (const T *const *)(const void *)rows, columns);
        V(softmax_columns)(n, columns);
        V(columns_to_rows)(n, count, rows, columns);
    }
}

/* ---- losses ---- */

/* p between eps and 1 - eps, as scikit-learn clips it; NaN stays. */
NNF_INLINE VT V(clip_probability)(VT p)
{
    const VT veps = V(set1)(EPSILON), vtop = V(set1)((T)1 - EPSILON);
    VT low = V(select)(V(lt)(p, veps), veps, p);
    return V(select)(V(lt)(vtop, low), vtop, low);
}

/* The loss of one output `p` against its target `y`, as scikit-learn's functions of these names sum it. */
NNF_INLINE VT V(loss_term)(int loss, VT p, VT y)
{
    const VT vone = V(set1)((T)1);
    switch (loss) {
    case NNF_SQUARED_ERROR: {
        VT d = V(sub)(p, y);
        return V(mul)(V(set1)((T)0.5), V(mul)(d, d));
    }
    case NNF_LOG_LOSS:
        return V(neg)(V(mul)(y, V(log)(V(clip_probability)(p))));
    case NNF_BINARY_LOG_LOSS: {
        VT q = V(clip_probability)(p);
        VT fires = V(mul)(y, V(log)(q));
        VT rests = V(mul)(V(sub)(vone, y), V(log)(V(sub)(vone, q)));
        return V(neg)(V(add)(fires, rests));
    }
    default: { /* NNF_POISSON; 0 log(0 / p) counts as 0, and as NaN when 0 / p is */
        VT ratio = V(div)(y, p);
        VT product = V(mul)(y, V(log)(ratio));
        VT ylogy = V(select)(V(eq)(y, V(zero)()), V(mul)(y, ratio), product);
        return V(add)(V(sub)(ylogy, y), p);
    }
    }
}

/* Outputs of a chunk: a whole number of the 16 virtual lanes. */
enum { V(CHUNK) = 4 * NNF_SUM_LANES };

/* n <= CHUNK outputs p with targets y: terms of the loss, and p becomes the delta p - y of a canonical pair of output
 * activation and loss. */
static void V(loss_chunk)(int loss, nnf_index n, T *terms, T *p, const T *y)
{
    for (nnf_index j = 0; j < n; j += LANES) {
        const nnf_index count = nnf_min(n - j, LANES);
        VT vp = V(load_n)(p + j, count), vy = V(load_n)(y + j, count);
        V(store)(terms + j, V(loss_term)(loss, vp, vy));
        V(store_n)(p + j, V(sub)(vp, vy), count);
    }
}

/* One row of several outputs. */
static double V(output_row)(int loss, int link, nnf_index n, T *z, const T *y)
{
    VT vsum[V(SUM_VECTORS)];
    T terms[V(CHUNK)];
    for (int a = 0; a < V(SUM_VECTORS); a++)
        vsum[a] = V(zero)();
    if (loss == NNF_LOG_LOSS)
        V(softmax_row)(n, z);
    else
        V(activate)(link, 0, n, z, z);
    for (nnf_index j = 0; j < n; j += V(CHUNK)) {
        const nnf_index count = nnf_min(n - j, V(CHUNK));
        V(loss_chunk)(loss, count, terms, z + j, y + j);
        V(add_to_lanes)(vsum, count, terms);
    }
    return (double)V(sum_lanes)(vsum);
}

/* One output a row: rows side by side in the vectors. */
static void V(output_column)(int loss, int link, nnf_index m, T *z, nnf_index ldz, const void *const *y,
                             nnf_index y_first, double *row_loss)
{
    T terms[V(CHUNK)], p[V(CHUNK)], target[V(CHUNK)];
    for (nnf_index i = 0; i < m; i += V(CHUNK)) {
        const nnf_index count = nnf_min(m - i, V(CHUNK));
        for (nnf_index r = 0; r < count; r++) {
            p[r] = z[(i + r) * ldz];
            target[r] = ((const T *)y[i + r])[y_first];
        }
        V(activate)(link, 0, count, p, p);
        V(loss_chunk)(loss, count, terms, p, target);
        for (nnf_index r = 0; r < count; r++) {
            z[(i + r) * ldz] = p[r];
            row_loss[i + r] += (double)terms[r];
        }
    }
}

/* NNF_LOG_LOSS of few outputs. */
static void V(output_few)(nnf_index m, nnf_index n, T *z, nnf_index ldz, const void *const *y, nnf_index y_first,
                          double *row_loss)
{
    for (nnf_index i = 0; i < m; i += LANES) {
        const nnf_index count = nnf_min(m - i, LANES);
        T *rows[LANES], sums[LANES];
        const T *targets[LANES];
        VT p[NNF_SUM_LANES], t[NNF_SUM_LANES], terms[NNF_SUM_LANES];
        V(point_to_rows)(rows, i, count, z, ldz);
        for (nnf_index r = 0; r < count; r++)
            targets[r] = (const T *)y[i + r] + y_first;
        V(rows_to_columns)(n, count, (const T *const *)(const void *)rows, p);
        V(rows_to_columns)(n, count, targets, t);
        V(softmax_columns)(n, p);
        for (nnf_index j = 0; j < n; j++) {
            terms[j] = V(loss_term)(NNF_LOG_LOSS, p[j], t[j]);
            p[j] = V(sub)(p[j], t[j]);
        }
        V(store)(sums, V(sum_columns)(n, terms));
        V(columns_to_rows)(n, count, rows, p);
        for (nnf_index r = 0; r < count; r++)
            row_loss[i + r] += (double)sums[r];
    }
}

static void V(output)(int loss, nnf_index m, nnf_index n, void *z, nnf_index ldz, const void *const *y,
                      nnf_index y_first, double *row_loss)
{
    static const int links[NNF_N_LOSSES] = {
        [NNF_SQUARED_ERROR] = NNF_IDENTITY,
        [NNF_BINARY_LOG_LOSS] = NNF_LOGISTIC,
        [NNF_POISSON] = NNF_EXP,
    };
    if (n == 1 && loss != NNF_LOG_LOSS) {
        V(output_column)(loss, links[loss], m, (T *)z, ldz, y, y_first, row_loss);
        return;
    }
    if (loss == NNF_LOG_LOSS && n <= NNF_SUM_LANES) {
        V(output_few)(m, n, (T *)z, ldz, y, y_first, row_loss);
        return;
    }
    for (nnf_index i = 0; i < m; i++)
        row_loss[i] += V(output_row)(loss, links[loss], n, (T *)z + i * ldz, (const T *)y[i] + y_first);
}

static void V(scale)(nnf_index n, void *x, double factor)
{
    const VT vfactor = V(set1)((T)factor);
    for (nnf_index j = 0; j < n; j += LANES) {
        const nnf_index count = nnf_min(n - j, LANES);
        V(store_n)((T *)x + j, V(mul)(V(load_n)((T *)x + j, count), vfactor), count);
    }
}

/* ---- sums over rows ---- */

/* The sums of x or x^2 over m rows, for the n columns of `vectors` vectors: a chain waits four cycles for each of its
 * terms, so vectors take turns. */
NNF_INLINE void V(columns)(int vectors, int square, nnf_index m, nnf_index n, T *sums, const T *x, nnf_index ldx)
{
    VT vsum[NNF_TILE_VECTORS];
    NNF_UNROLL
    for (int v = 0; v < vectors; v++)
        vsum[v] = V(zero)();
    for (nnf_index i = 0; i < m; i++) {
        NNF_UNROLL
        for (int v = 0; v < vectors; v++) {
            VT vx = V(load)(x + i * ldx + v * LANES);
            vsum[v] = square ? V(fma)(vx, vx, vsum[v]) : V(add)(vsum[v], vx);
        }
    }
    NNF_UNROLL
    for (int v = 0; v < vectors; v++)
        V(store_n)(sums + v * LANES, vsum[v], nnf_min(n - v * LANES, LANES));
}

NNF_INLINE void V(all_columns)(int square, nnf_index m, nnf_index n, void *sums, const void *x, nnf_index ldx)
{
    nnf_index j = 0;
    for (; j + (NNF_TILE_VECTORS - 1) * LANES < n; j += NNF_TILE_VECTORS * LANES)
        V(columns)(NNF_TILE_VECTORS, square, m, n - j, (T *)sums + j, (const T *)x + j, ldx);
    for (; j < n; j += LANES)
        V(columns)(1, square, m, n - j, (T *)sums + j, (const T *)x + j, ldx);
}

static void V(column_sums)(nnf_index m, nnf_index n, void *sums, const void *x, nnf_index ldx)
{
    V(all_columns)(0, m, n, sums, x, ldx);
}

static void V(column_squares)(nnf_index m, nnf_index n, void *squares, const void *w, nnf_index ldw)
{
    V(all_columns)(1, m, n, squares, w, ldw);
}

/* In one lane, so that an FMA is what it is in column_squares. */
static void V(row_squares)(nnf_index m, void *square, const void *w)
{
    VT vsum = V(zero)();
    for (nnf_index i = 0; i < m; i++) {
        VT vw = V(set1)(((const T *)w)[i]);
        vsum = V(fma)(vw, vw, vsum);
    }
    V(store_n)((T *)square, vsum, 1);
}

static double V(sum)(nnf_index m, nnf_index n, const void *x, nnf_index ldx)
{
    double lane[NNF_SUM_LANES] = {0};
    for (nnf_index i = 0; i < m; i++) {
        const T *row = (const T *)x + i * ldx;
        nnf_index j = 0;
        for (; j + NNF_SUM_LANES <= n; j += NNF_SUM_LANES)
            for (int l = 0; l < NNF_SUM_LANES; l++)
                lane[l] += (double)row[j + l];
        for (int l = 0; j + l < n; l++)
            lane[l] += (double)row[j + l];
    }
    for (int half = NNF_SUM_LANES / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++)
            lane[l] += lane[l + half];
    return lane[0];
}

static void V(widen_add)(nnf_index n, double *sums, const void *x)
{
    for (nnf_index j = 0; j < n; j++)
        sums[j] += (double)((const T *)x)[j];
}

static void V(narrow)(nnf_index n, void *x, const double *sums)
{
    for (nnf_index j = 0; j < n; j++)
        ((T *)x)[j] = (T)sums[j];
}

/* ---- transposition ---- */

static void V(transpose_block)(nnf_index m, nnf_index n, void *dst, nnf_index ldd, const void *src, nnf_index lds)
{
    for (nnf_index i = 0; i < m; i += LANES) {
        for (nnf_index j = 0; j < n; j += LANES) {
            const nnf_index rows = nnf_min(m - i, LANES), columns = nnf_min(n - j, LANES);
            const T *from = (const T *)src + i * lds + j;
            T *to = (T *)dst + j * ldd + i;
            VT block[LANES];
            NNF_UNROLL
            for (int r = 0; r < LANES; r++)
                block[r] = r < rows ? V(load_n)(from + r * lds, columns) : V(zero)();
            V(transpose)(block);
            NNF_UNROLL
            for (int c = 0; c < LANES; c++)
                if (c < columns)
                    V(store)(to + c * ldd, block[c]);
        }
    }
}
