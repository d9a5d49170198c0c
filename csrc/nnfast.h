/*
 * nnfast.h: the public face of the C engine, and the only header that the Python binding includes.
 *
 * Conventions
 *   - Matrices are row-major. A shape such as (batch, n_in) stands beside each pointer; `ld` is the distance between
 *     two rows in elements. Element types are given once, as an nnf_dtype, and pointers to elements are void pointers.
 *   - The caller owns every array it passes; the engine keeps no pointer to it after the call.
 *   - A function that can fail returns an nnf_status (0 is success) and leaves its outputs unspecified when it does.
 *   - The engine never prints, aborts or exits. It may be called from several threads at once, one network per thread.
 *   - Results do not depend on the number of threads (docs/numerics.md states the contract).
 */
#ifndef NNFAST_H
#define NNFAST_H

#include <stddef.h>
#include <stdint.h>

typedef ptrdiff_t nnf_index;

/* Seen outside the shared library; all other names are hidden. */
#ifdef _WIN32
#define NNF_EXPORT __declspec(dllexport)
#else
#define NNF_EXPORT __attribute__((visibility("default")))
#endif

/* ---- status ------------------------------------------------------------------------------------------------- */

typedef enum nnf_status {
    NNF_OK = 0,
    NNF_NO_MEMORY,     /* an allocation failed */
    NNF_TOO_LARGE,     /* a product of sizes does not fit the address space */
    NNF_BAD_ARGUMENT,  /* a size, stride or index is out of range */
    NNF_BAD_CONFIG,    /* the network description is inconsistent */
    NNF_UNKNOWN_ISA,   /* NNFAST_ISA or nnf_isa_select names no instruction set of this build */
    NNF_NO_ISA,        /* the named instruction set is not available on this CPU */
    NNF_NOT_FINITE,    /* an input is NaN or infinite, where it must not be */
    NNF_INTERRUPTED    /* the poll function asked to stop; parameters are those of the last finished step */
} nnf_status;

/* A sentence for people; never NULL, static storage. */
const char *nnf_status_message(nnf_status status);

/* The compiler that built the engine, and its version. */
const char *nnf_compiler(void);

/* ---- instruction sets --------------------------------------------------------------------------------------- */

/* The ISAs of this build, best first: index 0 .. nnf_isa_count() - 1. */
int nnf_isa_count(void);
const char *nnf_isa_name(int index);
int nnf_isa_available(int index); /* 1 when this CPU and operating system can run it */

/* The ISA in use. Chosen at the first call: the one NNFAST_ISA names, else the best available. A network keeps the one
 * it was created with. nnf_isa_init reports what is wrong with NNFAST_ISA. */
nnf_status nnf_isa_init(void);
const char *nnf_isa_active(void);
nnf_status nnf_isa_select(const char *name);

/* ---- tables ------------------------------------------------------------------------------------------------- */

typedef enum nnf_dtype { NNF_FLOAT32 = 0, NNF_FLOAT64 = 1 } nnf_dtype;

/* One row per activation: csrc/activation.def. */
typedef enum nnf_activation {
#define NNF_ROW(NAME, name, slope) NNF_##NAME,
#include "activation.def"
#undef NNF_ROW
    NNF_N_ACTIVATIONS, /* elementwise activations end here */
    NNF_SOFTMAX = NNF_N_ACTIVATIONS,
    NNF_ORDERED /* p_0 = z_0, p_k = p_(k-1) + log(1 + e^z_k): outputs that never fall */
} nnf_activation;

/* One row per loss: csrc/loss.def. It brings its output activation with it. Of an output p against its target y, with
 * d = p - y, summed over the outputs; probabilities are clipped to [eps, 1 - eps]:
 *   squared_error    d^2 / 2
 *   log_loss         -y log(p)
 *   binary_log_loss  -y log(p) - (1 - y) log(1 - p)
 *   poisson          y log(y / p) - y + p
 *   absolute_error   |d|; the gradient at d = 0 is 0
 *   huber            d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2)
 *   log_cosh         log(cosh(d))
 *   gamma            y / p - log(y / p) - 1
 *   tweedie          y^(2 - r) / ((1 - r) (2 - r)) - y p^(1 - r) / (1 - r) + p^(2 - r) / (2 - r), r the power
 *   focal            -y (1 - p)^g log(p)
 *   binary_focal     -y (1 - p)^g log(p) - (1 - y) p^g log(1 - p)
 *   quantile         (1 - q) d where d > 0, else -q d, q the level of the output; the gradient at d = 0 is 0 */
