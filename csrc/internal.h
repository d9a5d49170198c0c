/*
 * internal.h: what the C files of the engine share with each other. Not for the binding (nnfast.h) and not for the ISA
 * files (kernels.h).
 *
 *   train.c, predict.c -> mlp.c -> gemm.c -> kernels.h;  all of them -> team_*.c, thread.c, memory.c, dispatch.c
 */
#ifndef NNF_INTERNAL_H
#define NNF_INTERNAL_H

#include "kernels.h"
#include "nnfast.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/* ---- dispatch.c --------------------------------------------------------------------------------------------- */

/* The table of the ISA in use. */
const nnf_kernels *nnf_active_kernels(nnf_dtype dtype);

/* ---- memory.c ----------------------------------------------------------------------------------------------- */

enum { NNF_ALIGN = 64 }; /* bytes: a cache line, and the longest vector */

/* `bytes` bytes, aligned to NNF_ALIGN, not initialised; NULL when there is no memory. */
void *nnf_alloc(size_t bytes);
void nnf_free(void *memory); /* NULL is fine */

/* Likewise, for the length of one call, and the way back. One block of up to NNF_SPARE_BYTES is kept for the next call:
 * a product of two 256 x 256 matrices would else spend a tenth of its time on the first touch of new pages. */
enum { NNF_SPARE_BYTES = 32 << 20 };
void *nnf_scratch_take(size_t bytes);
void nnf_scratch_give(void *memory);

/* Hands out pieces of one allocation. With base == NULL it only measures, so that one function both sizes an arena and
 * lays it out. A product that does not fit sets `overflow`. */
typedef struct nnf_arena {
    char *base;
    size_t used;
    bool overflow;
} nnf_arena;

/* rows * columns elements of `size` bytes, aligned to NNF_ALIGN; a meaningless pointer while measuring. */
void *nnf_take(nnf_arena *arena, nnf_index rows, nnf_index columns, size_t size);

/* ---- system_posix.c, system_windows.c ------------------------------------------------------------------------- */

/* Wall-clock time in seconds. */
double nnf_seconds(void);

/* ---- team_openmp.c, team_native.c ----------------------------------------------------------------------------- */

typedef struct nnf_team nnf_team;
typedef void nnf_work(void *context, nnf_team *team, int thread, int n_threads);

/* Runs work(context, team, t, n) for t = 0 .. n - 1 side by side, where n <= n_threads is the team that could be had;
 * the calling thread is t = 0. Returns when all are done. */
void nnf_parallel(int n_threads, nnf_work *work, void *context);

/* ---- thread.c ----------------------------------------------------------------------------------------------- */

/* Waits for the whole team. */
void nnf_barrier(nnf_team *team);

/* A part of 0 .. n - 1. */
typedef struct nnf_range {
    nnf_index begin, end;
} nnf_range;

/* The share of `thread`: whole units of `unit` elements, as even as that allows. */
nnf_range nnf_share(nnf_index n, nnf_index unit, int thread, int n_threads);

/* A question to the caller, asked by thread 0 at most every 50 ms: stop now? The others see its answer. */
typedef struct nnf_poll {
    int (*ask)(void); /* NULL: never stop */
    double next;      /* seconds: not before */
    atomic_bool stop;
} nnf_poll;

nnf_poll nnf_poll_start(int (*ask)(void));
bool nnf_poll_stop(nnf_poll *poll, int thread);

/* ---- pace.c ------------------------------------------------------------------------------------------------- */

/* How many threads `flop` floating-point operations pay for on any machine: one more for every 2 MFLOP, at most
 * n_threads. And how many they may pay for, if their CPUs are near each other. */
int nnf_team_size(double flop, int n_threads);
int nnf_team_limit(double flop, int n_threads);

typedef struct nnf_tally {
    double rows, seconds;
} nnf_tally;

