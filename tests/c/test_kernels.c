/*
 * test_kernels.c: every entry of the kernel table, on every instruction set of this CPU, for both element types,
 * against naive loops; then packing, products and networks, which are built from them.
 *
 * Small integers come first: nothing is rounded, so the result must be exact, and every wrong index is found. Random
 * numbers follow, with the error that k roundings can make. All arrays are fenced (check.h): a read or write beyond one
 * ends the program. At the end, the bits of a training story that must be the same on every machine.
 */
#include "check.h"
#include "internal.h"

#include <float.h>
#include <math.h>

static const isa *on;    /* the instruction set under test */
static nnf_dtype dtype;  /* and the element type */
static const nnf_kernels *kernels;

/* Where a case stands in a failure message. */
#define WHERE "%s, float%d"
#define HERE on->name, bits_of(dtype)

static void *element(void *array, nnf_index j)
{
    return nnf_at(kernels, array, j);
}

static int same(const void *a, const void *b, nnf_index n)
{
    return memcmp(a, b, (size_t)n * kernels->size) == 0;
}

/* Lengths below `limit` round the vectors and the panels of this table. */
static nnf_index lengths(nnf_index *list, nnf_index limit)
{
    const nnf_index edges[] = {kernels->lanes, 2 * kernels->lanes, kernels->panel, 2 * kernels->panel, NNF_SUM_LANES,
                               2 * NNF_SUM_LANES, NNF_BLOCK_ROWS, 2 * NNF_BLOCK_ROWS};
    nnf_index count = 0;
    for (nnf_index n = 0; n < nnf_min(6, limit); n++)
        list[count++] = n;
    for (size_t e = 0; e < sizeof edges / sizeof edges[0]; e++)
        for (nnf_index n = edges[e] - 1; n <= edges[e] + 1; n++)
            if (n > 5 && n < limit)
                list[count++] = n;
    return count;
}

/* Elements from the first of m rows to the last of the last one. */
static nnf_index span(nnf_index m, nnf_index width, nnf_index ld)
{
    return m > 0 ? (m - 1) * ld + width : 0;
}

enum { MAX_LENGTHS = 30, MAX_POINTERS = 128 };

/* ---- gemm ------------------------------------------------------------------------------------------------------- */

/* One call of the kernel, on fenced operands. */
typedef struct product {
    nnf_gemm g;
    int left;         /* how A lies */
    nnf_index first;  /* where each of its vectors begins, from its pointer */
    nnf_index stored; /* columns of C that may be written: n, or n rounded up to whole vectors */
    void *b, *c, *bias, *value, *a_memory, *start;
    const void *pointers[MAX_POINTERS];
} product;

enum { A_SLOT, B_SLOT, C_SLOT, BIAS_SLOT, VALUE_SLOT, START_SLOT, SPARE_SLOT, SLICES_SLOT };

/* A form of call: how the operands lie. Of A there are rows, or slices made from rows, or from columns. */
enum { ROWS, SLICED_ROWS, SLICED_COLUMNS };

typedef struct form {
    int left, b_exact, c_exact;
} form;

static const form forms[] = {{ROWS, 0, 0}, {ROWS, 0, 1}, {ROWS, 1, 0}, {ROWS, 1, 1},
                             {SLICED_COLUMNS, 0, 0}, {SLICED_COLUMNS, 0, 1}, {SLICED_ROWS, 0, 0}};

enum { N_FORMS = sizeof forms / sizeof forms[0] };

static void make_product(product *t, nnf_index m, nnf_index n, nnf_index k, form f, nnf_start start, nnf_index gap,
                         double (*next)(void))
{
    const bool by_columns = f.left == SLICED_COLUMNS;
    const nnf_index vectors = by_columns ? k : m, length = by_columns ? m : k, lead = gap;
    const nnf_index padded = nnf_round_up(n, kernels->lanes), b_width = f.b_exact ? n : padded, ldb = b_width + gap;
    t->stored = f.c_exact ? n : padded;
    const nnf_index ldc = t->stored + gap, size = span(m, t->stored, ldc);
    t->a_memory = fenced(A_SLOT, dtype, vectors * (lead + length));
    fill(dtype, t->a_memory, vectors * (lead + length), next);
    for (nnf_index i = 0; i < vectors; i++)
        t->pointers[i] = element(t->a_memory, i * (lead + length));
    t->b = fenced(B_SLOT, dtype, span(k, b_width, ldb));
    fill(dtype, t->b, span(k, b_width, ldb), next);
    t->bias = fenced(BIAS_SLOT, dtype, n);
    fill(dtype, t->bias, n, next);
    t->value = fenced(VALUE_SLOT, dtype, size);
    fill(dtype, t->value, size, next);
    for (nnf_index i = 0; i < size; i += 3) /* where relu has no slope */
        put(dtype, t->value, i, 0);
    t->c = fenced(C_SLOT, dtype, size);
    t->start = fenced(START_SLOT, dtype, m * n);
    for (nnf_index i = 0; i < m; i++) {
        for (nnf_index j = 0; j < n; j++) {
            const double first = start == NNF_FROM_C ? next() : start == NNF_FROM_BIAS ? get(dtype, t->bias, j) : 0;
            put(dtype, t->start, i * n + j, first);
            put(dtype, t->c, i * ldc + j, start == NNF_FROM_C ? get(dtype, t->start, i * n + j) : (double)NAN);
        }
    }
    t->g = (nnf_gemm){
        .m = m, .n = n, .k = k, .a = t->pointers, .a_first = by_columns ? 0 : lead, .b_exact = f.b_exact,
        .b = t->b, .ldb = ldb, .c_exact = f.c_exact, .c = t->c, .ldc = ldc, .start = start, .bias = t->bias,
        .epilogue = NNF_STORE, .value = t->value, .ldv = ldc,
    };
    t->left = f.left;
    t->first = lead;
}

/* The call; with slices cut before. Those of rows hold what stands before `first` too. */
static void multiply(product *t)
{
    const nnf_index k = t->left == SLICED_ROWS ? t->first + t->g.k : t->g.k, room = t->g.m * (k + t->first);
    if (t->left != ROWS) {
        t->g.depth = k + t->first;
        void *slices = fenced(SLICES_SLOT, dtype, room + (t->left == SLICED_ROWS ? kernels->lanes : 0));
        if (t->left == SLICED_ROWS)
            kernels->slice_rows(t->g.m, k, slices, t->g.depth, t->pointers, 0);
        else
            kernels->slice_columns(t->g.m, k, slices, t->g.depth, t->pointers, t->first);
        t->g.slices = slices;
        check(intact_before(SLICES_SLOT), "slices " WHERE ": m %td, k %td", HERE, t->g.m, k);
    }
    kernels->gemm(&t->g);
}

static double a_element(const product *t, nnf_index i, nnf_index p)
{
    return t->left == SLICED_COLUMNS ? get(dtype, t->pointers[p], t->first + i)
                                     : get(dtype, t->pointers[i], t->first + p);
}

/* C against the definition; `roundings` = 0: exact. */
static int right(const product *t, double roundings)
{
    const nnf_gemm *g = &t->g;
    int wrong = !intact_before(C_SLOT);
    for (nnf_index i = 0; i < g->m; i++) {
        for (nnf_index j = 0; j < g->n; j++) {
            long double sum = get(dtype, t->start, i * g->n + j), size = fabsl(sum);
            for (nnf_index p = 0; p < g->k; p++) {
                const long double a = a_element(t, i, p), b = get(dtype, t->b, p * g->ldb + j), term = a * b;
                sum += term;
                size += fabsl(term);
            }
            const long double error = fabsl((long double)get(dtype, t->c, i * g->ldc + j) - sum);
            wrong += !(error <= roundings * epsilon(dtype) / 2 * size);
        }
        if (i < g->m - 1)
            wrong += !untouched(dtype, t->c, i * g->ldc + t->stored, (i + 1) * g->ldc);
    }
    return wrong == 0;
}

static void test_gemm(void)
{
    static product t;
    static const nnf_index depths[] = {0, 1, 2, 9};
    for (nnf_index m = 0; m <= 26; m++) {
        for (nnf_index n = 1; n <= nnf_columns_at_once(kernels, m, false); n++) {
            const nnf_index k = depths[(m + n) % 4], gap = (m + n) % 3;
            for (int f = 0; f < N_FORMS; f++) {
                if (n > kernels->panel && forms[f].left == ROWS && !forms[f].b_exact)
                    continue;
                for (int start = NNF_FROM_ZERO; start <= NNF_FROM_C; start++) {
                    make_product(&t, m, n, k, forms[f], (nnf_start)start, gap, random_integer);
                    multiply(&t);
                    check(right(&t, 0), "gemm " WHERE ": m %td, n %td, k %td, form %d, start %d", HERE, m, n, k, f,
                          start);
                }
            }
        }
    }
    for (nnf_index k = 1; k < 1500; k = 3 * k + 1) {
        for (int f = 0; f < N_FORMS; f++) {
            if (forms[f].left == SLICED_COLUMNS && k > MAX_POINTERS)
                continue;
            make_product(&t, 7, kernels->panel, k, forms[f], NNF_FROM_BIAS, 1, random_number);
            multiply(&t);
            check(right(&t, (double)k + 2), "gemm " WHERE ": error at k = %td, form %d", HERE, k, f);
        }
    }
    for (nnf_index m = 2 * NNF_BLOCK_ROWS - 7; m <= 2 * NNF_BLOCK_ROWS + 13; m++) { /* slices of several blocks */
        for (int f = 0; f < N_FORMS; f++) {
            make_product(&t, m, 1 + m % kernels->panel, 5, forms[f], NNF_FROM_ZERO, m % 3, random_integer);
            multiply(&t);
            check(right(&t, 0), "gemm " WHERE ": m %td, form %d", HERE, m, f);
        }
    }
}