typedef enum nnf_loss {
#define NNF_ROW(NAME, name, LINK) NNF_##NAME,
#include "loss.def"
#undef NNF_ROW
    NNF_N_LOSSES
} nnf_loss;

/* What some of them need to know. */
typedef struct nnf_loss_args {
    double huber_delta;   /* > 0 */
    double tweedie_power; /* between 1 and 2 */
    double focal_gamma;   /* >= 0 */
    int n_levels;         /* outputs of each group with the quantile loss */
    const double *levels; /* (n_levels) between 0 and 1, ascending */
} nnf_loss_args;

/* One row per optimizer: csrc/solver.def. A step of each, of a weight w with the gradient g of the mean loss, where m
 * and v are running means of g (by beta_1) and g^2 (by beta_2), and lr the rate of the step:
 *   sgd       w -= lr g
 *   momentum  u = mu u - lr g; w += u
 *   nesterov  u = mu u - lr g; w += mu u - lr g
 *   adam      w -= lr m / (sqrt(v) + epsilon), both bias corrections in lr
 *   nadam     w -= (lr m + lr' g) / (sqrt(v) + epsilon), lr' the step's gradient rate; bias corrections in both
 *   rmsprop   w -= lr g / (sqrt(v) + epsilon)
 *   adagrad   v += g^2; w -= lr g / (sqrt(v) + epsilon)
 *   rprop     w -= lr d sign(g); d starts at 1, times 1.2 when g keeps its sign, 0.5 when not, from 1e-4 to 5000 */
typedef enum nnf_solver {
#define NNF_ROW(NAME, name, states) NNF_##NAME,
#include "solver.def"
#undef NNF_ROW
    NNF_N_SOLVERS
} nnf_solver;

/* Names as scikit-learn spells them; NULL for an index outside the table. */
const char *nnf_activation_name(int activation); /* the elementwise ones, then those of rows */
const char *nnf_loss_name(int loss);
const char *nnf_solver_name(int solver);

/* How many numbers a solver remembers of each weight, 0 to 2. */
int nnf_solver_states(int solver);

/* The default argument of an activation that has one: the slope of leaky_relu, and the limit of elu, below 0. NaN for
 * those that have none. */
double nnf_activation_argument(int activation);

/* ---- threads and memory ------------------------------------------------------------------------------------- */

/* Predictions and products keep up to 32 MB of scratch for the next call, for the life of the process. */

/* Whose threads work, a constant string: "openmp", or "native", threads of our own. Chosen when the engine is built. */
const char *nnf_threads_backend(void);

/* CPUs that the process may run on; with native threads, those that the calling thread may run on. */
int nnf_processors(void);

/* Threads that a call may use now, within the CPUs of the process. With OpenMP what it would give the calling thread,
 * and 1 in a forked child. threadpoolctl tells this library from others by the name of this function. */
NNF_EXPORT int nnf_max_threads(void);

/* For tests: the engine's allocation number `countdown` from now (0 is the next) fails; negative: none fails. */
void nnf_fail_allocation(nnf_index countdown);

/* ---- array operations --------------------------------------------------------------------------------------- */

/* C = A B. A (m, k) and B (k, n) have any row and column strides (in elements, also negative); C (m, n) has unit
 * column stride and row distance ldc >= n, and overlaps neither. Each element is one chain of fused multiply-adds in
 * k order. */
nnf_status nnf_matmul(nnf_dtype dtype, nnf_index m, nnf_index n, nnf_index k,
                      void *C, nnf_index ldc,
                      const void *A, nnf_index rs_a, nnf_index cs_a,
                      const void *B, nnf_index rs_b, nnf_index cs_b, int n_threads);

/* out[i] = f(x[i]), out[i] = f'(x[i]) for n elements; out may be x. `argument` counts where the activation has one. */
nnf_status nnf_activate(nnf_dtype dtype, nnf_activation activation, double argument, nnf_index n, void *out,
                        const void *x);
