/*
 * engine.c: any bytes as a program for the engine: a network, data, and a sequence of calls of nnfast.h, sound ones
 * and ones that are to be refused. It runs with every instruction set of the CPU, on one thread and on several. What
 * holds of every program is checked on the way:
 *
 *   - a status is one of the enum; a call that is refused, or gets no memory, changes no parameter and no state;
 *   - the bits are the same on any number of threads and on every instruction set with FMA;
 *   - a row of a prediction does not depend on its batch, and a network predicts as its plain parameters do;
 *     what is not finite is found where that is asked;
 *   - an epoch in two parts is the whole epoch; an element of a product is one chain of multiply-adds.
 *
 * A short program goes on with zeros: each choice has its plainest case there.
 */
#include "engine.h"

#include "nnfast.h"

#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REQUIRE(condition, ...) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "engine.c:%d: not so: ", __LINE__); \
            fprintf(stderr, __VA_ARGS__); \
            fprintf(stderr, "\n"); \
            abort(); \
        } \
    } while (0)

enum { MAX_LAYERS = 18, MAX_CALLS = 8, MAX_BLOCKS = 512 };

/* Floating-point operations that one program may ask for: a few milliseconds, and enough for a team of several. */
static const double budget = 1e7;

typedef struct run {
    const uint8_t *next, *end; /* the bytes still to be read */
    bool fused;                /* the instruction set has FMA */
    int n_threads;
    uint64_t random, seed;     /* state of the elements' generator */
    unsigned odd;              /* how many of 256 elements are none of the usual numbers */
    double work;               /* of the budget */
    uint64_t log[MAX_CALLS + 1]; /* digest of all results up to the end of each call */
    int n_calls;
    void *blocks[MAX_BLOCKS];
    int n_blocks;
} run;

/* ---- bytes, numbers, memory ------------------------------------------------------------------------------------- */

static unsigned take(run *r)
{
    return r->next < r->end ? *r->next++ : 0;
}

static int choose(run *r, int n)
{
    return (int)take(r) % n;
}

/* True for one byte of 32, and never at the end of a program. */
static bool rarely(run *r)
{
    return take(r) % 32 == 31;
}

#define PICK(r, table) ((table)[choose(r, (int)(sizeof(table) / sizeof *(table)))])