/* Of the activations that have an argument. */
#define ARGUMENT 0.3

/* The epilogue changes every element as the array functions do. */
static void test_gemm_epilogue(void)
{
    static product t;
    nnf_index list[MAX_LENGTHS];
    const nnf_index count = lengths(list, kernels->panel + 1);
    for (int activation = 0; activation < NNF_N_ACTIVATIONS; activation++) {
        for (nnf_index e = 1; e < count; e++) {
            const nnf_index n = list[e], m = 1 + e % 14, k = 5;
            for (int variant = 0; variant < 2 * N_FORMS; variant++) {
                const int epilogue = variant % 2 == 0 ? NNF_ACTIVATE : NNF_DERIVE;
                make_product(&t, m, n, k, forms[variant / 2], NNF_FROM_C, e % 3, random_number); /* gap 0: one array */
                multiply(&t);
                void *plain = fenced(SPARE_SLOT, dtype, m * n);
                for (nnf_index i = 0; i < m; i++) {
                    void *row = element(plain, i * n), *c = element(t.c, i * t.g.ldc);
                    if (epilogue == NNF_ACTIVATE)
                        kernels->activate(activation, ARGUMENT, 1, n, row, c, n);
                    else
                        kernels->derive(activation, ARGUMENT, 1, n, row, c, n, element(t.value, i * t.g.ldv), n);
                    memcpy(c, element(t.start, i * n), (size_t)n * kernels->size);
                }
                t.g.epilogue = (nnf_epilogue)epilogue;
                t.g.activation = activation;
                t.g.argument = ARGUMENT;
                multiply(&t);
                int wrong = !intact_before(C_SLOT);
                for (nnf_index i = 0; i < m; i++) {
                    wrong += !same(element(t.c, i * t.g.ldc), element(plain, i * n), n);
                    if (i < m - 1)
                        wrong += !untouched(dtype, t.c, i * t.g.ldc + t.stored, (i + 1) * t.g.ldc);
                }
                check(wrong == 0, "gemm " WHERE ": %s, m %td, n %td, variant %d", HERE, nnf_activation_name(activation),
                      m, n, variant);
            }
        }
    }
}

/* With the rows in the lanes every element is the same chain: the bits are those of gemm. */
static void test_gemm_few(void)
{
    static product t;
    nnf_index list[MAX_LENGTHS];
    const nnf_index count = lengths(list, 2 * kernels->lanes + 2);
    for (nnf_index n = 1; n <= NNF_FEW_COLUMNS; n++) {
        for (nnf_index e = 0; e < count; e++) {
            for (nnf_index d = 0; d < count; d++) {
                const nnf_index m = list[e], k = list[d], gap = (m + k) % 3, ldb = k + gap;
                make_product(&t, m, n, k, (form){ROWS, 1, 1}, (m + k) % 2 ? NNF_FROM_BIAS : NNF_FROM_ZERO, gap,
                             random_number);
                kernels->gemm(&t.g);
                void *expected = fenced(SPARE_SLOT, dtype, span(m, n, t.g.ldc));
                memcpy(expected, t.c, (size_t)span(m, n, t.g.ldc) * kernels->size);
                void *b = fenced(VALUE_SLOT, dtype, span(n, k, ldb));
                for (nnf_index j = 0; j < n; j++)
                    for (nnf_index p = 0; p < k; p++)
                        put(dtype, b, j * ldb + p, get(dtype, t.b, p * t.g.ldb + j));
                nnf_gemm g = t.g;
                g.b = b;
                g.ldb = ldb;
                g.c = fenced(C_SLOT, dtype, span(m, n, g.ldc));
                kernels->gemm_few(&g);
                int wrong = !intact_before(C_SLOT);
                for (nnf_index i = 0; i < m; i++) {
                    wrong += !same(element(g.c, i * g.ldc), element(expected, i * g.ldc), n);
                    if (i < m - 1)
                        wrong += !untouched(dtype, g.c, i * g.ldc + n, (i + 1) * g.ldc);
                }
                check(wrong == 0, "gemm_few " WHERE ": m %td, n %td, k %td", HERE, m, n, k);
            }
        }
    }
}

/* ---- sparse products -------------------------------------------------------------------------------------------- */

/* About a third of A's elements become 0; `rows` are the others, fenced. */
static void make_sparse(product *t, nnf_sparse_row *rows, nnf_index vectors, nnf_index length)
{
    void *values = fenced(VALUE_SLOT, dtype, vectors * length);
    int32_t *indices = fenced(SPARE_SLOT, NNF_FLOAT32, vectors * length); /* 4 bytes each */
    nnf_index stored = 0;
    for (nnf_index i = 0; i < vectors; i++) {
        rows[i] = (nnf_sparse_row){.values = element(values, stored), .indices = indices + stored};
        for (nnf_index p = 0; p < length; p++) {
            const nnf_index place = i * (t->first + length) + t->first + p;
            if (random_bits() % 3 == 0) {
                put(dtype, t->a_memory, place, 0);
                continue;
            }
            put(dtype, values, stored, get(dtype, t->a_memory, place));
            indices[stored++] = (int32_t)p;
            rows[i].count++;
        }
    }
}

/* Sparse rows give the bits of the same rows in full. */
static void test_sparse(void)
{
    static product t;
    static const form row_forms[] = {{ROWS, 0, 0}, {ROWS, 1, 1}};
    static nnf_sparse_row rows[MAX_POINTERS];
    for (nnf_index n = 1; n <= kernels->panel; n++) {
        for (int f = 0; f < 2; f++) {
            const nnf_index m = 1 + n % 5, k = n % 16;
            make_product(&t, m, n, k, row_forms[f], NNF_FROM_BIAS, n % 3, random_number);
            make_sparse(&t, rows, m, k);
            t.g.epilogue = NNF_ACTIVATE;
            t.g.activation = NNF_TANH;
            kernels->gemm(&t.g);
            void *dense = fenced(START_SLOT, dtype, m * n);
            for (nnf_index i = 0; i < m; i++)
                memcpy(element(dense, i * n), element(t.c, i * t.g.ldc), (size_t)n * kernels->size);
            t.c = fenced(C_SLOT, dtype, span(m, t.stored, t.g.ldc));
            t.g.c = t.c;
            t.g.a = NULL;
            t.g.sparse = rows;
            kernels->gemm(&t.g);
            int wrong = !intact_before(C_SLOT);
            for (nnf_index i = 0; i < m; i++) {
                wrong += !same(element(t.c, i * t.g.ldc), element(dense, i * n), n);
                if (i < m - 1)
                    wrong += !untouched(dtype, t.c, i * t.g.ldc + t.stored, (i + 1) * t.g.ldc);
            }
            check(wrong == 0, "sparse rows " WHERE ": m %td, n %td, k %td, form %d", HERE, m, n, k, f);
        }
    }
    for (nnf_index width = kernels->lanes; width <= kernels->panel; width += kernels->lanes) {
        for (nnf_index columns = 1; columns <= 48; columns += 5) {
            const nnf_index samples = columns % 16, first = 7;
            make_product(&t, columns, width, samples, forms[4], NNF_FROM_ZERO, 0, random_number);
            make_sparse(&t, rows, samples, columns);
            multiply(&t);
            int32_t *indices = fenced(BIAS_SLOT, NNF_FLOAT32, samples * columns);
            for (nnf_index i = 0, stored = 0; i < samples; i++) { /* the numbers they have in a larger matrix */
                for (nnf_index p = 0; p < rows[i].count; p++)
                    indices[stored + p] = rows[i].indices[p] + (int32_t)first;
                rows[i].indices = indices + stored;
                stored += rows[i].count;
            }
            void *dw = fenced(START_SLOT, dtype, columns * width);
            kernels->sparse_gradient(columns, width, dw, first, samples, rows, t.b, t.g.ldb);
            check(same(dw, t.c, columns * width) && intact_before(START_SLOT),
                  "sparse gradient " WHERE ": %td samples, (%td, %td)", HERE, samples, columns, width);
        }
    }
}

/* ---- elementwise ------------------------------------------------------------------------------------------------ */

#define SELU_SCALE 1.0507009873554805
#define SELU_ALPHA 1.6732632423543772