/* The choice of a team by measured times. An epoch is run in stretches of about a millisecond. Now and then a few of
 * them are given to half the team, or to twice as many threads: a trial. If that is faster, and stays so for some
 * milliseconds, it is the team from then on. A lost trial is followed by a rest, the longer the more time it has cost.
 * When the team in use gets slower than half of it was, as it does when another process takes one of its CPUs, that
 * half goes on at once. Zero-initialised: nothing known. */
typedef struct nnf_pace {
    int first, most;  /* threads to begin with, and that may pay */
    int size;         /* threads in use */
    int trial;        /* threads on trial; 0: no trial */
    bool up;          /* where both exist, the next trial is of the larger team */
    double known;     /* seconds a row of `size` threads; 0: nothing known */
    double least;     /* the least of it since the last trial; 0: no trial yet */
    double half;      /* the least seconds a row of size / 2 threads, in trials; 0: none yet */
    nnf_tally recent; /* what `size` threads did, the older the less it counts */
    nnf_tally waking; /* what `trial` threads did at first, */
    nnf_tally tried;  /* and since then */
    double rest;      /* seconds to the next trial */
    double age;       /* seconds up to now */
} nnf_pace;

/* The team of the next stretch: `first` threads in the beginning, later as many as pay, up to `most`. */
int nnf_pace_team(nnf_pace *pace, int first, int most);

/* The length of the next stretch in batches: a millisecond of them, at least one. */
nnf_index nnf_pace_batches(const nnf_pace *pace, nnf_index batch);

/* Takes in how long that team took for `rows` rows. */
void nnf_pace_learn(nnf_pace *pace, nnf_index rows, double seconds);

/* ---- gemm.c ------------------------------------------------------------------------------------------------- */

/* A right-hand operand (k, n): packed in panels, or plain rows with distance ld; or, when it has few columns, its
 * transpose (n, k) in plain rows with distance ld. */
typedef struct nnf_operand {
    const void *data;
    nnf_index n_rows, n_columns;
    nnf_index ld; /* 0: packed */
    bool transposed;
} nnf_operand;

/* No array has more elements: of 4 bytes each they would take 2^61 bytes. Sizes up to it can be rounded up, and be
 * multiplied by the size of an element, without overflow. */
#define NNF_MOST_ELEMENTS (PTRDIFF_MAX / 16)

NNF_INLINE nnf_index nnf_round_up(nnf_index n, nnf_index unit)
{
    return (n + unit - 1) / unit * unit;
}

/* The address of element i; const is the caller's affair, as with memchr. */
NNF_INLINE void *nnf_at(const nnf_kernels *kernels, const void *array, nnf_index i)
{
    return (char *)(size_t)array + i * (nnf_index)kernels->size;
}

/* Rows this far apart share a set of the first-level cache, which holds eight or twelve lines of it, and few sets of
 * the second-level one. A column of them is read from further away every time. */
NNF_INLINE bool nnf_rows_collide(const nnf_kernels *kernels, nnf_index ld)
{
    return ld * (nnf_index)kernels->size % 4096 == 0;
}

/* Elements between two rows of a matrix of our own: whole vectors; where a row takes a cache line or more, whole lines,
 * so that a row of a tile lies in as few as may be: 30-100-1 takes 1 to 2 % less on two threads, 7 to 10 % where their
 * caches are far apart. And of wide ones an odd number, so that the elements of a column, or of a panel, lie in all
 * sets of the caches. With an even one they share half of them, with 32, of 512 floats, two of 64: then dW = X^T delta
 * runs at 68 GFLOP/s in place of 80 (one Zen 3 core, 128 rows; whole steps take up to 3 % longer). */
NNF_INLINE nnf_index nnf_row_distance(const nnf_kernels *kernels, nnf_index columns)
{
    enum { WIDE = 8 };
    const nnf_index size = (nnf_index)kernels->size, lines = (columns * size + NNF_ALIGN - 1) / NNF_ALIGN;
    if (columns * size < NNF_ALIGN)
        return nnf_round_up(columns, kernels->lanes);
    return (lines < WIDE ? lines : lines | 1) * (NNF_ALIGN / size);
}