static uint64_t random_bits(run *r) /* splitmix64 */
{
    uint64_t x = r->random += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static const double odd_numbers[] = {0,        -0.0,      1,         -1,     NAN,       INFINITY,
                                     0x1p-149, -0x1p-140, 0x1p-1074, -3e38,  0x1p-126,  -INFINITY,
                                     3e38,     -0x1p-1030, 0x1p1000, 1e-30,  88.7,      -104};

/* Between -1 and 1, exact in float, but for the odd ones. */
static double number(run *r)
{
    const uint64_t bits = random_bits(r);
    if ((bits & 0xff) < r->odd)
        return odd_numbers[(bits >> 8) % (sizeof odd_numbers / sizeof *odd_numbers)];
    return (double)(bits >> 40) * 0x1p-23 - 1;
}

static size_t size_of(nnf_dtype dtype)
{
    return dtype == NNF_FLOAT32 ? sizeof(float) : sizeof(double);
}

static double get(nnf_dtype dtype, const void *array, nnf_index i)
{
    return dtype == NNF_FLOAT32 ? (double)((const float *)array)[i] : ((const double *)array)[i];
}

static void put(nnf_dtype dtype, void *array, nnf_index i, double value)
{
    if (dtype == NNF_FLOAT32)
        ((float *)array)[i] = (float)value;
    else
        ((double *)array)[i] = value;
}

static void *offset(nnf_dtype dtype, const void *array, nnf_index i)
{
    return (char *)(size_t)array + i * (nnf_index)size_of(dtype);
}

/* Exactly so many bytes, freed at the end of the program; AddressSanitizer sees a step too far. */
static void *block(run *r, size_t bytes)
{
    void *memory = malloc(bytes > 0 ? bytes : 1);
    REQUIRE(memory != NULL && r->n_blocks < MAX_BLOCKS, "room for a block");
    memset(memory, 0xa5, bytes);
    return r->blocks[r->n_blocks++] = memory;
}

/* n elements, at the end of their block; aligned to one element only. */
static void *room(run *r, nnf_dtype dtype, nnf_index n)
{
    return offset(dtype, block(r, (size_t)(n + 1) * size_of(dtype)), 1);
}

static void *numbers(run *r, nnf_dtype dtype, nnf_index n)
{
    void *array = room(r, dtype, n);
    for (nnf_index i = 0; i < n; i++)
        put(dtype, array, i, number(r));
    return array;
}

/* ---- results ---------------------------------------------------------------------------------------------------- */

static void note_bits(run *r, uint64_t bits)
{
    const uint64_t mixed = (r->log[r->n_calls] ^ bits) * 0x9e3779b97f4a7c15u;
    r->log[r->n_calls] = mixed ^ mixed >> 32;
}

/* Which NaN it is, no one promises. */
static uint64_t bits_of(double value)
{
    uint64_t bits;
    if (isnan(value))
        value = NAN;
    memcpy(&bits, &value, sizeof bits);
    return isnan(value) ? 0x7ff8000000000000u : bits;
}

static void note(run *r, nnf_dtype dtype, const void *array, nnf_index n)
{
    for (nnf_index i = 0; i < n; i++)
        note_bits(r, bits_of(get(dtype, array, i)));
}

static bool same(nnf_dtype dtype, const void *one, const void *other, nnf_index n)
{
    for (nnf_index i = 0; i < n; i++)
        if (bits_of(get(dtype, one, i)) != bits_of(get(dtype, other, i)))
            return false;
    return true;
}

static nnf_status checked(nnf_status status)
{
    REQUIRE(status >= NNF_OK && status < NNF_INTERRUPTED, "status %d, where nobody interrupts", (int)status);
    return status;
}

/* For some calls one of their first allocations fails. */
static void arm(run *r)
{
    const unsigned choice = take(r);
    nnf_fail_allocation(choice % 8 == 7 ? (nnf_index)(choice / 8 % 4) : -1);
}

static void disarm(void)
{
    nnf_fail_allocation(-1);
}

static int go_on(void)
{
    return 0;
}

/* ---- a network -------------------------------------------------------------------------------------------------- */

typedef struct net {
    nnf_config config;
    nnf_network *network; /* NULL: it was refused */
    nnf_index sizes[MAX_LAYERS + 1], groups[3];
    int activations[MAX_LAYERS];
    double arguments[MAX_LAYERS], dropout[MAX_LAYERS], levels[8];
    nnf_index n_in, n_out, n_weights; /* n_weights: all parameters */
} net;

static const nnf_index sizes[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 24, 31, 33, 48, 49, 64, 65, 96, 97, 130};

/* No memory holds arrays so large: 2^50 elements are more than the addresses of a process. */
static const nnf_index wrong_sizes[] = {0, -1, PTRDIFF_MAX, (nnf_index)1 << 50, PTRDIFF_MAX / 16, PTRDIFF_MIN};

static const double rates[] = {0.01, 0, 1e-3, 0.5, 0.9, 0.999, 1, -0.1, 1e-8, 1e30, 0x1p-1060, INFINITY, NAN};

static nnf_index a_size(run *r)
{
    const unsigned choice = take(r);
    if (choice == 255)
        return PICK(r, wrong_sizes);
    return sizes[choice % (sizeof sizes / sizeof *sizes)];
}

static nnf_index at_most(nnf_index n, nnf_index limit)
{
    return n < limit ? n : limit;
}

static void describe(run *r, net *t)
{
    static const int losses_output[NNF_N_LOSSES] = {
#define NNF_ROW(NAME, name, LINK) [NNF_##NAME] = NNF_##LINK,
#include "loss.def"
#undef NNF_ROW
    };
    static const nnf_index batches[] = {8, 1, 2, 3, 7, 13, 31, 32, 33, 64, 100, 193, 256, 4096, 4100};
    nnf_config *c = &t->config;
    c->dtype = (nnf_dtype)choose(r, 2);
    c->n_layers = 1 + choose(r, 4);
    if (rarely(r))
        c->n_layers = choose(r, 2) ? MAX_LAYERS : 0;
    c->sizes = t->sizes;
    for (int l = 0; l <= c->n_layers; l++)
        t->sizes[l] = c->n_layers == MAX_LAYERS ? 2 : a_size(r);
    c->loss = choose(r, NNF_N_LOSSES + 1);
    c->solver = choose(r, NNF_N_SOLVERS + 1);
    c->activations = t->activations;
    for (int l = 0; l < c->n_layers; l++)
        t->activations[l] = choose(r, NNF_N_ACTIVATIONS);
    if (c->n_layers > 0 && c->loss < NNF_N_LOSSES)
        t->activations[c->n_layers - 1] = losses_output[c->loss];
    if (rarely(r) && c->n_layers > 0)
        t->activations[choose(r, c->n_layers)] = choose(r, NNF_ORDERED + 3) - 1;
    if (choose(r, 4) == 3) {
        c->arguments = t->arguments;
        for (int l = 0; l < c->n_layers; l++)
            t->arguments[l] = PICK(r, rates);
    }
    if (choose(r, 2)) {
        c->dropout = t->dropout;
        for (int l = 0; l < c->n_layers; l++)
            t->dropout[l] = PICK(r, rates);
    }
    if (choose(r, 2)) { /* all but L2 off is the usual case */
        c->alpha = PICK(r, rates);
        c->l1 = choose(r, 2) ? PICK(r, rates) : 0;
        c->clip_value = choose(r, 2) ? PICK(r, rates) : 0;
        c->clip_norm = choose(r, 2) ? PICK(r, rates) : 0;
        c->momentum = PICK(r, rates);
        c->beta_1 = PICK(r, rates);
        c->beta_2 = PICK(r, rates);
        c->epsilon = PICK(r, rates);
    } else {
        c->momentum = c->beta_1 = 0.9;
        c->beta_2 = 0.999;
        c->epsilon = 1e-8;
    }
    const nnf_index n_out = c->n_layers > 0 ? t->sizes[c->n_layers] : 0;
    c->n_groups = choose(r, 4) == 3 ? 1 + choose(r, 3) : 0;
    c->groups = t->groups;
    nnf_index rest = n_out;
    for (int g = 0; g < c->n_groups; g++) { /* even ones, as levels need them, but for what is left */
        t->groups[g] = g == c->n_groups - 1 || rest < 1 ? rest : n_out / c->n_groups;
        rest -= t->groups[g];
    }
    if (rarely(r))
        t->groups[choose(r, 3)] = a_size(r);
    c->loss_args.huber_delta = PICK(r, rates);
    c->loss_args.tweedie_power = choose(r, 4) == 3 ? PICK(r, rates) : 1.5;
    c->loss_args.focal_gamma = PICK(r, rates);
    c->loss_args.levels = t->levels;
    c->loss_args.n_levels = (int)at_most(c->n_groups > 0 ? t->groups[0] : n_out, 8);
    for (int k = 0; k < 8; k++)
        t->levels[k] = (double)(k + 1) / (c->loss_args.n_levels + 1);
    if (rarely(r))
        t->levels[choose(r, 8)] = PICK(r, rates);
    c->max_batch = PICK(r, batches);
    if (rarely(r))
        c->max_batch = PICK(r, wrong_sizes);
    c->sparse = choose(r, 2);
    c->keep_gradients = choose(r, 2);
    c->n_threads = rarely(r) ? 0 : r->n_threads;

    if (c->n_layers > 0) {
        t->n_in = t->sizes[0];
        t->n_out = n_out;
    }
}

/* Copies a part of the network to or from `flat`, which has n_weights elements. */
static nnf_status copy(net *t, nnf_part part, void *flat, bool load)
{
    void *arrays[2 * MAX_LAYERS];
    const int n_layers = t->config.n_layers;
    nnf_index n = 0;
    for (int i = 0; i < 2 * n_layers; i++) {
        arrays[i] = offset(t->config.dtype, flat, n);
        n += t->sizes[i % n_layers + 1] * (i < n_layers ? t->sizes[i] : 1);
    }
    return checked(load ? nnf_network_load(t->network, part, (const void *const *)arrays)
                        : nnf_network_store(t->network, part, arrays));
}

/* The parameters, and the states where the solver has them, one behind the other. */
static void *state_of(run *r, net *t)
{
    void *state = room(r, t->config.dtype, 3 * t->n_weights);
    for (int part = NNF_PARAMETERS; part <= NNF_STATE_2; part++) {
        const bool kept = copy(t, (nnf_part)part, offset(t->config.dtype, state, part * t->n_weights), false) == NNF_OK;
        REQUIRE(kept == (part <= nnf_solver_states(t->config.solver)), "a solver has its states");
    }
    return state;
}

static void set_state(net *t, void *state)
{
    for (int part = NNF_PARAMETERS; part <= nnf_solver_states(t->config.solver); part++)
        copy(t, (nnf_part)part, offset(t->config.dtype, state, part * t->n_weights), true);
}

static nnf_index n_state(const net *t)
{
    return (1 + nnf_solver_states(t->config.solver)) * t->n_weights;
}

static void create(run *r, net *t)
{
    describe(r, t);
    arm(r);
    nnf_status status = checked(nnf_network_create(&t->config, &t->network));
    disarm();
    if (status == NNF_NO_MEMORY)
        status = checked(nnf_network_create(&t->config, &t->network));
    REQUIRE((status == NNF_OK) == (t->network != NULL), "a network if and only if it is success");
    note_bits(r, status);
    if (status != NNF_OK)
        return;
    for (int l = 0; l < t->config.n_layers; l++)
        t->n_weights += (t->sizes[l] + 1) * t->sizes[l + 1];
    copy(t, NNF_PARAMETERS, numbers(r, t->config.dtype, t->n_weights), true);
}

/* ---- rows ------------------------------------------------------------------------------------------------------- */

/* How many rows the program can still pay for, with 6 operations a weight: 0 to about 4,100. */
static nnf_index some_rows(run *r, nnf_index n_weights)
{
    static const nnf_index counts[] = {8, 1, 2, 3, 5, 6, 7, 12, 13, 31, 32, 33, 64, 100, 193, 0, 400, 4097};
    const double left = r->work < budget ? budget - r->work : 0;
    const nnf_index affordable = (nnf_index)(left / (6.0 * (double)(n_weights + 32)));
    const nnf_index n = at_most(PICK(r, counts), affordable);
    r->work += (double)n * 6.0 * (double)(n_weights + 32);
    return n;
}

static nnf_rows dense_rows(run *r, nnf_dtype dtype, nnf_index n, nnf_index n_in)
{
    nnf_rows X = {.n = n, .ld = n_in + choose(r, 3)};
    X.values = numbers(r, dtype, n == 0 ? 0 : (n - 1) * X.ld + n_in);
    if (rarely(r))
        X.ld = n_in - 1;
    return X;
}

static nnf_rows sparse_rows(run *r, nnf_dtype dtype, nnf_index n, nnf_index n_in)
{
    const unsigned density = take(r);
    nnf_index *indptr = block(r, (size_t)(n + 1) * sizeof *indptr);
    int32_t *all = block(r, (size_t)(n * n_in) * sizeof *all);
    nnf_index n_stored = 0;
    for (nnf_index i = 0; i < n; i++) {
        indptr[i] = n_stored;
        for (nnf_index j = 0; j < n_in; j++)
            if (random_bits(r) % 256 <= density)
                all[n_stored++] = (int32_t)j;
    }
    indptr[n] = n_stored;
    int32_t *indices = block(r, (size_t)n_stored * sizeof *indices); /* no longer than it has to be */
    memcpy(indices, all, (size_t)n_stored * sizeof *indices);
    nnf_rows X = {.n = n, .indptr = indptr, .indices = indices, .n_stored = n_stored};
    X.values = numbers(r, dtype, n_stored);
    if (rarely(r)) {
        if (choose(r, 2))
            indptr[random_bits(r) % (uint64_t)(n + 1)] += choose(r, 5) - 2;
        else if (n_stored > 0)
            indices[random_bits(r) % (uint64_t)n_stored] += choose(r, 256) - 128;
    }
    return X;
}

static nnf_rows rows(run *r, const net *t, nnf_index n)
{
    const bool sparse = t->config.sparse ? choose(r, 4) > 0 : rarely(r);
    return sparse ? sparse_rows(r, t->config.dtype, n, t->n_in) : dense_rows(r, t->config.dtype, n, t->n_in);
}

/* Row i of X alone. */
static nnf_rows row_of(const net *t, const nnf_rows *X, nnf_index i)
{
    nnf_rows row = *X;
    row.n = 1;
    if (X->indptr != NULL)
        row.indptr += i;
    else
        row.values = offset(t->config.dtype, X->values, i * X->ld);
    return row;
}

static bool all_finite(const net *t, const nnf_rows *X)
{
    bool finite = true;
    for (nnf_index i = 0; i < X->n; i++) {
        const nnf_index begin = X->indptr != NULL ? X->indptr[i] : i * X->ld;
        const nnf_index end = X->indptr != NULL ? X->indptr[i + 1] : begin + t->n_in;
        for (nnf_index j = begin; j < end; j++)
            finite = finite && isfinite(get(t->config.dtype, X->values, j));
    }
    return finite;
}

/* ---- calls ------------------------------------------------------------------------------------------------------ */

static void predict(run *r, net *t)
{
    const nnf_dtype dtype = t->config.dtype;
    const nnf_rows X = rows(r, t, some_rows(r, t->n_weights));
    void *out = room(r, dtype, X.n * t->n_out), *row = room(r, dtype, t->n_out);
    arm(r);
    nnf_status status = checked(nnf_network_forward(t->network, &X, out, go_on));
    disarm();
    if (status == NNF_NO_MEMORY)
        status = checked(nnf_network_forward(t->network, &X, out, NULL));
    note_bits(r, status);
    if (status != NNF_OK || X.n == 0)
        return;
    note(r, dtype, out, X.n * t->n_out);

    const nnf_index i = (nnf_index)(random_bits(r) % (uint64_t)X.n);
    const nnf_rows one = row_of(t, &X, i);
    REQUIRE(nnf_network_forward(t->network, &one, row, NULL) == NNF_OK, "a row of a batch that was not refused");
    REQUIRE(same(dtype, row, offset(dtype, out, i * t->n_out), t->n_out), "row %td of %td is as it is alone", i, X.n);

    void *flat = room(r, dtype, t->n_weights), *plain = room(r, dtype, X.n * t->n_out);
    const void *arrays[2 * MAX_LAYERS];
    copy(t, NNF_PARAMETERS, flat, false);
    nnf_index n = 0;
    for (int k = 0; k < 2 * t->config.n_layers; k++) {
        arrays[k] = offset(dtype, flat, n);
        n += t->sizes[k % t->config.n_layers + 1] * (k < t->config.n_layers ? t->sizes[k] : 1);
    }
    arm(r);
    status = checked(nnf_forward(&t->config, arrays, &X, 0, plain, go_on));
    disarm();
    if (status == NNF_NO_MEMORY)
        status = nnf_forward(&t->config, arrays, &X, 0, plain, NULL);
    REQUIRE(status == NNF_OK && same(dtype, plain, out, X.n * t->n_out), "plain parameters predict as the network");
    status = nnf_forward(&t->config, arrays, &X, 1, plain, NULL);
    REQUIRE(status == (all_finite(t, &X) ? NNF_OK : NNF_NOT_FINITE), "inputs finite or not, and status %d", (int)status);
    REQUIRE(status != NNF_OK || same(dtype, plain, out, X.n * t->n_out), "to look for it changes nothing");
}

/* Targets and weights for X. */
static nnf_data data(run *r, const net *t, nnf_index n)
{
    nnf_data d = {.X = rows(r, t, n), .ldy = t->n_out + choose(r, 2)};
    d.Y = numbers(r, t->config.dtype, n * d.ldy);
    const int kind = choose(r, 4);
    if (kind == 3) {
        double *weights = block(r, (size_t)n * sizeof *weights);
        for (nnf_index i = 0; i < n; i++)
            weights[i] = number(r);
        d.weights = weights;
    } else if (kind == 2) { /* classes, and whole batches that count for nothing */
        double *weights = block(r, (size_t)n * sizeof *weights);
        for (nnf_index i = 0; i < n; i++) {
            weights[i] = i < n / 2 ? 0 : (double)(random_bits(r) % 3);
            for (nnf_index j = 0; j < t->n_out; j++)
                put(t->config.dtype, (void *)(size_t)d.Y, i * d.ldy + j, (double)(random_bits(r) % 2));
        }
        d.weights = weights;
    }
    if (rarely(r))
        d.ldy = t->n_out - 1;
    return d;
}

static const double *of_batches(run *r, nnf_index n)
{
    double *values = block(r, (size_t)n * sizeof *values);
    for (nnf_index i = 0; i < n; i++)
        values[i] = rates[i < 4 ? choose(r, sizeof rates / sizeof *rates) : 0];
    return values;
}

static nnf_epoch an_epoch(run *r, const net *t, nnf_index n)
{
    nnf_epoch e = {.data = data(r, t, n), .n = n, .noise = take(r)};
    e.batch = 1 + (nnf_index)take(r) % at_most(t->config.max_batch, 256);
    if (choose(r, 4) == 3)
        e.batch = t->config.max_batch;
    if (rarely(r))
        e.batch = choose(r, 2) ? t->config.max_batch + 1 : -choose(r, 2);
    if (choose(r, 2)) {
        nnf_index *order = block(r, (size_t)n * sizeof *order);
        for (nnf_index i = 0; i < n; i++)
            order[i] = (nnf_index)(random_bits(r) % (uint64_t)n);
        if (rarely(r) && n > 0)
            order[random_bits(r) % (uint64_t)n] = choose(r, 2) ? n : -1;
        e.order = order;
    }
    const nnf_index n_batches = e.batch < 1 ? 1 : (n + e.batch - 1) / e.batch;
    e.rates = of_batches(r, n_batches);
    if (t->config.solver == NNF_NADAM)
        e.gradient_rates = of_batches(r, n_batches);
    if (t->config.l1 > 0)
        e.reaches = of_batches(r, n_batches);
    if (choose(r, 2))
        e.decays = of_batches(r, n_batches);
    if (choose(r, 2))
        e.poll = go_on;
    return e;
}

static void note_progress(run *r, const nnf_progress *p)
{
    note_bits(r, bits_of(p->data));
    note_bits(r, bits_of(p->penalty));
    note_bits(r, bits_of(p->norms));
    note_bits(r, (uint64_t)p->rows);
    note_bits(r, (uint64_t)p->steps);
}

static bool same_progress(const nnf_progress *a, const nnf_progress *b)
{
    return bits_of(a->data) == bits_of(b->data) && bits_of(a->penalty) == bits_of(b->penalty)
           && bits_of(a->norms) == bits_of(b->norms) && a->rows == b->rows && a->steps == b->steps;
}

static void train(run *r, net *t)
{
    const nnf_dtype dtype = t->config.dtype;
    nnf_epoch e = an_epoch(r, t, some_rows(r, t->n_weights));
    nnf_progress progress = {0};
    if (rarely(r)) {
        progress.rows = take(r) - 8;
        progress.steps = take(r) - 8;
    }
    const nnf_progress start = progress;
    void *before = state_of(r, t);
    arm(r);
    const nnf_status status = checked(nnf_network_train_epoch(t->network, &e, &progress));
    disarm();
    void *after = state_of(r, t);
    note_bits(r, status);
    if (status != NNF_OK) {
        REQUIRE(status == NNF_BAD_ARGUMENT, "an epoch needs no memory");
        REQUIRE(same_progress(&start, &progress) && same(dtype, before, after, n_state(t)),
                "an epoch that is refused changes nothing");
        return;
    }
    REQUIRE(progress.rows == e.n, "an epoch visits all rows");
    note_progress(r, &progress);
    note(r, dtype, after, n_state(t));

    /* Once more, in two parts. */
    if (start.rows != 0 || e.n <= e.batch)
        return;
    nnf_progress parts = {0};
    nnf_epoch part = e;
    part.n = e.batch * (1 + (nnf_index)(random_bits(r) % (uint64_t)((e.n - 1) / e.batch)));
    set_state(t, before);
    REQUIRE(nnf_network_train_epoch(t->network, &part, &parts) == NNF_OK && parts.rows == part.n, "the first part");
    REQUIRE(nnf_network_train_epoch(t->network, &e, &parts) == NNF_OK, "the second part");
    REQUIRE(same_progress(&progress, &parts) && same(dtype, after, state_of(r, t), n_state(t)),
            "an epoch in two parts is the whole one");
}

static void gradients(run *r, net *t)
{
    const nnf_dtype dtype = t->config.dtype;
    const nnf_data d = data(r, t, at_most(some_rows(r, t->n_weights), t->config.max_batch));
    nnf_progress loss;
    void *before = state_of(r, t), *flat = room(r, dtype, t->n_weights);
    const nnf_status status = checked(nnf_network_gradients(t->network, &d, choose(r, 2) ? go_on : NULL, &loss));
    REQUIRE(same(dtype, before, state_of(r, t), n_state(t)), "gradients change no parameter");
    note_bits(r, status);
    const bool kept = t->config.keep_gradients || t->config.clip_norm > 0;
    REQUIRE(status == NNF_BAD_ARGUMENT || (status == NNF_OK && kept), "gradients where there is room for them");
    REQUIRE((copy(t, NNF_GRADIENTS, flat, false) == NNF_OK) == kept, "and can be had there");
    if (status != NNF_OK)
        return;
    note_progress(r, &loss);
    note(r, dtype, flat, t->n_weights);
}

/* A loss of the caller's, whose gradient is any numbers. */
static void step(run *r, net *t)
{
    const nnf_dtype dtype = t->config.dtype;
    nnf_epoch e = an_epoch(r, t, at_most(some_rows(r, t->n_weights), t->config.max_batch));
    if (!rarely(r))
        e.batch = e.n;
    const int learning = choose(r, 4) < 3;
    void *raw = room(r, dtype, e.n * t->n_out), *before = state_of(r, t);
    double penalty;
    nnf_status status = checked(nnf_network_step_forward(t->network, &e, learning, raw, &penalty));
    REQUIRE(same(dtype, before, state_of(r, t), n_state(t)), "forward changes no parameter");
    note_bits(r, status);
    if (status == NNF_OK) {
        note(r, dtype, raw, e.n * t->n_out);
        note_bits(r, bits_of(penalty));
    }
    nnf_progress progress = {0};
    const nnf_status back = checked(nnf_network_step_backward(t->network, &e, learning,
                                                              numbers(r, dtype, e.n * t->n_out), &progress));
    void *after = state_of(r, t);
    REQUIRE(back == status, "what forward takes, backward takes");
    REQUIRE((status == NNF_OK && learning) || same(dtype, before, after, n_state(t)), "no step, no change");
    note_progress(r, &progress);
    note(r, dtype, after, n_state(t));
}

static void load(run *r, net *t)
{
    const int part = choose(r, 6) - 1;
    const nnf_status status = copy(t, (nnf_part)part, numbers(r, t->config.dtype, t->n_weights), true);
    note_bits(r, status);
    note(r, t->config.dtype, state_of(r, t), n_state(t));
}

/* How a network ends: closed, it still gives its state away, but takes none. */
static void end(run *r, net *t)
{
    const void *before = state_of(r, t);
    nnf_network_close(t->network);
    void *after = state_of(r, t);
    REQUIRE(same(t->config.dtype, before, after, n_state(t)), "a closed network has its state");
    REQUIRE(copy(t, NNF_PARAMETERS, after, true) == NNF_BAD_ARGUMENT, "a closed network takes no weights");
    nnf_network_free(t->network);
}

/* A matrix (m, n) with strides of some kind. */
typedef struct matrix {
    const void *data;
    nnf_index rs, cs;
} matrix;

static matrix a_matrix(run *r, nnf_dtype dtype, nnf_index m, nnf_index n)
{
    const int kind = choose(r, 8);
    const nnf_index apart = kind & 1 ? 2 : 1;
    matrix a = {.rs = n * apart, .cs = apart};
    if (kind & 2)
        a = (matrix){.rs = apart, .cs = m * apart};
    const nnf_index size = m * n * apart;
    a.data = numbers(r, dtype, size);
    if (kind & 4 && m > 0) { /* the last row first */
        a.data = offset(dtype, a.data, (m - 1) * a.rs);
        a.rs = -a.rs;
    }
    return a;
}

static double chain(const run *r, nnf_dtype dtype, nnf_index k, const void *a, nnf_index cs_a, const void *b,
                    nnf_index rs_b)
{
    double sum = 0;
    float narrow = 0;
    for (nnf_index p = 0; p < k; p++) {
        const double x = get(dtype, a, p * cs_a), y = get(dtype, b, p * rs_b);
        const float u = (float)x, v = (float)y;
        sum = r->fused ? fma(x, y, sum) : x * y + sum;
        narrow = r->fused ? fmaf(u, v, narrow) : u * v + narrow;
    }
    return dtype == NNF_FLOAT32 ? (double)narrow : sum;
}

static void multiply(run *r)
{
    static const nnf_index lengths[] = {3, 0, 1, 2, 4, 8, 17, 40, 63, 64, 65, 130, 511, 513, 1030};
    const nnf_dtype dtype = (nnf_dtype)choose(r, 2);
    const nnf_index m = choose(r, 32) ? PICK(r, sizes) : 0, n = choose(r, 32) ? PICK(r, sizes) : 0;
    nnf_index k = PICK(r, lengths);
    if (r->work + 2.0 * (double)m * (double)n * (double)k > budget)
        k = 1;
    r->work += 2.0 * (double)m * (double)n * (double)k;
    matrix A = a_matrix(r, dtype, m, k), B = a_matrix(r, dtype, k, n);
    const nnf_index ldc = n + choose(r, 3);
    void *C = room(r, dtype, m * ldc);
    if (rarely(r)) { /* one element, over and over: more of it than any memory */
        k = (nnf_index)1 << (50 + choose(r, 13));
        A = B = (matrix){.data = numbers(r, dtype, 1)};
    }
    arm(r);
    nnf_status status = checked(nnf_matmul(dtype, m, n, k, C, ldc, A.data, A.rs, A.cs, B.data, B.rs, B.cs,
                                           r->n_threads));
    disarm();
    if (k >= (nnf_index)1 << 50) {
        REQUIRE(status == NNF_TOO_LARGE || status == NNF_NO_MEMORY || m == 0 || n == 0, "too many products");
        return;
    }
    if (status == NNF_NO_MEMORY)
        status = nnf_matmul(dtype, m, n, k, C, ldc, A.data, A.rs, A.cs, B.data, B.rs, B.cs, r->n_threads);
    REQUIRE(status == NNF_OK, "a product of matrices");
    for (nnf_index i = 0; i < m; i++) {
        note(r, dtype, offset(dtype, C, i * ldc), n);
        const nnf_index j = (nnf_index)(random_bits(r) % (uint64_t)(n > 0 ? n : 1));
        const double got = n > 0 ? get(dtype, C, i * ldc + j) : 0;
        const double expected = n > 0 ? chain(r, dtype, k, offset(dtype, A.data, i * A.rs), A.cs,
                                              offset(dtype, B.data, j * B.cs), B.rs) : 0;
        REQUIRE(bits_of(got) == bits_of(expected), "element (%td, %td) is one chain: %a, not %a", i, j, got, expected);
    }
}

static void map(run *r)
{
    const nnf_dtype dtype = (nnf_dtype)choose(r, 2);
    const nnf_index n = PICK(r, sizes);
    const int activation = choose(r, NNF_N_ACTIVATIONS + 2) - 1;
    const double argument = PICK(r, rates);
    void *x = numbers(r, dtype, n), *out = choose(r, 2) ? x : room(r, dtype, n), *copied = room(r, dtype, n);
    memcpy(copied, x, (size_t)n * size_of(dtype));
    bool finite = true;
    for (nnf_index i = 0; i < n; i++)
        finite = finite && isfinite(get(dtype, x, i));
    REQUIRE(nnf_all_finite(dtype, n, x) == finite, "finite or not");

    nnf_status (*const function)(nnf_dtype, nnf_activation, double, nnf_index, void *, const void *) =
        choose(r, 2) ? nnf_activate_grad : nnf_activate;
    const nnf_status status = checked(function(dtype, (nnf_activation)activation, argument, n, out, x));
    REQUIRE((status == NNF_OK) == (activation >= 0 && activation < NNF_N_ACTIVATIONS), "an activation of the table");
    if (status == NNF_OK) {
        const nnf_index i = (nnf_index)(random_bits(r) % (uint64_t)n);
        void *alone = room(r, dtype, 1);
        function(dtype, (nnf_activation)activation, argument, 1, alone, offset(dtype, copied, i));
        REQUIRE(same(dtype, alone, offset(dtype, out, i), 1), "element %td is as it is alone", i);
        note(r, dtype, out, n);
    }

    const nnf_index m = 1 + choose(r, 8);
    void *scores = numbers(r, dtype, m * n), *shares = choose(r, 2) ? scores : room(r, dtype, m * n);
    REQUIRE(nnf_softmax(dtype, m, n, shares, scores) == NNF_OK, "softmax");
    note(r, dtype, shares, m * n);
    void *both = room(r, dtype, 2 * m);
    memcpy(both, shares, (size_t)m * size_of(dtype));
    nnf_both_classes(dtype, m, both);
    REQUIRE(bits_of(get(dtype, both, 2 * m - 1)) == bits_of(get(dtype, shares, m - 1)), "the second of two classes");
    note(r, dtype, both, 2 * m);
}

static void perceive(run *r)
{
    const nnf_dtype dtype = (nnf_dtype)choose(r, 2);
    const nnf_index n = 1 + choose(r, 40), n_in = 1 + choose(r, 40);
    unsigned char *held_out = block(r, (size_t)n);
    int *order = block(r, (size_t)n * sizeof *order), *indptr = NULL, *indices = NULL;
    for (nnf_index i = 0; i < n; i++) {
        held_out[i] = random_bits(r) % 4 == 0;
        order[i] = (int)i;
    }
    nnf_perceptron p = {.dtype = dtype, .n_samples = n, .n_features = n_in, .order = order, .scale = 1,
                        .activation = choose(r, NNF_N_ACTIVATIONS + 1), .penalty = choose(r, 4)};
    if (choose(r, 2)) { /* every second column */
        indptr = block(r, (size_t)(n + 1) * sizeof *indptr);
        indices = block(r, (size_t)(n * n_in) * sizeof *indices);
        indptr[0] = 0;
        for (nnf_index i = 0; i < n; i++) {
            indptr[i + 1] = indptr[i];
            for (nnf_index j = i % 2; j < n_in; j += 2)
                indices[indptr[i + 1]++] = (int)j;
        }
    }
    p.indptr = indptr;
    p.indices = indices;
    p.x = numbers(r, dtype, n * n_in);
    void *target = numbers(r, dtype, n);
    for (nnf_index i = 0; i < n && choose(r, 4) > 0; i++)
        put(dtype, target, i, get(dtype, target, i) < 0 ? -1 : 1);
    p.target = target;
    p.sample_weight = numbers(r, dtype, n);
    if (choose(r, 2))
        p.held_out = held_out;
    p.alpha = PICK(r, rates);
    p.l1_ratio = p.penalty == NNF_ELASTIC_NET ? 0.5 : p.penalty == NNF_L1;
    p.eta0 = PICK(r, rates);
    p.intercept_rate = PICK(r, rates);
    p.weight_negative = p.weight_positive = 1;
    p.shuffle = choose(r, 2);
    p.seed = take(r);
    p.track_loss = choose(r, 2);
    p.track_norms = choose(r, 2);
    p.weights = numbers(r, dtype, n_in);
    if (p.penalty & NNF_L1 && !rarely(r)) {
        p.l1_applied = room(r, dtype, n_in);
        memset(p.l1_applied, 0, (size_t)n_in * size_of(dtype));
    }
    if (choose(r, 2)) {
        p.weight_sum = block(r, (size_t)n_in * sizeof *p.weight_sum);
        memset(p.weight_sum, 0, (size_t)n_in * sizeof *p.weight_sum);
        p.n_unaveraged = choose(r, 64);
    }
    if (rarely(r))
        order[random_bits(r) % (uint64_t)n] = choose(r, 2) ? (int)n : -1;
    if (rarely(r))
        *(choose(r, 2) ? &p.n_samples : &p.n_features) = PICK(r, wrong_sizes);

    for (int epoch = choose(r, 4); epoch >= 0; epoch--) {
        const nnf_perceptron before = p;
        void *weights = room(r, dtype, n_in);
        memcpy(weights, p.weights, (size_t)n_in * size_of(dtype));
        const nnf_status status = checked(nnf_perceptron_epoch(&p, choose(r, 2) ? go_on : NULL));
        note_bits(r, status);
        if (status != NNF_OK) {
            REQUIRE(memcmp(&before, &p, sizeof p) == 0 && same(dtype, weights, p.weights, n_in),
                    "an epoch that is refused changes nothing");
            return;
        }
        if (choose(r, 2))
            nnf_perceptron_rescale(&p);
        note(r, dtype, p.weights, n_in);
        if (p.weight_sum != NULL)
            note(r, NNF_FLOAT64, p.weight_sum, n_in);
        const double sums[] = {p.intercept, p.scale, p.loss_sum, p.objective_sum, p.finite, p.intercept_sum};
        note(r, NNF_FLOAT64, sums, sizeof sums / sizeof *sums);
    }
}

static uint64_t next_word(void *r)
{
    return random_bits(r);
}

static uint32_t next_half(void *r)
{
    return (uint32_t)(random_bits(r) >> 32);
}

static void shuffle(run *r)
{
    const nnf_index n = take(r);
    nnf_index *order = block(r, (size_t)n * sizeof *order);
    unsigned char *seen = block(r, (size_t)n);
    for (nnf_index i = 0; i < n; i++) {
        order[i] = i;
        seen[i] = 0;
    }
    const nnf_bit_source source = {.state = r, .next_uint64 = next_word, .next_uint32 = next_half};
    nnf_shuffle(n, order, &source);
    for (nnf_index i = 0; i < n; i++) {
        REQUIRE(order[i] >= 0 && order[i] < n && !seen[order[i]]++, "a permutation");
        note_bits(r, (uint64_t)order[i]);
    }
}

/* ---- programs --------------------------------------------------------------------------------------------------- */

static void execute(run *r)
{
    typedef void call_on_network(run *, net *);
    typedef void call(run *);
    static call_on_network *const on_network[] = {train, predict, gradients, step, load};
    static call *const others[] = {multiply, map, perceive, shuffle};
    enum { N_ON_NETWORK = sizeof on_network / sizeof *on_network, N_OTHERS = sizeof others / sizeof *others };

    net t = {.network = NULL};
    r->random = take(r);
    r->odd = PICK(r, ((const unsigned[]){0, 0, 8, 128}));
    create(r, &t);
    while (r->next < r->end && r->n_calls < MAX_CALLS) {
        const int which = choose(r, N_ON_NETWORK + N_OTHERS);
        r->n_calls++;
        r->log[r->n_calls] = r->log[r->n_calls - 1];
        if (which >= N_ON_NETWORK)
            others[which - N_ON_NETWORK](r);
        else if (t.network != NULL)
            on_network[which](r, &t);
    }
    if (t.network != NULL)
        end(r, &t);
    for (int i = 0; i < r->n_blocks; i++)
        free(r->blocks[i]);
}

static run executed(const uint8_t *bytes, size_t n, const char *isa, int n_threads)
{
    run r = {.next = bytes, .end = bytes + n, .fused = strcmp(isa, "scalar") != 0, .n_threads = n_threads};
    REQUIRE(nnf_isa_select(isa) == NNF_OK, "%s is available", isa);
    execute(&r);
    return r;
}

digests run_program(const uint8_t *bytes, size_t n)
{
    digests found = {0};
    for (int i = 0; i < nnf_isa_count(); i++) {
        if (!nnf_isa_available(i))
            continue;
        const char *isa = nnf_isa_name(i);
        const run alone = executed(bytes, n, isa, 1), team = executed(bytes, n, isa, 3);
        REQUIRE(alone.n_calls == team.n_calls, "as many calls");
        for (int call = 0; call <= alone.n_calls; call++)
            REQUIRE(alone.log[call] == team.log[call], "call %d: %s has the same bits on 3 threads", call, isa);
        uint64_t *digest = alone.fused ? &found.fused : &found.scalar;
        REQUIRE(*digest == 0 || *digest == alone.log[alone.n_calls], "%s has the bits of the others with FMA", isa);
        *digest = alone.log[alone.n_calls];
    }
    return found;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    run_program(bytes, n);
    return 0;
}