static double one_activation(int activation, double x)
{
    switch (activation) {
    case NNF_IDENTITY: return x;
    case NNF_LOGISTIC: return 1 / (1 + exp(-x));
    case NNF_TANH: return tanh(x);
    case NNF_RELU: return x > 0 ? x : 0;
    case NNF_LEAKY_RELU: return x > 0 ? x : ARGUMENT * x;
    case NNF_STEP: return x > 0;
    case NNF_EXP: return exp(x);
    case NNF_ELU: return x > 0 ? x : ARGUMENT * expm1(x);
    case NNF_SELU: return SELU_SCALE * (x > 0 ? x : SELU_ALPHA * expm1(x));
    case NNF_GELU: return x * erfc(-x / sqrt(2)) / 2;
    case NNF_SILU: return x / (1 + exp(-x));
    case NNF_MISH: return x * tanh(log1p(exp(x)));
    case NNF_SOFTPLUS: return log1p(exp(x));
    case NNF_HARD_SIGMOID: return fmin(fmax((x + 3) / 6, 0), 1);
    case NNF_SOFTSIGN: return x / (1 + fabs(x));
    default: return NAN; /* a new row of activation.def fails until it stands here */
    }
}

/* The slope at x, where the value is y. */
static double one_slope(int activation, double x, double y)
{
    const double p = 1 / (1 + exp(-x)), w = tanh(log1p(exp(x)));
    switch (activation) {
    case NNF_IDENTITY: return 1;
    case NNF_LOGISTIC: return y * (1 - y);
    case NNF_TANH: return 1 - y * y;
    case NNF_RELU: return y != 0;
    case NNF_LEAKY_RELU: return y > 0 ? 1 : ARGUMENT;
    case NNF_STEP: return 0;
    case NNF_EXP: return y;
    case NNF_ELU: return x > 0 ? 1 : ARGUMENT * exp(x);
    case NNF_SELU: return SELU_SCALE * (x > 0 ? 1 : SELU_ALPHA * exp(x));
    case NNF_GELU: return erfc(-x / sqrt(2)) / 2 + x * exp(-x * x / 2) / sqrt(2 * 3.14159265358979323846);
    case NNF_SILU: return p + x * p * (1 - p);
    case NNF_MISH: return w + x * (1 - w * w) * p;
    case NNF_SOFTPLUS: return p;
    case NNF_HARD_SIGMOID: return fabs(x) < 3 ? 1.0 / 6 : 0;
    case NNF_SOFTSIGN: return 1 / ((1 + fabs(x)) * (1 + fabs(x)));
    default: return NAN;
    }
}

/* Lengths, tails and places; rows with and without a gap, which stays as it is. test_math.c measures the errors; 8 ULP
 * of the larger of result and 1 are enough to see here. */
static void test_elementwise(void)
{
    enum { OUTPUT, INPUT };
    static const char slope_from[] = {
#define NNF_ROW(NAME, name, slope) [NNF_##NAME] = slope,
#include "activation.def"
#undef NNF_ROW
    };
    const double tolerance = 8 * epsilon(dtype);
    for (int activation = 0; activation < NNF_N_ACTIVATIONS; activation++) {
        for (nnf_index n = 0; n <= 3 * kernels->lanes + 1; n++) {
            const nnf_index m = 1 + n % 3, ld = n + n / 3 % 2 * 2, ldy = ld + n % 2, size = span(m, n, ld);
            void *x = fenced(A_SLOT, dtype, size), *d = fenced(B_SLOT, dtype, size), *out = fenced(C_SLOT, dtype, size);
            void *slope = fenced(START_SLOT, dtype, size), *both = fenced(SPARE_SLOT, dtype, size);
            void *alone = fenced(BIAS_SLOT, dtype, size), *from = fenced(VALUE_SLOT, dtype, span(m, n, ldy));
            fill(dtype, x, size, random_number);
            for (nnf_index j = 0; j < size; j++)
                put(dtype, x, j, 4 * get(dtype, x, j));
            fill(dtype, d, size, random_number);
            kernels->activate(activation, ARGUMENT, m, n, out, x, ld);
            for (nnf_index i = 0; i < m; i++)
                memcpy(element(from, i * ldy), element(slope_from[activation] == INPUT ? x : out, i * ld),
                       (size_t)n * kernels->size);
            kernels->derive(activation, ARGUMENT, m, n, slope, d, ld, from, ldy);
            kernels->activate_with_slope(activation, ARGUMENT, m, n, both, alone, x, ld);
            int wrong = 0;
            for (nnf_index j = 0; j < size; j++) {
                if (j % ld >= n) {
                    wrong += !untouched(dtype, out, j, j + 1) + !untouched(dtype, slope, j, j + 1);
                    wrong += !untouched(dtype, both, j, j + 1) + !untouched(dtype, alone, j, j + 1);
                    continue;
                }
                const double at = get(dtype, x, j), y = get(dtype, out, j), exact = one_activation(activation, at);
                const double rise = one_slope(activation, at, y), allowed = tolerance * fmax(1, fabs(exact));
                wrong += !(fabs(y - exact) <= allowed);
                wrong += !(fabs(get(dtype, slope, j) - get(dtype, d, j) * rise) <= allowed);
                wrong += !(fabs(get(dtype, alone, j) - rise) <= allowed);
                wrong += !same(element(both, j), element(out, j), 1);
            }
            kernels->derive(activation, ARGUMENT, m, n, d, d, ld, from, ldy); /* in place */
            kernels->activate_with_slope(activation, ARGUMENT, m, n, both, alone, x, ld);
            kernels->activate(activation, ARGUMENT, m, n, x, x, ld);
            for (nnf_index i = 0; i < m; i++)
                wrong += !same(element(d, i * ld), element(slope, i * ld), n)
                         + !same(element(x, i * ld), element(out, i * ld), n);
            wrong += !intact_before(C_SLOT) + !intact_before(START_SLOT) + !intact_before(SPARE_SLOT)
                     + !intact_before(BIAS_SLOT);
            check(wrong == 0, "%s " WHERE ": m %td, n %td", nnf_activation_name(activation), HERE, m, n);
        }
    }
    for (nnf_index n = 0; n <= 3 * kernels->lanes + 1; n++) {
        void *x = fenced(A_SLOT, dtype, n), *out = fenced(C_SLOT, dtype, n);
        int wrong = 0;
        for (nnf_index j = 0; j < n; j++)
            put(dtype, x, j, 3 + 2.5 * random_number());
        kernels->log(n, out, x);
        for (nnf_index j = 0; j < n; j++)
            wrong += !(fabs(get(dtype, out, j) - log(get(dtype, x, j))) <= 2 * tolerance);
        check(wrong == 0 && intact_before(C_SLOT), "log " WHERE ": n %td", HERE, n);
    }
}

/* ---- rows: softmax and the output layer ------------------------------------------------------------------------- */

static const double test_levels[70] = {
    0.010, 0.024, 0.038, 0.052, 0.066, 0.080, 0.094, 0.108, 0.122, 0.136, 0.150, 0.164, 0.178, 0.192,
    0.206, 0.220, 0.234, 0.248, 0.262, 0.276, 0.290, 0.304, 0.318, 0.332, 0.346, 0.360, 0.374, 0.388,
    0.402, 0.416, 0.430, 0.444, 0.458, 0.472, 0.486, 0.500, 0.514, 0.528, 0.542, 0.556, 0.570, 0.584,
    0.598, 0.612, 0.626, 0.640, 0.654, 0.668, 0.682, 0.696, 0.710, 0.724, 0.738, 0.752, 0.766, 0.780,
    0.794, 0.808, 0.822, 0.836, 0.850, 0.864, 0.878, 0.892, 0.906, 0.920, 0.934, 0.948, 0.962, 0.976,
};
static const nnf_loss_args loss_args = {
    .huber_delta = 1.5, .tweedie_power = 1.25, .focal_gamma = 1.5, .n_levels = 70, .levels = test_levels,
};