/* Whether an output layer keeps W transposed, with the rows of the batch in the lanes; see NNF_FEW_COLUMNS. */
NNF_INLINE bool nnf_is_few(nnf_index n_columns)
{
    return n_columns <= NNF_FEW_COLUMNS;
}

NNF_INLINE nnf_index nnf_n_panels(const nnf_kernels *kernels, nnf_index n_columns)
{
    return (n_columns + kernels->panel - 1) / kernels->panel;
}

/* Stored columns of panel j: `panel`, or what is left in whole vectors. */
NNF_INLINE nnf_index nnf_panel_width(const nnf_kernels *kernels, nnf_index n_columns, nnf_index j)
{
    return nnf_min(kernels->panel, nnf_round_up(n_columns - j * kernels->panel, kernels->lanes));
}

/* Writes panels [panels.begin, panels.end) of the packed form of B (k, n) with any strides. */
void nnf_pack(const nnf_kernels *kernels, void *packed, const void *B, nnf_index rs_b, nnf_index cs_b,
              nnf_index k, nnf_index n, nnf_range panels);

/* From this many rows of A on, to pack B for one product costs less than it saves. */
enum { NNF_ROWS_THAT_PAY_FOR_PACKING = 32 };

/* The way back: these rows of B (k, n), contiguous, from its packed form. */
void nnf_unpack(const nnf_kernels *kernels, void *B, const void *packed, nnf_index k, nnf_index n, nnf_range rows);

/* Writes a block of B (k, n), all rows and columns given, into the packed B^T (n, k); both are packed. rows.begin is a
 * multiple of NNF_BLOCK_ROWS, columns.begin of a vector, and the columns, padding included, are of one panel, or whole
 * panels. */
void nnf_pack_transpose(const nnf_kernels *kernels, void *transposed, const void *packed, nnf_index k, nnf_index n,
                        nnf_range rows, nnf_range columns);

/* C = A B for the panels of B in the range, cut into chunks of k that fit the first-level cache. `g` says all but n, k
 * and how B lies; its c, bias and value point to column 0 of the whole matrix. With ldc = 0 C is written in packed
 * form. A transposed B has one panel, and no epilogue but an activation. */
void nnf_product(const nnf_kernels *kernels, const nnf_gemm *g, const nnf_operand *B, nnf_range panels);

/* Rows of B that one kernel call reads: a panel of them, 512 x 64 bytes (AVX2) or 512 x 256 (AVX-512), stays in the
 * first or second-level cache while it meets the rows of A. The bits do not depend on it. */
enum { NNF_CHUNK = 512 };

/* Room for k columns in each slice: those of six rows then lie an odd number of cache lines apart. slice_columns writes
 * all side by side, and with 512 they would share one set of the first-level cache (0.8 ns an element, not 0.2). */
NNF_INLINE nnf_index nnf_slice_depth(nnf_index k)
{
    return k + 15 - (k + 7) % 16; /* 8, 24, 40, ... */
}

/* ---- mlp.c -------------------------------------------------------------------------------------------------- */

/* Most rows of a batch that pass through all layers together. While one panel of W meets them, a chunk of k of their
 * inputs (192 x 512 floats) and of that panel (512 x 64) share the second-level cache; every block reads all of W
 * again, which lies in the third, or in memory. */
enum { NNF_ROW_BLOCK = 192 };

/* Rows of a block when n rows are cut into as few as may be: whole tiles of 12, and all alike but for the last. */
NNF_INLINE nnf_index nnf_block_rows(nnf_index n)
{
    const nnf_index blocks = (n + NNF_ROW_BLOCK - 1) / NNF_ROW_BLOCK;
    return blocks < 2 ? NNF_ROW_BLOCK : nnf_round_up((n + blocks - 1) / blocks, 12);
}

/* How the weights of a layer are cut for their update: into strips of rows, whose inputs, or columns of deltas, are in
 * slices together, and these into blocks (nnf_block), one or a few below each other. Meanwhile one part of the columns
 * of delta stays in the first-level cache, or in the second with more than NNF_CHUNK samples; and over all columns the
 * slices of the strip stay in the second. */
