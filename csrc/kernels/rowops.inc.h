/*
 * rowops.inc.h: loops over rows and columns: the activations on arrays, the search for what is not finite, softmax, the
 * losses with their gradient, sums and squares, and the transposition of a block.
 *
 * Sums along a row follow one rule on every ISA: element j goes to virtual lane j % 16, then a fixed tree. Vectors of
 * 16 / LANES accumulators hold those lanes.
 */

enum { V(SUM_VECTORS) = NNF_SUM_LANES / LANES };

/* ---- elementwise ---- */

/* The rows are walked in here, not by callers: of a tile they are two vectors long, and a call takes longer than they.
 * One case: f of every row, a vector at a time; the last may be a part of one. */
#define ELEMENTWISE(NAME, f)                                         \
    case NNF_##NAME:                                                 \
        for (nnf_index i = 0; i < m; i++, to += ld, from += ld) {    \
            nnf_index j = 0;                                         \
            for (; j + LANES <= n; j += LANES) {                     \
                const VT vx = V(load)(from + j);                     \
                V(store)(to + j, f);                                 \
            }                                                        \
            if (j < n) {                                             \
                const VT vx = V(load_n)(from + j, n - j);            \
                V(store_n)(to + j, f, n - j);                        \
            }                                                        \
        }                                                            \
        break;
#define NNF_ROW(NAME, name, slope) ELEMENTWISE(NAME, V(name)(vx))
#define NNF_ARGUMENT_ROW(NAME, name, slope, value) ELEMENTWISE(NAME, V(name)(vx, vargument))
static void V(activate)(int activation, double argument, nnf_index m, nnf_index n, void *out, const void *x,
                        nnf_index ld)
{
    const VT vargument = V(set1)((T)argument);
    T *to = (T *)out;
    const T *from = (const T *)x;
    if (ld == n) { /* rows without gaps are one row */
        n *= m;
        m = 1;
    }
    switch (activation) {
#include "../activation.def"
    default:
        break;
    }
}
#undef NNF_ROW
#undef ELEMENTWISE

#define ELEMENTWISE(NAME, f)                                                      \
    case NNF_##NAME:                                                              \
        for (nnf_index i = 0; i < m; i++, to += ld, d += ld, value += ldy) {      \
            nnf_index j = 0;                                                      \
            for (; j + LANES <= n; j += LANES) {                                  \
                const VT vy = V(load)(value + j);                                 \
                V(store)(to + j, V(mul)(V(load)(d + j), f));                      \
            }                                                                     \
            if (j < n) {                                                          \
                const VT vy = V(load_n)(value + j, n - j);                        \
                V(store_n)(to + j, V(mul)(V(load_n)(d + j, n - j), f), n - j);    \
            }                                                                     \
        }                                                                         \
        break;