/* For z (n) and y (n): the outputs p, and delta, the gradient; returns the loss of the row. */
static double output_reference(int loss, nnf_index n, double *p, double *delta, const double *z, const double *y)
{
    const double eps = epsilon(dtype), g = loss_args.focal_gamma, h = loss_args.huber_delta;
    const double a = 1 - loss_args.tweedie_power, b = 2 - loss_args.tweedie_power;
    double largest = -INFINITY, sum = 0, total = 0, shared = 0, later = 0;
    for (nnf_index j = 0; j < n; j++)
        largest = fmax(largest, z[j]);
    for (nnf_index j = 0; j < n; j++)
        sum += exp(z[j] - largest);
    for (nnf_index j = 0; j < n; j++) {
        const int link = nnf_loss_link(loss);
        p[j] = link == NNF_IDENTITY || (link == NNF_ORDERED && j == 0) ? z[j]
               : link == NNF_SOFTMAX                                   ? exp(z[j] - largest) / sum
               : link == NNF_LOGISTIC                                  ? 1 / (1 + exp(-z[j]))
               : link == NNF_EXP                                       ? exp(z[j])
                                                                       : p[j - 1] + log1p(exp(z[j]));
        const double q = fmin(fmax(p[j], eps), 1 - eps), d = p[j] - y[j], r = 1 - q, level = test_levels[j];
        delta[j] = d;
        switch (loss) {
        case NNF_SQUARED_ERROR: total += 0.5 * d * d; break;
        case NNF_LOG_LOSS: total -= y[j] * log(q); break;
        case NNF_BINARY_LOG_LOSS: total -= y[j] * log(q) + (1 - y[j]) * log(r); break;
        case NNF_POISSON: total += (y[j] > 0 ? y[j] * log(y[j] / p[j]) : 0) - y[j] + p[j]; break;
        case NNF_ABSOLUTE_ERROR:
            total += fabs(d);
            delta[j] = (d > 0) - (d < 0);
            break;
        case NNF_HUBER:
            total += fabs(d) <= h ? 0.5 * d * d : h * (fabs(d) - 0.5 * h);
            delta[j] = fmax(-h, fmin(h, d));
            break;
        case NNF_LOG_COSH:
            total += log(cosh(d));
            delta[j] = tanh(d);
            break;
        case NNF_GAMMA:
            total += y[j] / p[j] - log(y[j] / p[j]) - 1;
            delta[j] = 1 - y[j] / p[j];
            break;
        case NNF_TWEEDIE:
            total += pow(y[j], b) / (a * b) - y[j] * pow(p[j], a) / a + pow(p[j], b) / b;
            delta[j] = pow(p[j], b) - y[j] * pow(p[j], a);
            break;
        case NNF_FOCAL:
            total -= y[j] * pow(r, g) * log(q);
            delta[j] = y[j] * (g * q * pow(r, g - 1) * log(q) - pow(r, g));
            shared += delta[j];
            break;
        case NNF_BINARY_FOCAL:
            total -= y[j] * pow(r, g) * log(q) + (1 - y[j]) * pow(q, g) * log(r);
            delta[j] = y[j] * pow(r, g) * (g * q * log(q) - r) - (1 - y[j]) * pow(q, g) * (g * r * log(r) - q);
            break;
        case NNF_QUANTILE:
            delta[j] = d > 0 ? 1 - level : -level;
            total += delta[j] * d;
            break;
        default: return NAN; /* a new row of loss.def fails until it stands here */
        }
    }
    for (nnf_index j = n - 1; j >= 0; j--) {
        if (loss == NNF_FOCAL)
            delta[j] -= p[j] * shared;
        if (loss == NNF_QUANTILE) {
            later += delta[j];
            delta[j] = j == 0 ? later : later / (1 + exp(-z[j]));
        }
    }
    return total;
}

static double random_target(int loss)
{
    const int link = nnf_loss_link(loss);
    if (link == NNF_IDENTITY || link == NNF_ORDERED)
        return random_number();
    return (double)(random_bits() % (link == NNF_EXP ? 4 : 2)) + (loss == NNF_GAMMA);
}

/* Another size in the terms of a loss than those of p and y. */
static double ratio(int loss, double p, double y)
{
    const bool canonical = loss <= NNF_POISSON;
    return loss == NNF_GAMMA ? 2 + y / p : loss == NNF_TWEEDIE ? y / pow(p, 0.25) : canonical ? 0 : 2;
}

static void test_output(void)
{
    nnf_index list[MAX_LENGTHS];
    const nnf_index count = lengths(list, 70), m = 3;
    for (int loss = 0; loss < NNF_N_LOSSES; loss++) {
        for (nnf_index e = 1; e < count; e++) {
            const nnf_index n = list[e], gap = e % 3, ld = n + gap, lead = e % 2;
            /* Of terms of size 1 to 10, all sums together. */
            const double sum_error = ((double)n / 16 + 30) * epsilon(dtype);
            void *z = fenced(C_SLOT, dtype, span(m, n, ld)), *y = fenced(B_SLOT, dtype, m * (lead + n));
            void *x = fenced(A_SLOT, dtype, span(m, n, ld));
            const void *rows[3];
            double plain[70], target[70], p[3][70], slope[3][70], losses[3], expected[3];
            int wrong = 0;
            for (nnf_index i = 0; i < m; i++) {
                rows[m - 1 - i] = element(y, i * (lead + n)); /* in any order */
                for (nnf_index j = 0; j < lead + n; j++)
                    put(dtype, y, i * (lead + n) + j, random_target(loss));
                losses[i] = (double)i; /* the loss is added */
            }
            for (nnf_index i = 0; i < m; i++) {
                for (nnf_index j = 0; j < n; j++) {
                    put(dtype, z, i * ld + j, 3 * random_number());
                    put(dtype, x, i * ld + j, get(dtype, z, i * ld + j));
                    plain[j] = get(dtype, z, i * ld + j);
                    target[j] = get(dtype, rows[i], lead + j);
                }
                expected[i] = (double)i + output_reference(loss, n, p[i], slope[i], plain, target);
            }
            kernels->output(loss, &loss_args, m, n, z, ld, rows, lead, losses);
            (loss == NNF_QUANTILE ? kernels->ordered : kernels->softmax)(m, n, x, ld);
            for (nnf_index i = 0; i < m; i++) {
                double size = 0;
                for (nnf_index j = 0; j < n; j++) {
                    const double delta = get(dtype, z, i * ld + j), t = get(dtype, rows[i], lead + j);
                    const double other = ratio(loss, p[i][j], t), sums = loss == NNF_QUANTILE ? (double)n : 0;
                    const double scale = fabs(p[i][j]) + other + sums;
                    wrong += !(fabs(delta - slope[i][j]) <= sum_error * scale + epsilon(dtype) * fabs(t));
                    if (loss == NNF_LOG_LOSS) /* the same probabilities as from softmax, to the bit */
                        wrong += delta != rounded(dtype, get(dtype, x, i * ld + j) - t);
                    if (loss == NNF_QUANTILE)
                        wrong += !(fabs(get(dtype, x, i * ld + j) - p[i][j]) <= sum_error * (10 + fabs(p[i][j])))
                                 + (j > 0 && !(get(dtype, x, i * ld + j) >= get(dtype, x, i * ld + j - 1)));
                    size += 10 + other + fabs(p[i][j]) + fabs(t) * 10; /* the terms before they cancel */
                }
                wrong += !(fabs(losses[i] - expected[i]) <= sum_error * size);
                for (int array = 0; i < m - 1 && array < 2; array++)
                    wrong += !untouched(dtype, array == 0 ? z : x, i * ld + n, (i + 1) * ld);
            }
            wrong += !intact_before(C_SLOT) + !intact_before(A_SLOT);
            check(wrong == 0, "output " WHERE ": %s, n %td", HERE, nnf_loss_name(loss), n);
        }
    }
}

/* Probabilities of exactly 0 and 1 are clipped before the logarithm; NaN is not hidden. */
static void test_clipping(void)
{
    double memory[4] = {0}, targets[4] = {0}, loss = 0;
    void *z = memory, *y = targets;
    const void *rows[1] = {y};
    const double eps = epsilon(dtype), largest_loss = -log(eps);
    put(dtype, z, 0, 1000);
    put(dtype, z, 1, -1000);
    put(dtype, y, 1, 1);
    kernels->output(NNF_LOG_LOSS, &loss_args, 1, 2, z, 2, rows, 0, &loss);
    check(fabs(loss - largest_loss) <= 4 * eps * largest_loss, "log loss " WHERE ": clipped, %g", HERE, loss);
    check(get(dtype, z, 0) == 1 && get(dtype, z, 1) == -1, "log loss " WHERE ": delta at the ends", HERE);
    put(dtype, z, 0, 1000);
    put(dtype, z, 1, -1000);
    loss = 0;
    kernels->output(NNF_BINARY_LOG_LOSS, &loss_args, 1, 2, z, 2, rows, 0, &loss);
    /* 1 - (1 - eps) is eps; both outputs are wrong. */
    check(fabs(loss - 2 * largest_loss) <= 8 * eps * largest_loss, "binary log loss " WHERE ": clipped, %g", HERE,
          loss);
    for (int kind = 0; kind < NNF_N_LOSSES; kind++) {
        for (int place = 0; place < 2; place++) {
            put(dtype, z, 0, 0.5);
            put(dtype, z, 1, 0.5);
            put(dtype, z, place, (double)NAN);
            loss = 0;
            kernels->output(kind, &loss_args, 1, 2, z, 2, rows, 0, &loss);
            check(isnan(loss) && isnan(get(dtype, z, place)), "%s " WHERE ": NaN is hidden", nnf_loss_name(kind), HERE);
        }
    }
}

/* ---- all finite; both classes ---------------------------------------------------------------------------------- */