nnf_status nnf_activate_grad(nnf_dtype dtype, nnf_activation activation, double argument, nnf_index n, void *out,
                             const void *x);

/* 1 when none of the n elements is NaN or infinite. */
int nnf_all_finite(nnf_dtype dtype, nnf_index n, const void *x);

/* out (n, 2), contiguous, whose first n elements are probabilities p of the second of two classes: each becomes a row
 * (1 - p, p). */
void nnf_both_classes(nnf_dtype dtype, nnf_index n, void *out);

/* Each row of x (m, n), contiguous, to probabilities; out may be x. */
nnf_status nnf_softmax(nnf_dtype dtype, nnf_index m, nnf_index n, void *out, const void *x);

/* ---- networks ----------------------------------------------------------------------------------------------- */

/* A network as data. Layer l maps sizes[l] inputs to sizes[l + 1] outputs. */
typedef struct nnf_config {
    nnf_dtype dtype;
    int n_layers;              /* weight matrices, >= 1 */
    const nnf_index *sizes;    /* (n_layers + 1), each >= 1 */
    const int *activations;    /* (n_layers), nnf_activation; the last is the output's and must fit the loss to train */
    const double *arguments;   /* (n_layers) of those activations that have one, finite and >= 0; NULL: the defaults */
    int loss;                  /* nnf_loss   } only training  */
    int solver;                /* nnf_solver } reads these    */
    double alpha;              /* L2 penalty on the weights, 1/2 alpha |W|^2 / batch rows */
    double l1;                 /* L1 penalty on the weights, l1 sum |w| / batch rows: a step ends by drawing each weight
                                * towards 0, and leaves those at 0 whose gradient is smaller (kernels/update.inc.h) */
    double clip_value;         /* elements of the gradient, that of alpha included, are kept within this; 0: none */
    double clip_norm;          /* the gradient is scaled to this Euclidean norm, over all weights and intercepts, when
                                * it is larger; after clip_value. 0: none; INFINITY: the norm is only measured */
    double momentum, beta_1, beta_2, epsilon;
    nnf_loss_args loss_args;   /* what the loss needs to know; only training reads it */
    const double *dropout;     /* (n_layers) share of each layer's units to drop while an epoch trains, in [0, 1); that
                                * of the last does not count. NULL: none */
    int n_groups;              /* softmaxes, or ordered outputs, side by side; 0: one over all outputs */
    const nnf_index *groups;   /* (n_groups) outputs of each, sizes[n_layers] in all; only with these two */
    nnf_index max_batch;       /* most rows of one training step */
    int sparse;                /* 1: the rows to train on may be sparse */
    int keep_gradients;        /* 1: room for nnf_network_gradients */
    int n_threads;             /* upper bound of the team, >= 1 */
} nnf_config;

/* Rows of inputs: a dense matrix, or a sparse one in compressed rows (CSR). */
typedef struct nnf_rows {
    nnf_index n;
    const void *values;       /* dense: (n, sizes[0]). Sparse: the stored elements, row after row */
    nnf_index ld;             /* dense: row distance */
    const nnf_index *indptr;  /* NULL: dense. Else (n + 1): the first stored element of each row */
    const int32_t *indices;   /* (n_stored) columns; ascending within a row, none twice. Checked, as indptr is */
    nnf_index n_stored;
} nnf_rows;

/* Parameters cross this border as an array of 2 n_layers pointers: W_0 (sizes[0], sizes[1]), ..., W_last, then
 * b_0 (sizes[1]), ..., b_last; all C-contiguous. */

/* out (X->n, sizes[last], contiguous) = the network's outputs for X. Weights are read where they lie, or packed for the
 * call when there are rows enough to pay for it. With `finite`, NNF_NOT_FINITE when an element of X is NaN or infinite;
 * out then holds anything. poll may be NULL. */
nnf_status nnf_forward(const nnf_config *config, const void *const *params, const nnf_rows *X, int finite, void *out,
                       int (*poll)(void));

/* A network in training: packed parameters, optimizer state, and a workspace. */
typedef struct nnf_network nnf_network;

nnf_status nnf_network_create(const nnf_config *config, nnf_network **out); /* parameters and state are zero */
void nnf_network_free(nnf_network *network);                               /* NULL is fine */