typedef struct nnf_cut {
    nnf_index strip;         /* rows of a strip, */
    nnf_index rows, columns; /* and of a block in it; its columns */
} nnf_cut;

/* One layer of a network in training. The batch has up to max_batch rows. */
typedef struct nnf_layer {
    nnf_index n_in, n_out;
    bool few;             /* an output layer with few columns, which keeps W as W^T in plain rows */
    nnf_index padded_in;  /* row distance of that W^T */
    nnf_index padded_out; /* stored columns of the packed W, */
    nnf_index full_out;   /* and those of full panels among them */
    nnf_cut cut;          /* where X is dense */
    nnf_index n_sums;     /* partial sums of a column of W, of NNF_BLOCK_ROWS rows each */
    nnf_index ld;         /* row distance of `out` and `delta` */
    int activation;
    double argument;      /* of the activation */
    void *w[4];           /* by nnf_part: W, its two states, its gradient; (n_in, n_out) packed, or with few columns
                           * (n_out, n_in). States may be NULL */
    void *b[4];           /* likewise, (padded_out) */
    void *w_transposed;   /* (n_out, n_in) packed; NULL in layer 0, which passes no gradient on, and with few columns */
    void *squares;        /* (n_sums, padded_out) column sums of W^2 */
    void *sizes;          /* likewise of |W|; NULL without an L1 penalty */
    void *w_gradient_squares, *b_gradient_squares; /* (n_sums, padded_out) and (padded_out) likewise of the squared
                                                    * gradient; NULL without clip_norm */
    void *out, *delta;    /* (max_batch, ld) f(z) and dL/dz */
    double dropout;       /* share of the units that an epoch drops */
    void *slope;          /* (max_batch, ld) df/dz where it cannot be told from f(z): for some activations, and where
                           * units are dropped. Else NULL */
    const void **out_rows, **delta_rows; /* (max_batch) pointers to their rows */
} nnf_layer;

struct nnf_network {
    const nnf_kernels *kernels;
    nnf_dtype dtype;
    int n_layers, n_threads, loss, solver, n_groups;
    nnf_loss_args loss_args;
    double *levels;                 /* those of loss_args */
    nnf_index *groups;              /* (n_groups) outputs of each softmax or row of levels; NULL: one over all */
    double alpha, l1, clip_value, clip_norm, momentum, beta_1, beta_2, epsilon;
    nnf_index max_batch;
    nnf_layer *layers;              /* (n_layers) */
    void *workspace;                /* the arena of all that only steps need; NULL when closed, and so lost */
    const void **x_rows, **y_rows;  /* (max_batch) rows of the running batch */
    void *x_copy;                   /* (max_batch, x_ld) room for a copy of those of X; NULL where none will be made */
    nnf_index x_ld;
    nnf_index *row_numbers;         /* (max_batch) of those rows in X; NULL without dropout */
    bool dropping;                  /* units are dropped: in an epoch, not when gradients are asked for */
    uint64_t noise;                 /* of the running epoch */
    nnf_sparse_row *x_sparse;       /* (max_batch) its rows when X is sparse; NULL in a network for dense X only */
    nnf_sparse_row *segments;       /* (n_threads, max_batch) parts of those rows; see train.c */
    bool sparse;                    /* X of the running epoch is sparse */
    nnf_cut sparse_cut;             /* then that of the first layer: all blocks of a strip have its rows (segments), and
                                     * one panel, since its rows of dW come one by one */
    double *row_loss;               /* (max_batch) */
    double *row_weight;             /* (max_batch) */
    void *scratch;                  /* (n_threads) blocks of dW */
    double *chains;                 /* (n_threads) the same in float64; NULL unless max_batch > NNF_CHAIN_ROWS */
    nnf_index scratch_size;         /* elements of one thread's block */
    void *slices;                   /* (n_threads) of a strip, for one chain of samples */
    nnf_index slices_size;          /* elements of one thread's */
    nnf_pace pace;
};