static void test_finite_and_both_classes(void)
{
    for (nnf_index n = 0; n <= 3 * kernels->lanes + 1; n++) {
        void *x = fenced(A_SLOT, dtype, n);
        fill(dtype, x, n, random_number);
        check(kernels->finite(n, x) == 1, "finite " WHERE ": n %td", HERE, n);
        for (nnf_index j = 0; j < n; j++) {
            const double bad[] = {(double)NAN, (double)INFINITY, -(double)INFINITY};
            const double before = get(dtype, x, j);
            for (int b = 0; b < 3; b++) {
                put(dtype, x, j, bad[b]);
                check(kernels->finite(n, x) == 0, "finite " WHERE ": n %td, %f at %td", HERE, n, bad[b], j);
            }
            put(dtype, x, j, dtype == NNF_FLOAT32 ? 0x1.fffffep127 : 0x1.fffffffffffffp1023); /* the largest number */
            check(kernels->finite(n, x) == 1, "finite " WHERE ": the largest number at %td", HERE, j);
            put(dtype, x, j, before);
        }
        void *out = fenced(C_SLOT, dtype, 2 * n);
        memcpy(out, x, (size_t)n * kernels->size);
        kernels->both_classes(n, out);
        int wrong = !intact_before(C_SLOT);
        for (nnf_index j = 0; j < n; j++) {
            const double p = get(dtype, x, j);
            wrong += get(dtype, out, 2 * j + 1) != p || get(dtype, out, 2 * j) != rounded(dtype, 1 - p);
        }
        check(wrong == 0, "both_classes " WHERE ": n %td", HERE, n);
    }
}

/* ---- sums over rows --------------------------------------------------------------------------------------------- */

static void test_sums(void)
{
    nnf_index list[MAX_LENGTHS];
    const nnf_index count = lengths(list, 70);
    for (nnf_index e = 0; e < count; e++) {
        for (nnf_index m = 0; m < 5; m++) {
            const nnf_index n = list[e], padded = nnf_round_up(n, kernels->lanes), ld = padded + e % 3;
            const nnf_index size = span(m, padded, ld);
            void *x = fenced(A_SLOT, dtype, size), *sums = fenced(C_SLOT, dtype, n);
            int wrong = 0;
            double all = 0;
            fill(dtype, x, size, random_integer);
            kernels->column_sums(m, n, sums, x, ld);
            for (nnf_index j = 0; j < n; j++) {
                double sum = 0;
                for (nnf_index i = 0; i < m; i++)
                    sum += get(dtype, x, i * ld + j);
                wrong += get(dtype, sums, j) != sum;
                all += sum;
            }
            check(wrong == 0 && intact_before(C_SLOT), "column_sums " WHERE ": m %td, n %td", HERE, m, n);

            /* sum() reads exactly n elements of the last row: these end at the fence. */
            void *exact = fenced(B_SLOT, dtype, span(m, n, ld));
            memcpy(exact, x, (size_t)span(m, n, ld) * kernels->size);
            check(kernels->sum(m, n, exact, ld) == all, "sum " WHERE ": m %td, n %td", HERE, m, n);

            x = fenced(A_SLOT, dtype, m * padded);
            sums = fenced(C_SLOT, dtype, padded);
            fill(dtype, x, m * padded, random_integer);
            for (nnf_power power = NNF_SIZES; power <= NNF_SQUARES; power++) {
                kernels->column_norms(power, m, padded, sums, x, padded, kernels->panel);
                for (nnf_index j = 0; j < padded; j++) {
                    double sum = 0;
                    for (nnf_index i = 0; i < m; i++)
                        sum += pow(fabs(get(dtype, x, i * padded + j)), power);
                    wrong += get(dtype, sums, j) != sum;
                }
                check(wrong == 0 && intact_before(C_SLOT), "column_norms " WHERE ": power %d, m %td, n %td", HERE,
                      (int)power, m, padded);
            }

            const nnf_index panels = e % 10, columns = panels * kernels->panel, distance = (m + 2) * kernels->panel;
            x = fenced(A_SLOT, dtype, panels * distance);
            sums = fenced(C_SLOT, dtype, columns);
            fill(dtype, x, panels * distance, random_integer);
            kernels->column_norms(NNF_SQUARES, m, columns, sums, element(x, kernels->panel), kernels->panel, distance);
            for (nnf_index j = 0; j < columns; j++) {
                const nnf_index at = j / kernels->panel * distance + j % kernels->panel;
                double sum = 0;
                for (nnf_index i = 1; i <= m; i++)
                    sum += pow(get(dtype, x, at + i * kernels->panel), 2);
                wrong += get(dtype, sums, j) != sum;
            }
            check(wrong == 0 && intact_before(C_SLOT), "column_norms " WHERE ": m %td, %td panels", HERE, m, panels);

            /* A column that lies in a row has the same chain. */
            void *column = fenced(A_SLOT, dtype, n * kernels->lanes), *row = fenced(B_SLOT, dtype, n);
            sums = fenced(C_SLOT, dtype, kernels->lanes);
            void *norm = fenced(VALUE_SLOT, dtype, 1);
            fill(dtype, column, n * kernels->lanes, random_number);
            for (nnf_index i = 0; i < n; i++)
                put(dtype, row, i, get(dtype, column, i * kernels->lanes));
            for (nnf_power power = NNF_SIZES; power <= NNF_SQUARES; power++) {
                kernels->column_norms(power, n, kernels->lanes, sums, column, kernels->lanes, kernels->panel);
                kernels->row_norm(power, n, norm, row);
                check(same(norm, sums, 1), "row_norm " WHERE ": power %d, m %td", HERE, (int)power, n);
            }

            double *wide = fenced(VALUE_SLOT, NNF_FLOAT64, padded);
            void *narrow = fenced(B_SLOT, dtype, padded);
            for (nnf_index j = 0; j < padded; j++)
                wide[j] = random_number();
            fill(dtype, narrow, padded, random_number);
            double expected[80];
            for (nnf_index j = 0; j < padded; j++)
                expected[j] = wide[j] + get(dtype, narrow, j);
            kernels->widen_add(padded, wide, narrow);
            kernels->narrow(padded, narrow, wide);
            for (nnf_index j = 0; j < padded; j++)
                wrong += wide[j] != expected[j] || get(dtype, narrow, j) != rounded(dtype, expected[j]);
            kernels->scale(n, narrow, -1.25);
            for (nnf_index j = 0; j < padded; j++)
                wrong += get(dtype, narrow, j) != rounded(dtype, rounded(dtype, expected[j]) * (j < n ? -1.25 : 1));
            wrong += !intact_before(VALUE_SLOT) + !intact_before(B_SLOT);
            check(wrong == 0, "widen_add, narrow, scale " WHERE ": n %td", HERE, padded);
        }
    }
}

/* ---- copy, transpose -------------------------------------------------------------------------------------------- */

static void test_copy_and_transpose(void)
{
    const nnf_index most = 2 * kernels->lanes + 1;
    for (nnf_index c = 0; c < 2 * (most + 1) * (most + 1); c++) {
        const bool turned = c % 2 == 1;
        const nnf_index m = c / 2 % (most + 1), n = c / 2 / (most + 1), lds = n + m % 3;
        const nnf_index rows = turned ? n : m, columns = turned ? m : n; /* of dst */
        const nnf_index padded = nnf_round_up(columns, kernels->lanes), ldd = padded + n % 3;
        void *src = fenced(A_SLOT, dtype, span(m, n, lds));
        void *dst = fenced(C_SLOT, dtype, span(rows, padded, ldd));
        int wrong = 0;
        fill(dtype, src, span(m, n, lds), random_number);
        (turned ? kernels->transpose : kernels->copy)(m, n, dst, ldd, src, lds);
        for (nnf_index i = 0; i < rows; i++) {
            for (nnf_index j = 0; j < padded; j++) {
                const nnf_index from = turned ? j * lds + i : i * lds + j;
                wrong += get(dtype, dst, i * ldd + j) != (j < columns ? get(dtype, src, from) : 0);
            }
            if (i < rows - 1)
                wrong += !untouched(dtype, dst, i * ldd + padded, (i + 1) * ldd);
        }
        check(wrong == 0 && intact_before(C_SLOT), "%s " WHERE ": m %td, n %td", turned ? "transpose" : "copy", HERE, m,
              n);
    }
}

/* ---- update ----------------------------------------------------------------------------------------------------- */

/* -1, 0 or 1. */
static double sign(double x)
{
    return (double)((x > 0) - (x < 0));
}

/* x, drawn towards 0 by this much. */
static double shrink(double x, double by)
{
    return fabs(x) < by ? 0 : x - by * sign(x);
}

/* The formulas in double: within a few roundings of terms of size 1. Steps of rprop are large, and multiples of them
 * exact. With and without clipping and an L1 penalty. */