/* Training has ended: frees the workspace, a third or more of the memory of a wide network, before the rest is copied
 * out. nnf_network_store and nnf_network_forward still work; what else takes the network gives NNF_BAD_ARGUMENT. */
void nnf_network_close(nnf_network *network);

/* What to copy: the parameters, or the optimizer's first and second state (velocity; Adam's m and v), or the gradients
 * of the last nnf_network_gradients. States are there as the solver has them, gradients with keep_gradients. Many are
 * copied by several threads. */
typedef enum nnf_part { NNF_PARAMETERS, NNF_STATE_1, NNF_STATE_2, NNF_GRADIENTS } nnf_part;
nnf_status nnf_network_load(nnf_network *network, nnf_part part, const void *const *arrays);
nnf_status nnf_network_store(const nnf_network *network, nnf_part part, void *const *arrays);

nnf_status nnf_network_forward(const nnf_network *network, const nnf_rows *X, void *out, int (*poll)(void));

/* What to learn from. */
typedef struct nnf_data {
    nnf_rows X;
    const void *Y;           /* (X.n, sizes[last]), row distance ldy: targets, one column an output */
    nnf_index ldy;
    const double *weights;   /* (X.n) how much each row counts; NULL: all one. Loss and gradient of a batch are then
                              * divided by the sum of its weights in place of its number of rows */
} nnf_data;

/* One pass over the data in mini-batches of `batch` rows, the last one shorter when n is no multiple. A batch whose
 * weights sum to 0 has no mean: it is skipped, without a step. */
typedef struct nnf_epoch {
    nnf_data data;
    nnf_index n;             /* rows to visit */
    const nnf_index *order;  /* (n) row numbers, or NULL for 0, 1, 2, ... */
    nnf_index batch;         /* rows a step, 1 .. max_batch */
    const double *rates;     /* (number of batches) learning rate of each step, bias corrections included */
    const double *gradient_rates; /* (number of batches) that of the gradient itself; only read for nadam */
    const double *reaches;   /* (number of batches) how far a gradient of 1 since the first step would move a weight in
                              * this one, before the solver divides by a size of its own; only read with l1 */
    const double *decays;    /* (number of batches) part of each weight, not of the intercepts, that is taken off before
                              * the step; NULL: none */
    uint64_t noise;          /* which units are dropped: by this number, the layer, the row's number and the unit's */
    int (*poll)(void);       /* asked about 20 times a second by the calling thread; non-zero stops. NULL: never */
} nnf_epoch;

/* How far an epoch has come. */
typedef struct nnf_progress {
    double data, penalty; /* sums over the batches of (rows of the batch) x (its mean loss): the data term and the
                           * penalties, apart. Divide by n for the mean */
    double norms;         /* sum over the steps of the norm of the gradient, before it is scaled; with clip_norm */
    nnf_index rows;       /* of finished batches */
    nnf_index steps;      /* finished steps */
} nnf_progress;

/* Runs the epoch on from where it is: all zeros at its beginning. After NNF_INTERRUPTED a call with the same epoch and
 * `progress` as it was left goes on as if nothing had been. */
nnf_status nnf_network_train_epoch(nnf_network *network, const nnf_epoch *epoch, nnf_progress *progress);

/* Loss and gradients of all rows as one batch (at most max_batch); nothing is updated. Fetch the gradients with
 * nnf_network_store(NNF_GRADIENTS). They belong to data + penalty of the mean loss, without clipping. NNF_BAD_ARGUMENT
 * when the weights sum to 0. */
nnf_status nnf_network_gradients(nnf_network *network, const nnf_data *data, int (*poll)(void), nnf_progress *loss);

/* One step with a loss of the caller's: `batch` is an epoch that is one batch, whose Y is not read. First forward,
 * which gives raw (n, sizes[last]), contiguous, the outputs before their activation, and the penalty, to be divided by
 * what the rows weigh; then backward, which takes the gradient (n, sizes[last]), contiguous, of each row's loss for
 * these outputs, multiplies it by the row's weight, and takes the step, if the weights do not sum to 0. Of `progress`
 * all but the losses goes on. `learning` 0: gradients only, with keep_gradients, and no unit is dropped. */
