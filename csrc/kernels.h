/*
 * kernels.h: all that an ISA file sees, and all that the rest of the engine sees of an ISA.
 *
 * A kernel table holds the inner loops for one element type on one instruction set. Each ISA file exports one symbol, a
 * pair of tables (float32, float64). Above this header nobody knows which ISA runs or which type an element has:
 * element pointers are void, `size` in the table says how many bytes an element takes.
 *
 * Packed matrices. A matrix (k, n) is stored as panels of `panel` columns; the last one is as wide as needed, rounded
 * up to whole vectors. Panel j begins at element j * panel * k, because all panels before it are full:
 *
 *      columns  0 .. panel-1       panel .. 2 panel-1      the rest, padded to a multiple of `lanes`
 *      row 0    [ ............ ]   [ ............ ]        [ ..... ]
 *      row 1    [ ............ ]   [ ............ ]        [ ..... ]
 *      ...      one after another  then the next panel
 *
 *      element (p, j) of it:  (j / panel) * panel * k  +  p * width(j / panel)  +  j % panel
 *
 * That is for the right operand. A left operand (m, depth) may be cut into slices of a few rows, as many as a tile has:
 * six, in the end fewer. Slice after slice, and in a slice column after column:
 *
 *      rows 0 .. 5     a00 a10 a20 a30 a40 a50   a01 a11 a21 a31 a41 a51   ...
 *      rows 6 .. 11    ...                       each slice has `depth` columns
 *
 * The slice that begins with row i begins at element i * depth. Row i begins a slice when i % NNF_BLOCK_ROWS == 0.
 */
#ifndef NNF_KERNELS_H
#define NNF_KERNELS_H

#include "nnfast.h"

#include <stddef.h>

#if defined(__GNUC__) || defined(__clang__)
#define NNF_INLINE static inline __attribute__((always_inline, unused))
#else
#define NNF_INLINE static __forceinline
#endif

/* Unroll a register-tile loop with a constant trip count. Without it gcc keeps the accumulators in memory (3x
 * slower). */
#if defined(__clang__)
#define NNF_UNROLL _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define NNF_UNROLL _Pragma("GCC unroll 16")
#else
#define NNF_UNROLL
#endif

/* The cache line at `address` will be needed soon: to be read, or to be written, and then no other thread keeps a copy
 * of it. Any address will do: nothing is read. */
NNF_INLINE void nnf_prefetch(const void *address)
{
#if defined(__GNUC__) || defined(__clang__)
    __builtin_prefetch(address);
#else
    (void)address;
#endif
}

NNF_INLINE void nnf_prefetch_to_write(const void *address)
{
#if defined(__GNUC__) || defined(__clang__)
    __builtin_prefetch(address, 1);
#else
    (void)address;
#endif
}

/* Sums along a row use this many virtual lanes on every ISA: element j goes to lane j % 16, then one fixed tree. */
enum { NNF_SUM_LANES = 16 };

/* Rows of W in one partial sum of a column's squares, which makes it part of the results; after as many, the pattern of
 * the slices begins again. A multiple of every tile height (1 .. 6, 8, 12) and of every vector length (1 .. 16). */
enum { NNF_BLOCK_ROWS = 48 };

/* The weights of a layer are updated in blocks, whose dW, of at most so many bytes, is read back from the nearest
 * caches. They have one panel of columns, and as many rows as fit, whole times NNF_BLOCK_ROWS; where those are all, as
 * many panels. So 20-64-64-1 has 3 blocks (AVX2, float32); of 48 rows and one panel it had 13, and steps with up to 32
 * rows took 5 to 14 % longer. */
enum { NNF_BLOCK_BYTES = 16 << 10 };

/* Where there are few columns, blocks of so many rows; whole panels of W^T. */
enum { NNF_FEW_BLOCK = 4 * NNF_BLOCK_ROWS };

/* Samples in one chain of a sum over samples (dW, db); chains are merged in order in float64. Part of the results. */
enum { NNF_CHAIN_ROWS = 4096 };

/* An output layer of at most so many columns has its rows, not its columns, in the lanes of a vector. With four, 16
 * rows and 16 terms take 64 shuffles and 64 FMAs in place of 256; each column more takes 16, and its own code. */
enum { NNF_FEW_COLUMNS = 4 };

/* The output activation that a loss belongs to. */
NNF_INLINE int nnf_loss_link(int loss)
{
    static const int links[NNF_N_LOSSES] = {
#define NNF_ROW(NAME, name, LINK) [NNF_##NAME] = NNF_##LINK,
#include "loss.def"
#undef NNF_ROW
    };
    return links[loss];
}

NNF_INLINE nnf_index nnf_min(nnf_index a, nnf_index b)
{
    return a < b ? a : b;
}

/* Where the accumulators of a product start. */
typedef enum nnf_start { NNF_FROM_ZERO, NNF_FROM_BIAS, NNF_FROM_C } nnf_start;