static void test_update(void)
{
    for (int solver = 0; solver <= NNF_GRADIENT; solver++) {
        for (nnf_index k = 0; k < 2 * 7; k++) {
            const nnf_index n = k % 7 * kernels->lanes;
            const double clip = k < 7 ? 0 : 0.0625, l1 = k < 7 ? 0 : 0.125;
            void *w = fenced(A_SLOT, dtype, n), *dw = fenced(B_SLOT, dtype, n);
            void *s1 = fenced(C_SLOT, dtype, n), *s2 = fenced(VALUE_SLOT, dtype, n);
            double before[3][96], tolerance = 16 * epsilon(dtype);
            fill(dtype, w, n, random_number);
            fill(dtype, dw, n, random_number);
            fill(dtype, s1, n, random_number);
            for (nnf_index j = 0; j < n; j++) {
                put(dtype, s2, j, solver == NNF_RPROP ? (double)(j % 3) : 0.5 + fabs(random_number()));
                if (solver == NNF_RPROP)
                    put(dtype, s1, j, (double)(j % 4 / 2 * 2 - 1));
                if (solver == NNF_ADAGRAD || solver == NNF_RMSPROP)
                    put(dtype, s1, j, 0.5 + fabs(get(dtype, s1, j)));
                if (j % 5 == 0)
                    put(dtype, w, j, j % 2 == 0 ? 0 : -0.0);
                before[0][j] = get(dtype, w, j);
                before[1][j] = get(dtype, s1, j);
                before[2][j] = get(dtype, s2, j);
            }
            const nnf_update u = {
                .rows = 1, .n = n, .ld = n, .ld_dw = n, .dw = dw, .w = w, .s1 = s1, .s2 = s2, .alpha = 0.25,
                .inv_rows = 0.125, .rate = 0.5, .gradient_rate = 0.25, .reach = 0.75, .clip = clip, .l1 = l1,
                .momentum = 0.75, .beta_1 = 0.875, .beta_2 = 0.96875, .epsilon = 0.0625,
                .decay = solver == NNF_GRADIENT ? 0 : 0.375,
            };
            kernels->update(solver, &u);
            int wrong = 0;
            for (nnf_index j = 0; j < n; j++) {
                double g = (get(dtype, dw, j) + 0.25 * before[0][j]) * 0.125, reach = 0.75;
                if (clip > 0 && fabs(g) > clip)
                    g = clip * sign(g);
                const double start = (1 - u.decay) * before[0][j];
                double expected = start, e1 = before[1][j], e2 = before[2][j];
                switch (solver) {
                case NNF_SGD: expected -= 0.5 * g; break;
                case NNF_MOMENTUM: e1 = 0.75 * e1 - 0.5 * g; expected += e1; break;
                case NNF_NESTEROV: e1 = 0.75 * e1 - 0.5 * g; expected += 0.75 * e1 - 0.5 * g; break;
                case NNF_ADAM:
                case NNF_NADAM: {
                    const double of_gradient = solver == NNF_ADAM ? 0 : 0.25;
                    e1 = 0.875 * e1 + 0.125 * g;
                    e2 = 0.96875 * e2 + 0.03125 * g * g;
                    expected -= (0.5 * e1 + of_gradient * g) / (sqrt(e2) + 0.0625);
                    reach = 0.75 / (sqrt(e2) + 0.0625);
                    break;
                }
                case NNF_RMSPROP:
                case NNF_ADAGRAD:
                    e1 = solver == NNF_ADAGRAD ? e1 + g * g : 0.96875 * e1 + 0.03125 * g * g;
                    reach = 0.75 / (sqrt(e1) + 0.0625);
                    expected -= 0.5 * g / (sqrt(e1) + 0.0625);
                    break;
                case NNF_RPROP: {
                    const double slope = start != 0 ? g + l1 * sign(start) : shrink(g, l1);
                    const double factor = slope * e1 > 0 ? 1.2 : slope * e1 < 0 ? 0.5 : 1;
                    e2 = (e2 == 0 ? 1 : e2) * factor;
                    e1 = factor < 1 ? 0 : sign(slope);
                    reach = 0;
                    expected -= 0.5 * e2 * e1;
                    if (l1 > 0 && expected * start < 0)
                        expected = 0;
                    break;
                }
                case NNF_GRADIENT: e1 = g + l1 * sign(start); reach = 0; break;
                default: expected = NAN; /* a new solver fails until it stands here */
                }
                expected = shrink(expected, reach * l1);
                wrong += !(fabs(get(dtype, w, j) - expected) <= tolerance);
                if (solver == NNF_GRADIENT) /* to the last bit: nothing is updated */
                    wrong += get(dtype, w, j) != start || !signbit(get(dtype, w, j)) != !signbit(start);
                wrong += !(fabs(get(dtype, s1, j) - e1) <= tolerance) + !(fabs(get(dtype, s2, j) - e2) <= tolerance);
            }
            wrong += !intact_before(A_SLOT) + !intact_before(C_SLOT) + !intact_before(VALUE_SLOT);
            check(wrong == 0, "update " WHERE ": solver %d, n %td, clip %g", HERE, solver, n, clip);
        }
    }
}

/* A block among other columns is updated as its rows would be one by one, and its neighbours stay. */
static void test_update_of_a_block(void)
{
    for (int solver = 0; solver <= NNF_GRADIENT; solver++) {
        const nnf_index rows = 3, n = 2 * kernels->lanes, ld = n + kernels->lanes, size = span(rows, n, ld);
        void *parts[] = {fenced(A_SLOT, dtype, size), fenced(B_SLOT, dtype, size), fenced(C_SLOT, dtype, size)};
        void *expected[] = {fenced(START_SLOT, dtype, size), fenced(SPARE_SLOT, dtype, size),
                            fenced(BIAS_SLOT, dtype, size)};
        void *dw = fenced(VALUE_SLOT, dtype, rows * n);
        fill(dtype, dw, rows * n, random_number);
        for (int part = 0; part < 3; part++) {
            fill(dtype, parts[part], size, random_number);
            for (nnf_index j = 0; part == 2 && j < size; j++)
                put(dtype, parts[part], j, fabs(get(dtype, parts[part], j)));
            memcpy(expected[part], parts[part], (size_t)size * kernels->size);
        }
        nnf_update u = {
            .rows = rows, .n = n, .ld = ld, .ld_dw = n, .dw = dw, .w = parts[0], .s1 = parts[1], .s2 = parts[2],
            .alpha = 0.25,
            .inv_rows = 0.125, .rate = 0.5, .momentum = 0.75, .beta_1 = 0.875, .beta_2 = 0.96875, .epsilon = 0.0625,
            .decay = solver == NNF_GRADIENT ? 0 : 0.375,
        };
        kernels->update(solver, &u);
        u.rows = 1;
        for (nnf_index i = 0; i < rows; i++) {
            u.dw = element(dw, i * n);
            u.w = element(expected[0], i * ld);
            u.s1 = element(expected[1], i * ld);
            u.s2 = element(expected[2], i * ld);
            kernels->update(solver, &u);
        }
        for (int part = 0; part < 3; part++)
            check(same(parts[part], expected[part], size), "update of a block " WHERE ": solver %d, part %d", HERE,
                  solver, part);
    }
}

/* ---- packing and products (gemm.c) ------------------------------------------------------------------------------ */

/* The address formula of kernels.h. */
static nnf_index packed_index(nnf_index k, nnf_index n, nnf_index p, nnf_index j)
{
    const nnf_index panel = kernels->panel;
    return j / panel * panel * k + p * nnf_panel_width(kernels, n, j / panel) + j % panel;
}

static void test_packing(void)
{
    nnf_index list[MAX_LENGTHS];
    const nnf_index count = lengths(list, 2 * NNF_BLOCK_ROWS + 2);
    for (nnf_index e = 1; e < count; e++) {
        for (nnf_index f = 1; f < count; f++) {
            const nnf_index k = list[e], n = list[f], stored = nnf_round_up(n, kernels->lanes);
            const nnf_range panels = {0, nnf_n_panels(kernels, n)};
            void *B = fenced(A_SLOT, dtype, k * n), *packed = fenced(C_SLOT, dtype, k * stored);
            fill(dtype, B, k * n, random_number);
            for (int by_columns = 0; by_columns < 2; by_columns++) { /* B stored (k, n), or (n, k) */
                int wrong = 0;
                packed = fenced(C_SLOT, dtype, k * stored);
                nnf_pack(kernels, packed, B, by_columns ? 1 : n, by_columns ? k : 1, k, n, panels);
                for (nnf_index p = 0; p < k; p++)
                    for (nnf_index j = 0; j < stored; j++) {
                        const double expected = j >= n ? 0 : get(dtype, B, by_columns ? j * k + p : p * n + j);
                        wrong += get(dtype, packed, packed_index(k, n, p, j)) != expected;
                    }
                check(wrong == 0 && intact_before(C_SLOT), "pack " WHERE ": k %td, n %td", HERE, k, n);
            }
            /* `packed` holds the transpose of B as an (n, k) matrix; taking it apart and transposing it again agree. */
            void *plain = fenced(VALUE_SLOT, dtype, k * n);
            void *transposed = fenced(B_SLOT, dtype, n * nnf_round_up(k, kernels->lanes));
            void *again = fenced(START_SLOT, dtype, n * nnf_round_up(k, kernels->lanes));
            nnf_unpack(kernels, plain, packed, k, n, (nnf_range){0, k / 3});
            nnf_unpack(kernels, plain, packed, k, n, (nnf_range){k / 3, k});
            int wrong = 0;
            for (nnf_index p = 0; p < k; p++)
                for (nnf_index j = 0; j < n; j++)
                    wrong += get(dtype, plain, p * n + j) != get(dtype, B, j * k + p);
            check(wrong == 0 && intact_before(VALUE_SLOT), "unpack " WHERE ": k %td, n %td", HERE, k, n);

            nnf_pack(kernels, again, plain, 1, n, n, k, (nnf_range){0, nnf_n_panels(kernels, k)});
            for (nnf_index j = 0; j < panels.end; j++)
                for (nnf_index p = 0; p < k; p += NNF_BLOCK_ROWS)
                    nnf_pack_transpose(kernels, transposed, packed, k, n,
                                       (nnf_range){p, nnf_min(k, p + NNF_BLOCK_ROWS)},
                                       (nnf_range){j * kernels->panel, nnf_min(stored, (j + 1) * kernels->panel)});
            check(same(transposed, again, n * nnf_round_up(k, kernels->lanes)) && intact_before(B_SLOT),
                  "pack_transpose " WHERE ": k %td, n %td", HERE, k, n);
            transposed = fenced(B_SLOT, dtype, n * nnf_round_up(k, kernels->lanes));
            for (nnf_index j = 0; j < stored; j += kernels->lanes) /* and a vector of columns at a time */
                nnf_pack_transpose(kernels, transposed, packed, k, n, (nnf_range){0, k},
                                   (nnf_range){j, j + kernels->lanes});
            check(same(transposed, again, n * nnf_round_up(k, kernels->lanes)) && intact_before(B_SLOT),
                  "pack_transpose by vectors " WHERE ": k %td, n %td", HERE, k, n);
            transposed = fenced(B_SLOT, dtype, n * nnf_round_up(k, kernels->lanes));
            const nnf_index border = panels.end / 2 * kernels->panel; /* and several panels */
            nnf_pack_transpose(kernels, transposed, packed, k, n, (nnf_range){0, k}, (nnf_range){border, stored});
            nnf_pack_transpose(kernels, transposed, packed, k, n, (nnf_range){0, k}, (nnf_range){0, border});
            check(same(transposed, again, n * nnf_round_up(k, kernels->lanes)) && intact_before(B_SLOT),
                  "pack_transpose by panels " WHERE ": k %td, n %td", HERE, k, n);
        }
    }
}