/* The argument of the activation of layer l. */
double nnf_argument_of(const nnf_config *config, int l);

/* What every use of a network needs of its description, and of rows of inputs. */
nnf_status nnf_check_layers(const nnf_config *config);
nnf_status nnf_check_shape(const nnf_rows *X, nnf_index n_in);

/* Whether row i of a sparse X can be read: a wrong index would be read or written through. */
bool nnf_is_sound_row(const nnf_rows *X, nnf_index n_in, nnf_index i);

/* Both, for all rows. */
nnf_status nnf_check_rows(const nnf_rows *X, nnf_index n_in);

/* Row i of inputs that are sparse. */
nnf_sparse_row nnf_sparse_row_at(const nnf_kernels *kernels, const nnf_rows *X, nnf_index i);

/* The rows that a layer reads: `dense`, or `sparse` when that is not NULL. */
typedef struct nnf_input {
    const void *const *dense;
    const nnf_sparse_row *sparse;
} nnf_input;

/* One dense layer as training and prediction both see it: out = f(in W + b), but for activations of whole rows, such as
 * softmax. */
typedef struct nnf_dense {
    nnf_operand W;
    const void *b;
    int activation;
    double argument;
} nnf_dense;

/* A layer of a network in training, as it is now. */
nnf_dense nnf_dense_view(const nnf_layer *layer);

/* out (m, n_out), row distance ld, from the m rows `in`; for the panels given. `exact`: rows have no padding to
 * write. */
void nnf_dense_forward(const nnf_kernels *kernels, const nnf_dense *layer, nnf_index m, nnf_input in,
                       void *out, nnf_index ld, bool exact, nnf_range panels);

/* Rows of layer l's input from the row `first` on: the batch, or the layer before. */
nnf_input nnf_layer_input(const nnf_network *network, int l, nnf_index first);

/* A block of the weights of a layer, which one thread updates at a time. Its rows begin at a multiple of
 * NNF_BLOCK_ROWS. Its columns, padding included, are of one panel; or whole panels, where it has all rows, so that they
 * lie contiguous; or all, where they are few. */
typedef struct nnf_block {
    nnf_range rows, columns;
} nnf_block;

/* Where the block lies in each part of the parameters: `rows` rows of n elements with distance ld, from `offset` on; of
 * several panels not row by row, but all its elements one after another. */
typedef struct nnf_place {
    nnf_index offset, rows, n, ld;
} nnf_place;

nnf_place nnf_place_of(const nnf_network *network, int l, const nnf_block *block);

/* Sums of |w| or w^2 of the block, whose elements stand in `w` as in each part of the parameters, into their places in
 * sums (n_sums, padded_out). They do not depend on the cut into blocks. */
void nnf_block_norms(const nnf_network *network, int l, const nnf_block *block, nnf_power power, const void *w,
                     void *sums);

/* Brings up to date what is derived from the block: the transpose, for the backward pass, and the sums for the
 * penalties. */
void nnf_block_derive(const nnf_network *network, int l, const nnf_block *block);

/* Forward, for the rows and panels given: out = f(in W + b), without activations of whole rows, and without the
 * loss. */
void nnf_layer_forward(const nnf_network *network, int l, nnf_range rows, nnf_range panels);

/* Backward through layer l >= 1: delta of layer l - 1 = (delta W^T) f'(z), for the rows and panels of W^T given. */
void nnf_layer_backward(const nnf_network *network, int l, nnf_range rows, nnf_range panels);

/* Output layer: its `out` becomes delta, row_loss is filled; both times row_weight when `weighted`. */
void nnf_layer_output(const nnf_network *network, nnf_range rows, bool weighted);

/* 1/2 alpha |W|^2 + l1 sum |W|, from the sums of the last update. */
double nnf_penalty(const nnf_network *network);

/* The norm of the gradients that are kept, from the sums of their squares. */
double nnf_gradient_norm(const nnf_network *network);

#endif