nnf_status nnf_network_step_forward(nnf_network *network, const nnf_epoch *batch, int learning, void *raw,
                                    double *penalty);
nnf_status nnf_network_step_backward(nnf_network *network, const nnf_epoch *batch, int learning, const void *gradient,
                                     nnf_progress *progress);

/* ---- order of the rows -------------------------------------------------------------------------------------- */

/* A source of random bits, laid out as NumPy's bitgen_t is, which its bit generators hand out. */
typedef struct nnf_bit_source {
    void *state; /* what the functions take */
    uint64_t (*next_uint64)(void *state);
    uint32_t (*next_uint32)(void *state);
    double (*next_double)(void *state); /* } not called */
    uint64_t (*next_raw)(void *state);  /* }            */
} nnf_bit_source;

/* Permutes order (n) as NumPy's RandomState.shuffle does, with as many draws. The caller holds the source's lock. */
void nnf_shuffle(nnf_index n, nnf_index *order, const nnf_bit_source *source);

/* ---- perceptron --------------------------------------------------------------------------------------------- */

/* A set of bits. */
typedef enum nnf_penalty_kind {
    NNF_NO_PENALTY = 0,
    NNF_L1 = 1,
    NNF_L2 = 2,
    NNF_ELASTIC_NET = NNF_L1 | NNF_L2
} nnf_penalty_kind;

/* One neuron in training, with all that an epoch reads and writes. Samples are rows of X. Its weight vector is
 * scale * weights. */
typedef struct nnf_perceptron {
    /* Data. */
    nnf_dtype dtype;
    nnf_index n_samples, n_features; /* 1 .. INT_MAX */
    const void *x;                   /* (n_samples, n_features) contiguous; or the values of a CSR matrix */
    const int *indptr, *indices;     /* CSR: (n_samples + 1) first entry of each row; column of each entry. Else NULL */
    const void *target;              /* (n_samples): -1 or 1; for the delta rule what f(z) is to be */
    const void *sample_weight;       /* (n_samples) */
    const unsigned char *held_out;   /* (n_samples) 1: a sample not to learn from. NULL: none */

    /* Settings. */
    int activation;                 /* NNF_STEP: Rosenblatt's rule. Else the delta rule on 1/2 (f(z) - target)^2 */
    int penalty;                    /* nnf_penalty_kind */
    double alpha, l1_ratio;         /* l1_ratio is 0 with NNF_L2, 1 with NNF_L1 */
    double eta0;                    /* learning rate */
    double intercept_rate;          /* of eta0, for the intercept; 0: there is none */
    double weight_negative, weight_positive; /* of the samples with target <= 0, and of the others */
    int shuffle;                    /* permute `order` before the epoch */
    uint32_t seed;                  /* of that permutation, the same every epoch */
    int track_loss;                 /* fill loss_sum and objective_sum */
    int track_norms;                /* keep square_norm and l1_norm up to date: objective_sum reads them */

    /* State, from epoch to epoch. */
    int *order;                     /* (n_samples) sample numbers */
    void *weights;                  /* (n_features) */
    void *l1_applied;               /* (n_features) L1 penalty that each weight has had; NULL without NNF_L1 */
    double l1_due;                  /* L1 penalty that each weight should have had */
    double intercept, scale, square_norm, l1_norm;

    /* Results of the last epoch. */
    double loss_sum, objective_sum; /* over the samples; the objective is loss + penalty */
    int finite;                     /* 0: a weight, the intercept or a sum of them is infinite or not a number */

    /* The average: the mean of the weight vector and of the intercept as each sample left them. Between epochs
     * weight_sum is the sum of the weight vectors; within one it lacks scale_sum * weights. */
    double *weight_sum;             /* (n_features); NULL: no average */
    double intercept_sum, scale_sum;
    nnf_index n_unaveraged;         /* samples still to learn from before the first that counts */
    nnf_index n_averaged;           /* samples that count */
} nnf_perceptron;

/* Every sample once, one update a sample. */
nnf_status nnf_perceptron_epoch(nnf_perceptron *perceptron, int (*poll)(void));

/* weights *= scale; scale = 1. */
void nnf_perceptron_rescale(nnf_perceptron *perceptron);

#endif