/* Products with several panels, of a B in plain rows or packed, with C in rows or packed: the bits are those of one
 * panel after another, whichever panels go side by side, and however k is cut. */
static void test_product(void)
{
    static product t;
    static const nnf_index depths[] = {5, NNF_CHUNK + 3};
    nnf_index list[MAX_LENGTHS];
    const nnf_index count = lengths(list, 2 * NNF_CHAINS * kernels->lanes + 2);
    for (nnf_index m = 1; m <= 5; m++) {
        for (nnf_index e = 1; e < 2 * count; e++) {
            const nnf_index n = list[e / 2], k = depths[e % 2], stored = nnf_round_up(n, kernels->lanes);
            const nnf_range panels = {0, nnf_n_panels(kernels, n)};
            const nnf_epilogue epilogues[] = {NNF_STORE, NNF_ACTIVATE, NNF_DERIVE};
            make_product(&t, m, n, k, (form){ROWS, 1, 0}, e % 3 ? NNF_FROM_BIAS : NNF_FROM_ZERO, e % 3, random_number);
            t.g.epilogue = epilogues[e / 3 % 3];
            t.g.activation = (int)(e / 2) % NNF_N_ACTIVATIONS;
            t.g.argument = ARGUMENT;
            const nnf_operand plain = {.data = t.b, .n_rows = k, .n_columns = n, .ld = t.g.ldb};
            for (nnf_index j = 0; j < panels.end; j++)
                nnf_product(kernels, &t.g, &plain, (nnf_range){j, j + 1});

            const nnf_index size = span(m, stored, t.g.ldc);
            void *packed = fenced(SPARE_SLOT, dtype, k * stored);
            nnf_pack(kernels, packed, t.b, t.g.ldb, 1, k, n, panels);
            const nnf_operand operands[] = {plain, {.data = packed, .n_rows = k, .n_columns = n}};
            for (int o = 0; o < 2; o++) {
                nnf_gemm g = t.g;
                g.c = fenced(START_SLOT, dtype, size);
                nnf_product(kernels, &g, &operands[o], (nnf_range){panels.end / 3, panels.end});
                nnf_product(kernels, &g, &operands[o], (nnf_range){0, panels.end / 3});
                int wrong = !intact_before(START_SLOT);
                for (nnf_index i = 0; i < m; i++)
                    wrong += !same(element(g.c, i * g.ldc), element(t.c, i * g.ldc), n);
                check(wrong == 0, "product " WHERE ": m %td, n %td, k %td, operand %d", HERE, m, n, k, o);

                g.c = fenced(START_SLOT, dtype, m * stored);
                g.ldc = 0;
                nnf_product(kernels, &g, &operands[o], panels);
                wrong = !intact_before(START_SLOT);
                for (nnf_index i = 0; i < m; i++)
                    for (nnf_index j = 0; j < n; j++)
                        wrong += !same(element(g.c, packed_index(m, n, i, j)), element(t.c, i * t.g.ldc + j), 1);
                check(wrong == 0, "packed product " WHERE ": m %td, n %td, k %td, operand %d", HERE, m, n, k, o);
            }
        }
    }
}

/* ---- shares of work (thread.c) and arenas (memory.c) ------------------------------------------------------------- */

static void test_shares(void)
{
    for (nnf_index n = 0; n < 200; n += 7)
        for (nnf_index unit = 1; unit < 14; unit += 4)
            for (int of = 1; of < 20; of += 3) {
                nnf_index end = 0;
                int wrong = 0;
                for (int thread = 0; thread < of; thread++) {
                    const nnf_range share = nnf_share(n, unit, thread, of);
                    wrong += share.begin != end || share.end < share.begin;
                    wrong += share.end < n && share.end % unit != 0;
                    end = share.end;
                }
                check(wrong == 0 && end == n, "share: n %td, unit %td, %d threads", n, unit, of);
            }
}

typedef struct meeting {
    atomic_int calls, rounds[8];
    atomic_int missing;
} meeting;

static void meet(void *context, nnf_team *team, int thread, int n_threads)
{
    meeting *m = context;
    atomic_fetch_add(&m->calls, 1);
    for (int round = 0; round < 8; round++) {
        atomic_fetch_add(&m->rounds[round], 1);
        nnf_barrier(team);
        if (atomic_load(&m->rounds[round]) != n_threads)
            atomic_fetch_add(&m->missing, 1);
    }
    if (thread < 0 || thread >= n_threads)
        atomic_fetch_add(&m->missing, 1);
}

static void test_barrier(void)
{
    for (int n_threads = 1; n_threads <= 9; n_threads++) {
        meeting m = {0};
        nnf_parallel(n_threads, meet, &m);
        const int team = atomic_load(&m.calls);
        check(team >= 1 && team <= n_threads && atomic_load(&m.missing) == 0, "barrier: %d of %d threads", team,
              n_threads);
    }
}

static void test_arena(void)
{
    const nnf_index largest = PTRDIFF_MAX;
    nnf_arena arena = {0};
    nnf_take(&arena, 3, 5, 4);
    check(arena.used == 64 && !arena.overflow, "arena: 60 bytes take 64");
    nnf_take(&arena, 0, largest, 8);
    check(arena.used == 64 && !arena.overflow, "arena: no rows take nothing");
    const nnf_index sizes[][2] = {
        {largest, largest}, {largest, 2}, {largest, 1}, {(nnf_index)1 << 32, (nnf_index)1 << 31},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        nnf_arena full = arena;
        check(nnf_take(&full, sizes[i][0], sizes[i][1], 8) == NULL && full.overflow, "arena: overflow %zu", i);
        nnf_take(&full, 1, 1, 1);
        check(full.overflow, "arena: overflow is not forgotten");
    }
    check(nnf_alloc(SIZE_MAX) == NULL && nnf_alloc(SIZE_MAX / 2) == NULL, "alloc: more than there is");
}

/* ---- a story
 * -------------------------------------------------------------------------------------------------------- */

enum { STORY_ROWS = 5000, STORY_LAYERS = 3 };

/* Three epochs of a network, then its outputs, all told. Batches larger than a chain of samples, layers wider than a
 * panel and higher than a block, chains of k longer than a chunk. */