/* What happens to a tile of C while it is in the first-level cache; with relu, in registers. */
typedef enum nnf_epilogue {
    NNF_STORE,    /* nothing                                       */
    NNF_ACTIVATE, /* C = f(C)                                      */
    NNF_DERIVE    /* C = C * f'(z), from value: backpropagation */
} nnf_epilogue;

/* What is summed of each element: itself, |x| or x^2. */
typedef enum nnf_power { NNF_PLAIN = 0, NNF_SIZES = 1, NNF_SQUARES = 2 } nnf_power;

/* A run of elements of a sparse row: values[0 .. count - 1] stand in the columns indices[0 .. count - 1], ascending. */
typedef struct nnf_sparse_row {
    const void *values;
    const int32_t *indices;
    nnf_index count;
} nnf_sparse_row;

/* C (m, n) += A (m, k) B (k, n) for one panel of B, or for n <= nnf_columns_at_once columns. A is one of
 *   a        a table of pointers: a[i] + a_first points to the k elements of row i
 *   slices   A (m, depth) in slices (below), of which the k columns from a_first on are read
 *   sparse   a table of m whole rows; a chain then leaves out the terms that are 0 */
typedef struct nnf_gemm {
    nnf_index m, n, k;
    const void *const *a;
    const void *slices;
    nnf_index depth;
    nnf_index a_first;
    const nnf_sparse_row *sparse;
    int b_exact;         /* 1: B has exactly n readable elements a row; 0, and with slices: whole vectors */
    const void *b;       /* (k, n), row distance ldb */
    nnf_index ldb;
    nnf_index panel_size; /* of a packed B, several whole panels of which meet `a`: elements from one to the next */
    const void *next_b;  /* with slices and a packed B: the k rows of the panel that comes next. They are fetched into
                          * the caches meanwhile, and so is C. Else NULL */
    int c_exact;         /* 1: C has exactly n elements a row; 0: rounded up, and the padding may be overwritten */
    void *c;             /* (m, n), row distance ldc */
    nnf_index ldc;
    nnf_start start;
    const void *bias;    /* (n), with NNF_FROM_BIAS */
    nnf_epilogue epilogue;
    int activation;      /* nnf_activation, with NNF_ACTIVATE and NNF_DERIVE */
    double argument;     /* of that activation */
    const void *value;   /* (m, n), row distance ldv, with NNF_DERIVE */
    nnf_index ldv;
} nnf_gemm;

/* One step of an optimizer on a block of weights w (rows, n), row distance ld. Its states s1, s2 have the same layout;
 * dw, the sums over samples of the loss gradient, has the row distance ld_dw. The gradient is
 * g = (dw + alpha w) * inv_rows, each element within +-clip; the step starts from (1 - decay) w. */
typedef struct nnf_update {
    nnf_index rows, n, ld, ld_dw; /* n is a multiple of lanes */
    const void *dw;
    void *w, *s1, *s2;
    double alpha, inv_rows, rate, gradient_rate, reach, momentum, beta_1, beta_2, epsilon, decay;
    double clip; /* 0: none */
    double l1;   /* of the mean loss: already divided by the rows */
} nnf_update;

enum { NNF_GRADIENT = NNF_N_SOLVERS };