#define NNF_ROW(NAME, name, slope) ELEMENTWISE(NAME, V(name##_grad)(vy))
#define NNF_ARGUMENT_ROW(NAME, name, slope, value) ELEMENTWISE(NAME, V(name##_grad)(vy, vargument))
static void V(derive)(int activation, double argument, nnf_index m, nnf_index n, void *out, const void *dy,
                      nnf_index ld, const void *y, nnf_index ldy)
{
    const VT vargument = V(set1)((T)argument);
    T *to = (T *)out;
    const T *d = (const T *)dy, *value = (const T *)y;
    if (ld == n && ldy == n) {
        n *= m;
        m = 1;
    }
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
#define ELEMENTWISE(NAME, f, slope_of_f)                                         \
    case NNF_##NAME:                                                             \
        for (nnf_index i = 0; i < m; i++, to += ld, rise += ld, from += ld) {    \
            for (nnf_index j = 0; j < n; j += LANES) {                           \
                const nnf_index count = nnf_min(n - j, LANES);                   \
                const VT vx = V(load_n)(from + j, count), vy = f;                \
                V(store_n)(rise + j, slope_of_f, count);                         \
                V(store_n)(to + j, vy, count);                                   \
            }                                                                    \
        }                                                                        \
        break;
#define NNF_ROW(NAME, name, slope) ELEMENTWISE(NAME, V(name)(vx), V(name##_grad)(FROM_##slope))
#define NNF_ARGUMENT_ROW(NAME, name, slope, value) \
    ELEMENTWISE(NAME, V(name)(vx, vargument), V(name##_grad)(FROM_##slope, vargument))
static void V(activate_with_slope)(int activation, double argument, nnf_index m, nnf_index n, void *out, void *slope,
                                   const void *x, nnf_index ld)
{
    const VT vargument = V(set1)((T)argument);
    T *to = (T *)out, *rise = (T *)slope;
    const T *from = (const T *)x;
    if (ld == n) {
        n *= m;
        m = 1;
    }
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

/* As sum_lanes: column j is virtual lane j. The lanes without a column are 0, and adding that changes no bit: no lane
 * is -0, as each is a sum that began with 0. */
static VT V(sum_columns)(nnf_index n, const VT *columns)
{
    VT lane[NNF_SUM_LANES];
    for (nnf_index j = 0; j < n; j++)
        lane[j] = V(add)(V(zero)(), columns[j]);
    for (nnf_index half = NNF_SUM_LANES / 2; half > 0; half /= 2)
        for (nnf_index j = 0; j < half && j + half < n; j++)
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

/* log(cosh(d)) with t = tanh(d): -log(1 - t^2) / 2 near 0, where nothing cancels, and |d| - log(2) + log(1 + e^(-2|d|))
 * from 1 on. */
NNF_INLINE VT V(log_cosh)(VT d, VT t)
{
    const VT a = V(abs)(d), e = V(exp)(V(mul)(V(set1)((T)-2), a));
    const MT near = V(lt)(a, V(set1)((T)1));
    const VT log = V(log1p)(V(select)(near, V(neg)(V(mul)(t, t)), e));
    const VT far = V(add)(V(sub)(a, V(set1)((T)0.693147180559945309)), log);
    return V(select)(near, V(mul)(V(set1)((T)-0.5), log), far);
}

/* x^power for x >= 0. */
NNF_INLINE VT V(power)(VT x, double power) { return V(exp)(V(mul)(V(set1)((T)power), V(log)(x))); }

/* The terms y f(p), f(p) = -(1 - p)^gamma log(p) of the focal losses (Lin et al. 2017). */
NNF_INLINE VT V(focal_term)(double gamma, VT p, VT y)
{
    const VT rest = V(clip_probability)(V(sub)(V(set1)((T)1), p));
    return V(neg)(V(mul)(y, V(mul)(V(power)(rest, gamma), V(log)(V(clip_probability)(p)))));
}

/* y p f'(p) = -(1 - p)^gamma y (1 - gamma p log(p) / (1 - p)). */
NNF_INLINE VT V(focal_slope)(double gamma, VT p, VT y)
{
    const VT one = V(set1)((T)1), rest = V(clip_probability)(V(sub)(one, p));
    const VT bend = V(mul)(V(set1)((T)gamma), V(mul)(p, V(div)(V(log)(V(clip_probability)(p)), rest)));
    return V(mul)(y, V(mul)(V(neg)(V(power)(rest, gamma)), V(sub)(one, bend)));
}

/* The loss of one output `p` against its target `y`, as in nnfast.h, and its gradient by the output before its
 * activation. `shared` is the sum of the focal slopes of the row, with NNF_FOCAL. */
NNF_INLINE VT V(loss_at)(int loss, const nnf_loss_args *args, VT p, VT y, VT shared, VT *delta)
{
    const VT vzero = V(zero)(), vone = V(set1)((T)1), d = V(sub)(p, y);
    *delta = d; /* of the canonical pairs of output activation and loss */
    switch (loss) {
    case NNF_SQUARED_ERROR:
        return V(mul)(V(set1)((T)0.5), V(mul)(d, d));
    case NNF_LOG_LOSS:
        return V(neg)(V(mul)(y, V(log)(V(clip_probability)(p))));
    case NNF_BINARY_LOG_LOSS: {
        VT q = V(clip_probability)(p);
        VT fires = V(mul)(y, V(log)(q));
        VT rests = V(mul)(V(sub)(vone, y), V(log)(V(sub)(vone, q)));
        return V(neg)(V(add)(fires, rests));
    }
    case NNF_ABSOLUTE_ERROR:
        *delta = V(select)(V(lt)(d, vzero), V(neg)(vone), V(select)(V(lt)(vzero, d), vone, d));
        return V(abs)(d);
    case NNF_HUBER: {
        const VT vdelta = V(set1)((T)args->huber_delta), a = V(abs)(d);
        const VT h = V(select)(V(lt)(vdelta, a), vdelta, a);
        *delta = V(copysign)(h, d);
        return V(mul)(h, V(sub)(a, V(mul)(V(set1)((T)0.5), h)));
    }
    case NNF_LOG_COSH:
        *delta = V(tanh)(d);
        return V(log_cosh)(d, *delta);
    case NNF_GAMMA: {
        const VT ratio = V(div)(y, p);
        *delta = V(sub)(vone, ratio);
        return V(sub)(V(sub)(ratio, V(log)(ratio)), vone);
    }
    case NNF_TWEEDIE: {
        const double a = 1 - args->tweedie_power, b = 2 - args->tweedie_power;
        const VT pb = V(power)(p, b), product = V(mul)(y, V(power)(p, a));
        const VT ypa = V(select)(V(eq)(y, vzero), V(mul)(y, p), product); /* 0 also where p^a overflows */
        *delta = V(sub)(pb, ypa);
        const VT own = V(mul)(V(set1)((T)(1 / (a * b))), V(power)(y, b));
        return V(add)(V(sub)(own, V(mul)(V(set1)((T)(1 / a)), ypa)), V(mul)(V(set1)((T)(1 / b)), pb));
    }
    case NNF_FOCAL: {
        *delta = V(sub)(V(focal_slope)(args->focal_gamma, p, y), V(mul)(p, shared));
        return V(focal_term)(args->focal_gamma, p, y);
    }
    case NNF_BINARY_FOCAL: {
        const VT no = V(sub)(vone, y), rest = V(sub)(vone, p);
        *delta = V(sub)(V(mul)(rest, V(focal_slope)(args->focal_gamma, p, y)),
                        V(mul)(p, V(focal_slope)(args->focal_gamma, rest, no)));
        const VT fires = V(focal_term)(args->focal_gamma, p, y);
        return V(add)(fires, V(focal_term)(args->focal_gamma, rest, no));
    }
    default: { /* NNF_POISSON; 0 log(0 / p) counts as 0, and as NaN when 0 / p is */
        VT ratio = V(div)(y, p);
        VT product = V(mul)(y, V(log)(ratio));
        VT ylogy = V(select)(V(eq)(y, vzero), V(mul)(y, ratio), product);
        return V(add)(V(sub)(ylogy, y), p);
    }
    }
}

/* Outputs of a chunk: a whole number of the 16 virtual lanes. */
enum { V(CHUNK) = 4 * NNF_SUM_LANES };

/* n <= CHUNK outputs p with targets y: terms of the loss, and p becomes its gradient. */
static void V(loss_chunk)(int loss, const nnf_loss_args *args, nnf_index n, T *terms, T *p, const T *y, VT shared)
{
    for (nnf_index j = 0; j < n; j += LANES) {
        const nnf_index count = nnf_min(n - j, LANES);
        VT delta;
        V(store)(terms + j, V(loss_at)(loss, args, V(load_n)(p + j, count), V(load_n)(y + j, count), shared, &delta));
        V(store_n)(p + j, delta, count);
    }
}

/* The sum of the focal slopes of a row of probabilities. */
static T V(focal_sum)(double gamma, nnf_index n, const T *p, const T *y)
{
    VT vsum[V(SUM_VECTORS)];
    for (int a = 0; a < V(SUM_VECTORS); a++)
        vsum[a] = V(zero)();
    for (nnf_index j = 0; j < n; j += LANES) {
        const nnf_index count = nnf_min(n - j, LANES), a = j / LANES % V(SUM_VECTORS);
        vsum[a] = V(add)(vsum[a], V(focal_slope)(gamma, V(load_n)(p + j, count), V(load_n)(y + j, count)));
    }
    return V(sum_lanes)(vsum);
}

/* One row of several outputs. */
static double V(output_row)(int loss, const nnf_loss_args *args, nnf_index n, T *z, const T *y)
{
    VT vsum[V(SUM_VECTORS)];
    T terms[V(CHUNK)];
    for (int a = 0; a < V(SUM_VECTORS); a++)
        vsum[a] = V(zero)();
    if (nnf_loss_link(loss) == NNF_SOFTMAX)
        V(softmax_row)(n, z);
    else
        V(activate)(nnf_loss_link(loss), 0, 1, n, z, z, n);
    const VT shared = V(set1)(loss == NNF_FOCAL ? V(focal_sum)(args->focal_gamma, n, z, y) : (T)0);
    for (nnf_index j = 0; j < n; j += V(CHUNK)) {
        const nnf_index count = nnf_min(n - j, V(CHUNK));
        V(loss_chunk)(loss, args, count, terms, z + j, y + j, shared);
        V(add_to_lanes)(vsum, count, terms);
    }
    return (double)V(sum_lanes)(vsum);
}

/* One output a row: rows side by side in the vectors. */
static void V(output_column)(int loss, const nnf_loss_args *args, nnf_index m, T *z, nnf_index ldz,
                             const void *const *y, nnf_index y_first, double *row_loss)
{
    T terms[V(CHUNK)], p[V(CHUNK)], target[V(CHUNK)];
    for (nnf_index i = 0; i < m; i += V(CHUNK)) {
        const nnf_index count = nnf_min(m - i, V(CHUNK));
        for (nnf_index r = 0; r < count; r++) {
            p[r] = z[(i + r) * ldz];
            target[r] = ((const T *)y[i + r])[y_first];
        }
        V(activate)(nnf_loss_link(loss), 0, 1, count, p, p, count);
        V(loss_chunk)(loss, args, count, terms, p, target, V(zero)());
        for (nnf_index r = 0; r < count; r++) {
            z[(i + r) * ldz] = p[r];
            row_loss[i + r] += (double)terms[r];
        }
    }
}

/* A softmax over few outputs. */
static void V(output_few)(int loss, const nnf_loss_args *args, nnf_index m, nnf_index n, T *z, nnf_index ldz,
                          const void *const *y, nnf_index y_first, double *row_loss)
{
    for (nnf_index i = 0; i < m; i += LANES) {
        const nnf_index count = nnf_min(m - i, LANES);
        T *rows[LANES], sums[LANES];
        const T *targets[LANES];
        VT p[NNF_SUM_LANES], t[NNF_SUM_LANES], terms[NNF_SUM_LANES], shared = V(zero)();
        V(point_to_rows)(rows, i, count, z, ldz);
        for (nnf_index r = 0; r < count; r++)
            targets[r] = (const T *)y[i + r] + y_first;
        V(rows_to_columns)(n, count, (const T *const *)(const void *)rows, p);
        V(rows_to_columns)(n, count, targets, t);
        V(softmax_columns)(n, p);
        if (loss == NNF_FOCAL) {
            for (nnf_index j = 0; j < n; j++)
                terms[j] = V(focal_slope)(args->focal_gamma, p[j], t[j]);
            shared = V(sum_columns)(n, terms);
        }
        for (nnf_index j = 0; j < n; j++)
            terms[j] = V(loss_at)(loss, args, p[j], t[j], shared, &p[j]);
        V(store)(sums, V(sum_columns)(n, terms));
        V(columns_to_rows)(n, count, rows, p);
        for (nnf_index r = 0; r < count; r++)
            row_loss[i + r] += (double)sums[r];
    }
}

/* ---- ordered outputs, and the quantile loss ---- */

/* The column x, with row distance ldx, of `count` rows. */
NNF_INLINE VT V(load_column)(nnf_index count, const T *x, nnf_index ldx)
{
    T lane[LANES] = {0};
    for (nnf_index r = 0; r < count; r++)
        lane[r] = x[r * ldx];
    return V(load)(lane);
}

NNF_INLINE void V(store_column)(nnf_index count, T *x, nnf_index ldx, VT column)
{
    T lane[LANES];
    V(store)(lane, column);
    for (nnf_index r = 0; r < count; r++)
        x[r * ldx] = lane[r];
}

/* The output k from the one before: p + log(1 + e^z). That is never negative and a rounded sum is monotone, so the
 * outputs never fall. */
NNF_INLINE VT V(next_level)(nnf_index k, VT p, VT z) { return k == 0 ? z : V(add)(p, V(softplus)(z)); }

static void V(ordered)(nnf_index m, nnf_index n, void *x, nnf_index ldx)
{
    for (nnf_index i = 0; i < m; i += LANES) {
        const nnf_index count = nnf_min(m - i, LANES);
        VT p = V(zero)();
        for (nnf_index k = 0; k < n; k++) {
            T *column = (T *)x + i * ldx + k;
            p = V(next_level)(k, p, V(load_column)(count, column, ldx));
            V(store_column)(count, column, ldx, p);
        }
    }
}

/* The slope of the loss of a level q at d = p - y; the loss is their product. */
NNF_INLINE VT V(level_slope)(double q, VT d)
{
    const VT above = V(select)(V(lt)(V(zero)(), d), V(set1)((T)(1 - q)), d);
    return V(select)(V(lt)(d, V(zero)()), V(set1)((T)-q), above);
}

/* An output moves all from it on, so its gradient is a sum of their slopes: all less those before it. Levels are added
 * in order. */
static void V(output_quantile)(const nnf_loss_args *args, nnf_index m, nnf_index n, T *z, nnf_index ldz,
                               const void *const *y, nnf_index y_first, double *row_loss)
{
    for (nnf_index i = 0; i < m; i += LANES) {
        const nnf_index count = nnf_min(m - i, LANES);
        VT p = V(zero)(), terms = V(zero)(), slopes = V(zero)();
        T lane[LANES] = {0};
        for (int pass = 0; pass < 2; pass++) {
            for (nnf_index k = 0; k < n; k++) {
                T *column = z + i * ldz + k;
                const VT vz = V(load_column)(count, column, ldz);
                for (nnf_index r = 0; r < count; r++)
                    lane[r] = ((const T *)y[i + r])[y_first + k];
                p = V(next_level)(k, p, vz);
                const VT d = V(sub)(p, V(load)(lane)), slope = V(level_slope)(args->levels[k], d);
                if (pass == 0) {
                    terms = V(add)(terms, V(mul)(slope, d));
                    slopes = V(add)(slopes, slope);
                } else {
                    V(store_column)(count, column, ldz, k == 0 ? slopes : V(mul)(slopes, V(logistic)(vz)));
                    slopes = V(sub)(slopes, slope);
                }
            }
        }
        V(store)(lane, terms);
        for (nnf_index r = 0; r < count; r++)
            row_loss[i + r] += (double)lane[r];
    }
}

static void V(output)(int loss, const nnf_loss_args *args, nnf_index m, nnf_index n, void *z, nnf_index ldz,
                      const void *const *y, nnf_index y_first, double *row_loss)
{
    const int link = nnf_loss_link(loss);
    if (link == NNF_ORDERED)
        V(output_quantile)(args, m, n, (T *)z, ldz, y, y_first, row_loss);
    else if (n == 1 && link != NNF_SOFTMAX)
        V(output_column)(loss, args, m, (T *)z, ldz, y, y_first, row_loss);
    else if (link == NNF_SOFTMAX && n <= NNF_SUM_LANES)
        V(output_few)(loss, args, m, n, (T *)z, ldz, y, y_first, row_loss);
    else
        for (nnf_index i = 0; i < m; i++)
            row_loss[i] += V(output_row)(loss, args, n, (T *)z + i * ldz, (const T *)y[i] + y_first);
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

/* sum + x, sum + |x| or sum + x^2. */
NNF_INLINE VT V(add_term)(nnf_power power, VT sum, VT x)
{
    return power == NNF_SQUARES ? V(fma)(x, x, sum) : V(add)(sum, power == NNF_SIZES ? V(abs)(x) : x);
}

/* The sums of such terms over m rows, for the n columns of `vectors` vectors: a chain waits three or four cycles for
 * each of its terms, so vectors take turns. They are of panels that are `panel_size` elements apart. */
NNF_INLINE void V(columns)(int vectors, nnf_power power, nnf_index m, nnf_index n, T *sums, const T *x, nnf_index ldx,
                           nnf_index panel_size)
{
    VT vsum[NNF_CHAINS];
    NNF_UNROLL
    for (int v = 0; v < vectors; v++)
        vsum[v] = V(zero)();
    for (nnf_index i = 0; i < m; i++, x += ldx) {
        NNF_UNROLL
        for (int v = 0; v < vectors; v++) {
            const T *from = x + v / NNF_TILE_VECTORS * panel_size + v % NNF_TILE_VECTORS * LANES;
            vsum[v] = V(add_term)(power, vsum[v], V(load)(from));
        }
    }
    NNF_UNROLL
    for (int v = 0; v < vectors; v++)
        V(store_n)(sums + v * LANES, vsum[v], nnf_min(n - v * LANES, LANES));
}

NNF_INLINE void V(all_columns)(nnf_power power, nnf_index m, nnf_index n, T *sums, const T *x, nnf_index ldx,
                               nnf_index panel_size)
{
    enum { PANEL = NNF_TILE_VECTORS * LANES };
    nnf_index j = 0;
    for (; j + (NNF_CHAINS - 1) * LANES < n; j += NNF_CHAINS * LANES)
        V(columns)(NNF_CHAINS, power, m, n - j, sums + j, x + j / PANEL * panel_size, ldx, panel_size);
    for (; j + (NNF_TILE_VECTORS - 1) * LANES < n; j += PANEL)
        V(columns)(NNF_TILE_VECTORS, power, m, n - j, sums + j, x + j / PANEL * panel_size, ldx, panel_size);
    for (; j < n; j += LANES)
        V(columns)(1, power, m, n - j, sums + j, x + j / PANEL * panel_size + j % PANEL, ldx, panel_size);
}

static void V(column_sums)(nnf_index m, nnf_index n, void *sums, const void *x, nnf_index ldx)
{
    V(all_columns)(NNF_PLAIN, m, n, (T *)sums, (const T *)x, ldx, NNF_TILE_VECTORS * LANES);
}

static void V(column_norms)(nnf_power power, nnf_index m, nnf_index n, void *sums, const void *w, nnf_index ldw,
                            nnf_index panel_size)
{
    if (power == NNF_SQUARES)
        V(all_columns)(NNF_SQUARES, m, n, (T *)sums, (const T *)w, ldw, panel_size);
    else
        V(all_columns)(NNF_SIZES, m, n, (T *)sums, (const T *)w, ldw, panel_size);
}

/* In one lane, so that an FMA is what it is in column_norms. */
static void V(row_norm)(nnf_power power, nnf_index m, void *sum, const void *w)
{
    VT vsum = V(zero)();
    for (nnf_index i = 0; i < m; i++)
        vsum = V(add_term)(power, vsum, V(set1)(((const T *)w)[i]));
    V(store_n)((T *)sum, vsum, 1);
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

/* ---- copying, transposition ---- */

static void V(copy)(nnf_index m, nnf_index n, void *dst, nnf_index ldd, const void *src, nnf_index lds)
{
    for (nnf_index i = 0; i < m; i++) {
        const T *from = (const T *)src + i * lds;
        T *to = (T *)dst + i * ldd;
        nnf_index j = 0;
        for (; j + LANES <= n; j += LANES)
            V(store)(to + j, V(load)(from + j));
        if (j < n)
            V(store)(to + j, V(load_n)(from + j, n - j));
    }
}

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