static void train(int activation, int loss, int solver, bool limited, nnf_index batch, nnf_index n_rows)
{
    static const int links[] = {NNF_IDENTITY, NNF_SOFTMAX, NNF_LOGISTIC, NNF_EXP};
    const nnf_index wide = batch > NNF_CHAIN_ROWS ? 5 : 530, sizes[] = {wide, 70, 33, 3};
    const int activations[] = {activation, activation, links[loss]};
    static double X[STORY_ROWS * 5 > 40 * 530 ? STORY_ROWS * 5 : 40 * 530], Y[STORY_ROWS * 3], outputs[STORY_ROWS * 3];
    static double memory[2 * STORY_LAYERS][530 * 70];
    void *arrays[2 * STORY_LAYERS];
    const void *sources[2 * STORY_LAYERS];
    nnf_network *network;

    for (int i = 0; i < 2 * STORY_LAYERS; i++) {
        const int l = i % STORY_LAYERS;
        const nnf_index n = i < STORY_LAYERS ? sizes[l] * sizes[l + 1] : sizes[l + 1];
        sources[i] = arrays[i] = memory[i];
        for (nnf_index j = 0; j < n; j++)
            put(dtype, arrays[i], j, random_number() / (i < STORY_LAYERS ? sqrt((double)sizes[l]) : 2));
    }
    fill(dtype, X, n_rows * wide, random_number);
    for (nnf_index j = 0; j < n_rows * 3; j++)
        put(dtype, Y, j, loss == NNF_SQUARED_ERROR ? random_number() : 0);
    for (nnf_index i = 0; loss != NNF_SQUARED_ERROR && i < n_rows; i++)
        put(dtype, Y, 3 * i + (nnf_index)(random_bits() % 3), 1);

    const nnf_config config = {
        .dtype = dtype, .n_layers = STORY_LAYERS, .sizes = sizes, .activations = activations, .loss = loss,
        .solver = solver, .alpha = 0.01, .momentum = 0.9, .beta_1 = 0.9, .beta_2 = 0.999, .epsilon = 1e-8,
        .l1 = limited ? 0.02 : 0, .clip_value = limited ? 0.05 : 0, .clip_norm = limited ? 0.2 : 0,
        .max_batch = batch, .n_threads = 2,
    };
    check(nnf_network_create(&config, &network) == NNF_OK, "story " WHERE ": create", HERE);
    check(nnf_network_load(network, NNF_PARAMETERS, sources) == NNF_OK, "story " WHERE ": load", HERE);
    const double rates[] = {0.01, 0.005}, gradient_rates[] = {0.002, 0.001};
    const nnf_rows rows = {.n = n_rows, .values = X, .ld = wide};
    const nnf_epoch epoch = {
        .data = {.X = rows, .Y = Y, .ldy = 3}, .n = n_rows, .batch = batch, .rates = rates,
        .gradient_rates = gradient_rates, .reaches = rates,
    };
    for (int e = 0; e < 3; e++) {
        nnf_progress sums = {0};
        check(nnf_network_train_epoch(network, &epoch, &sums) == NNF_OK, "story " WHERE ": epoch", HERE);
        tell(&sums.data, sizeof sums.data);
        tell(&sums.penalty, sizeof sums.penalty);
        if (limited)
            tell(&sums.norms, sizeof sums.norms);
    }
    nnf_network_store(network, NNF_PARAMETERS, arrays);
    for (int i = 0; i < 2 * STORY_LAYERS; i++) {
        const int l = i % STORY_LAYERS;
        tell(arrays[i], (size_t)(i < STORY_LAYERS ? sizes[l] * sizes[l + 1] : sizes[l + 1]) * kernels->size);
    }
    check(nnf_network_forward(network, &rows, outputs, NULL) == NNF_OK, "story " WHERE ": forward", HERE);
    tell(outputs, (size_t)n_rows * 3 * kernels->size);
    nnf_network_free(network);
}

/* The bits of these results, by element type, without and with FMA. They are the same for every processor, compiler and
 * number of threads; to change one is to change the results of users. */
static const uint64_t story_digests[2][2] = {
    {0x0056457c4fe7ebd0u, 0x1aa9ce431aa2692au},
    {0x8118aa4fe75e4b17u, 0x8798f9b2ffa4babcu},
};

/* Likewise of the optimizers that came later, each without and with an L1 penalty and limits on the gradient. */
static const uint64_t later_digests[2][2] = {
    {0xb659527c851f68d8u, 0xf2fe3e46b83d7e61u},
    {0x3f65a4b5613d01acu, 0x236d318e819cfd96u},
};

static void test_story(void)
{
    static const int hidden[] = {
        NNF_TANH, NNF_LOGISTIC, NNF_RELU, NNF_LEAKY_RELU, NNF_IDENTITY, NNF_LOGISTIC, NNF_RELU, NNF_TANH,
    };
    digest = DIGEST_OF_NOTHING;
    random_state = 20;
    for (int i = 0; i < 8; i++) /* the hidden activations, losses and solvers that came first */
        train(hidden[i], i % 4, (i + i / 4) % (NNF_ADAM + 1), false, 23, 40);
    train(NNF_TANH, NNF_LOG_LOSS, NNF_ADAM, false, STORY_ROWS, STORY_ROWS);
    check(digest == story_digests[dtype][on->has_fma], "story " WHERE ": the bits have changed: 0x%llxu", HERE,
          (unsigned long long)digest);

    digest = DIGEST_OF_NOTHING;
    random_state = 21;
    for (int i = 0; i < 2 * NNF_N_SOLVERS; i++)
        if (i % 2 == 1 || i / 2 > NNF_ADAM)
            train(hidden[i % 8], i % 4, i / 2, i % 2 == 1, 23, 40);
    check(digest == later_digests[dtype][on->has_fma], "story of later ones " WHERE ": the bits have changed: 0x%llxu",
          HERE, (unsigned long long)digest);
}

/* ---- parameters in and out ---- */

enum { WIDE_IN = 401, WIDE = 510, MOST_OUT = 37, WIDE_ROWS = 5 };

/* Weights enough for three threads, which take panels of them in and rows of them out: the bits are those of one
 * thread, also of what is derived from them, with which the gradients are computed. */
static void transfer(nnf_index n_out)
{
    static const int activations[] = {NNF_TANH, NNF_IDENTITY};
    static double memory[4][WIDE_IN * WIDE], back[4][WIDE_IN * WIDE], gradients[2][4][WIDE_IN * WIDE];
    static double X[WIDE_ROWS * WIDE_IN], Y[WIDE_ROWS * MOST_OUT];
    const nnf_index sizes[] = {WIDE_IN, WIDE, n_out}, counts[] = {WIDE_IN * WIDE, WIDE * n_out, WIDE, n_out};
    const void *sources[4];
    nnf_progress sums[2];
    for (int i = 0; i < 4; i++)
        fill(dtype, memory[i], counts[i], random_number);
    fill(dtype, X, WIDE_ROWS * WIDE_IN, random_number);
    fill(dtype, Y, WIDE_ROWS * n_out, random_number);
    for (int i = 0; i < 4; i++)
        sources[i] = memory[i];
    for (int t = 0; t < 2; t++) {
        const nnf_config config = {
            .dtype = dtype, .n_layers = 2, .sizes = sizes, .activations = activations, .loss = NNF_SQUARED_ERROR,
            .solver = NNF_SGD, .alpha = 0.1, .l1 = 0.1, .keep_gradients = 1, .max_batch = WIDE_ROWS,
            .n_threads = t == 0 ? 1 : 3,
        };
        const nnf_data data = {.X = {.n = WIDE_ROWS, .values = X, .ld = WIDE_IN}, .Y = Y, .ldy = n_out};
        void *out[4], *of_gradients[4];
        nnf_network *network;
        for (int i = 0; i < 4; i++) {
            out[i] = memset(back[i], 0xff, sizeof back[i]);
            of_gradients[i] = gradients[t][i];
        }
        check(nnf_network_create(&config, &network) == NNF_OK
                  && nnf_network_load(network, NNF_PARAMETERS, sources) == NNF_OK
                  && nnf_network_store(network, NNF_PARAMETERS, out) == NNF_OK
                  && nnf_network_gradients(network, &data, NULL, &sums[t]) == NNF_OK
                  && nnf_network_store(network, NNF_GRADIENTS, of_gradients) == NNF_OK,
              "transfer " WHERE ": %d threads, %td outputs", HERE, config.n_threads, n_out);
        for (int i = 0; i < 4; i++)
            check(same(memory[i], back[i], counts[i]), "transfer " WHERE ": array %d by %d threads, %td outputs", HERE,
                  i, config.n_threads, n_out);
        nnf_network_free(network);
    }
    int equal = memcmp(&sums[0].penalty, &sums[1].penalty, sizeof sums[0].penalty) == 0 && sums[0].penalty > 0;
    for (int i = 0; i < 4; i++)
        equal = equal && same(gradients[0][i], gradients[1][i], counts[i]);
    check(equal, "transfer " WHERE ": gradients and penalty after three threads, %td outputs", HERE, n_out);
}

static void test_transfer(void)
{
    transfer(2); /* kept transposed */
    transfer(MOST_OUT);
}

int main(void)
{
    static void (*const tests[])(void) = {
        test_gemm,     test_gemm_epilogue, test_gemm_few, test_sparse,  test_elementwise, test_output, test_clipping,
        test_finite_and_both_classes, test_sums, test_copy_and_transpose, test_update, test_update_of_a_block,
        test_packing, test_product, test_story, test_transfer,
    };
    find_isas();
    test_shares();
    test_barrier();
    test_arena();
    for (int i = 0; i < n_isas; i++) {
        on = &isas[i];
        const int forced = nnf_isa_select(on->name) == NNF_OK && strcmp(nnf_isa_active(), on->name) == 0;
        check(forced, "%s cannot be forced", on->name);
        for (int type = NNF_FLOAT32; type <= NNF_FLOAT64; type++) {
            dtype = (nnf_dtype)type;
            kernels = on->kernels->of[dtype];
            for (size_t t = 0; t < sizeof tests / sizeof tests[0]; t++) {
                const long before = passed + failed;
                tests[t]();
                check(passed + failed > before, "test %zu met no case", t);
            }
            printf("%s, float%d: %ld cases so far\n", on->name, bits_of(dtype), passed + failed);
        }
    }
    return report();
}