/* The inner loops of one element type on one ISA. */
typedef struct nnf_kernels {
    size_t size;     /* bytes of an element */
    nnf_index lanes; /* elements of a vector */
    nnf_index panel; /* columns of a full panel */

    /* The slices of A (m, k) with room for `depth` columns, from pointers to its rows, a[i] + first, or to its columns,
     * a[p] + first. The last slice may be followed by a vector more. */
    void (*slice_rows)(nnf_index m, nnf_index k, void *slices, nnf_index depth, const void *const *a, nnf_index first);
    void (*slice_columns)(nnf_index m, nnf_index k, void *slices, nnf_index depth, const void *const *a,
                          nnf_index first);

    void (*gemm)(const nnf_gemm *g);

    /* The same for n <= NNF_FEW_COLUMNS, from B^T: b (n, k), row distance ldb. A by pointers to rows, C exact; starts
     * from zero or the bias; no epilogue. */
    void (*gemm_few)(const nnf_gemm *g);

    /* dw (rows, n), contiguous, = the columns first .. first + rows - 1 of X, transposed, times delta (m, n), row
     * distance ldd: row by row of X, which has only those columns in x[0] .. x[m - 1]. n is a multiple of lanes. */
    void (*sparse_gradient)(nnf_index rows, nnf_index n, void *dw, nnf_index first, nnf_index m,
                            const nnf_sparse_row *x, const void *delta, nnf_index ldd);

    /* out = f(x), both (m, n) with row distance ld; out may be x. `argument` is that of the activation. */
    void (*activate)(int activation, double argument, nnf_index m, nnf_index n, void *out, const void *x, nnf_index ld);

    /* out = dy * f'(z), from y = f(z), or from y = z where the row of activation.def says INPUT: (m, n) with row
     * distance ld, y ldy; out may be dy. */
    void (*derive)(int activation, double argument, nnf_index m, nnf_index n, void *out, const void *dy, nnf_index ld,
                   const void *y, nnf_index ldy);

    /* slope = f'(x) and out = f(x), in the bits of the two above, all (m, n) with row distance ld; out may be x. */
    void (*activate_with_slope)(int activation, double argument, nnf_index m, nnf_index n, void *out, void *slope,
                                const void *x, nnf_index ld);

    /* Units first .. first + n - 1 of a row: out and slope *= 0 for those that are dropped, each with the probability
     * `rate`, and 1 / (1 - rate) for the others. Which: csrc/kernels/dropout.inc.h. */
    void (*dropout)(nnf_index n, void *out, void *slope, nnf_index first, double rate, uint64_t key);

    void (*log)(nnf_index n, void *out, const void *x);

    /* Whether all n elements are finite. */
    int (*finite)(nnf_index n, const void *x);

    /* n elements p become n rows (1 - p, p), in place. */
    void (*both_classes)(nnf_index n, void *out);

    /* x (m, n) with row distance ldx, in place: each row to probabilities. */
    void (*softmax)(nnf_index m, nnf_index n, void *x, nnf_index ldx);

    /* x (m, n) with row distance ldx, in place: each row to outputs that never fall (NNF_ORDERED). */
    void (*ordered)(nnf_index m, nnf_index n, void *x, nnf_index ldx);

    /* z (m, n), row distance ldz: in, the output layer before its activation; out, the gradient of the loss against the
     * elements y_first .. y_first + n - 1 of the rows y[0] .. y[m - 1]. row_loss (m) += the loss of each row,
     * summed over outputs. */
    void (*output)(int loss, const nnf_loss_args *args, nnf_index m, nnf_index n, void *z, nnf_index ldz,
                   const void *const *y, nnf_index y_first, double *row_loss);

    /* x *= factor, n elements. */
    void (*scale)(nnf_index n, void *x, double factor);

    /* sums (n) = sum over the rows of x (m, n), row by row: one chain a column. Rows are padded to whole vectors. */
    void (*column_sums)(nnf_index m, nnf_index n, void *sums, const void *x, nnf_index ldx);

    /* sums (n) = sum over the rows of w (m, n) of |w| or w^2, row distance ldw, one chain a column; n is a multiple of
     * lanes. w is part of a panel, or whole panels, each `panel_size` elements after the one before. */
    void (*column_norms)(nnf_power power, nnf_index m, nnf_index n, void *sums, const void *w, nnf_index ldw,
                         nnf_index panel_size);

    /* That sum of m contiguous elements as one chain: column_norms of a column that lies in a row. */
    void (*row_norm)(nnf_power power, nnf_index m, void *sum, const void *w);

    /* The sum of x (m, n), row distance ldx, in float64: element j of every row into lane j % 16, rows in order. */
    double (*sum)(nnf_index m, nnf_index n, const void *x, nnf_index ldx);

    /* sums += x and x = sums for n elements: chains of samples merged in float64. */
    void (*widen_add)(nnf_index n, double *sums, const void *x);
    void (*narrow)(nnf_index n, void *x, const double *sums);

    /* dst (m, n) = src (m, n), of row distance lds; the rows of dst are written in whole vectors (n rounded up), padded
     * with zeros. */
    void (*copy)(nnf_index m, nnf_index n, void *dst, nnf_index ldd, const void *src, nnf_index lds);

    /* dst (n, m) = src (m, n)^T; the rows of dst are written in whole vectors (m rounded up), padded with zeros. */
    void (*transpose)(nnf_index m, nnf_index n, void *dst, nnf_index ldd, const void *src, nnf_index lds);

    /* One optimizer step, by nnf_solver; NNF_GRADIENT, which has no decay, leaves w and writes to s1 the gradient, that
     * of the L1 penalty included. */
    void (*update)(int solver, const nnf_update *u);
} nnf_kernels;

/* So many chains of multiply-adds hide the latency of each: 4 cycles x 2 units. */
enum { NNF_CHAINS = 8 };

/* Most columns that the kernel takes together of a dense B in plain rows, with b_exact or slices, or of whole panels of
 * a packed one, which `a` meets: a panel, of two vectors or more; but with up to three rows of A more, so that there
 * are enough chains. */
NNF_INLINE nnf_index nnf_columns_at_once(const nnf_kernels *kernels, nnf_index m, int packed)
{
    if (m < 1 || m > 3)
        return kernels->panel;
    const nnf_index columns = (NNF_CHAINS + m - 1) / m * kernels->lanes;
    const nnf_index whole = packed ? columns / kernels->panel * kernels->panel : columns;
    return whole > kernels->panel ? whole : kernels->panel;
}

typedef struct nnf_isa_kernels {
    const nnf_kernels *of[2]; /* by nnf_dtype */
} nnf_isa_kernels;

#define NNF_ISA(name, cpu) extern const nnf_isa_kernels nnf_kernels_##name;
#include "isa.def"
#undef NNF_ISA

#endif
