/*
 * predict.c: outputs of a network for many rows. Threads own rows; a block of rows passes through all layers while its
 * activations are in the second-level cache. Where rows are too few to share, threads own columns of each layer. The
 * activations, softmax and the vector maths on plain arrays are here too.
 */
#include "internal.h"

/* Threads share rows in units of the tallest tile. */
enum { ROWS_OF_A_TILE = 12 };

typedef struct forward_job {
    const nnf_kernels *kernels;
    int n_layers;
    nnf_dense *layers;        /* (n_layers) */
    const void *const *plain; /* (n_layers) weights still to be packed into layers[l].W, or NULL */
    int n_groups;             /* softmaxes, or ordered outputs, side by side; 0: one over all */
    const nnf_index *groups;  /* (n_groups) outputs of each */
    const nnf_rows *X;
    void *out;                /* (X->n, n_out) */
    nnf_index block;          /* most rows that pass through the layers together */
    bool by_columns;          /* all threads go through one block, each has columns of a layer */
    nnf_index ld;             /* row distance of the buffers */
    int n_slots;              /* one for each thread, or one */
    void *buffers;            /* (n_slots, 2, block, ld) hidden layers, in turn */
    const void **rows;        /* (n_slots, 3, block) pointers to the rows of X and of the two buffers */
    nnf_sparse_row *sparse;   /* (n_slots, block) rows of a sparse X; NULL for a dense one */
    bool finite;              /* X must be */
    atomic_bool refused;      /* it is not */
    nnf_poll poll;
} forward_job;

/* The output activations that need whole rows. */
static void activate_groups(const forward_job *job, int activation, nnf_index m, nnf_index n_out, void *out)
{
    const nnf_kernels *kernels = job->kernels;
    nnf_index first = 0;
    for (int g = 0; first < n_out; g++) {
        const nnf_index n = job->n_groups > 0 ? job->groups[g] : n_out;
        (activation == NNF_SOFTMAX ? kernels->softmax : kernels->ordered)(m, n, nnf_at(kernels, out, first), n_out);
        first += n;
    }
}

/* Asked of a block just before it is used, for what it brings into the caches. Where all of X was searched first,
 * 784-100-10 took a quarter longer. */
static bool is_finite(const forward_job *job, nnf_index begin, nnf_index m)
{
    const nnf_kernels *kernels = job->kernels;
    const nnf_rows *X = job->X;
    if (X->indptr != NULL) {
        const nnf_index first = X->indptr[begin];
        return kernels->finite(X->indptr[begin + m] - first, nnf_at(kernels, X->values, first));
    }
    const nnf_index n_in = job->layers[0].W.n_rows;
    if (X->ld == n_in) /* rows without gaps are searched as one */
        return kernels->finite(m * n_in, nnf_at(kernels, X->values, begin * n_in));
    for (nnf_index i = begin; i < begin + m; i++) {
        if (!kernels->finite(n_in, nnf_at(kernels, X->values, i * X->ld)))
            return false;
    }
    return true;
}

/* A hidden layer of the block in a slot. */
static void *buffer_of(const forward_job *job, int slot, int l)
{
    return nnf_at(job->kernels, job->buffers, ((nnf_index)slot * 2 + l % 2) * job->block * job->ld);
}

/* The table of the rows of a buffer does not change from block to block: 3 % of 30-100-1. */
static void point_to_buffers(const forward_job *job, int slot)
{
    for (int b = 0; b < 2; b++) {
        const void **rows = job->rows + ((nnf_index)slot * 3 + 1 + b) * job->block;
        const void *row = buffer_of(job, slot, b);
        for (nnf_index i = 0; i < job->block; i++, row = nnf_at(job->kernels, row, job->ld))
            rows[i] = row;
    }
}

/* Points the rows of a slot at rows begin .. begin + m - 1 of X. False when X must be finite and is not. */
static bool start_block(forward_job *job, int slot, nnf_index begin, nnf_index m)
{
    const nnf_kernels *kernels = job->kernels;
    const void **rows = job->rows + (nnf_index)slot * 3 * job->block;
    if (job->finite && !is_finite(job, begin, m))
        atomic_store(&job->refused, true);
    if (atomic_load(&job->refused))
        return false;
    for (nnf_index i = 0; i < m; i++) {
        if (job->sparse != NULL)
            job->sparse[slot * job->block + i] = nnf_sparse_row_at(kernels, job->X, begin + i);
        else
            rows[i] = nnf_at(kernels, job->X->values, (begin + i) * job->X->ld);
    }
    return true;
}

/* These panels of a layer, for the block in a slot. */
static void forward_layer(const forward_job *job, int slot, int l, nnf_index begin, nnf_index m, nnf_range panels)
{
    const nnf_dense *layer = &job->layers[l];
    const void **rows = job->rows + (nnf_index)slot * 3 * job->block;
    const bool last = l == job->n_layers - 1;
    const nnf_index n_out = layer->W.n_columns;
    const nnf_input in = {
        .dense = l == 0 ? rows : rows + (1 + (l - 1) % 2) * job->block,
        .sparse = l == 0 && job->sparse != NULL ? job->sparse + slot * job->block : NULL,
    };
    void *out = last ? nnf_at(job->kernels, job->out, begin * n_out) : buffer_of(job, slot, l);
    nnf_dense_forward(job->kernels, layer, m, in, out, last ? n_out : job->ld, last, panels);
}

/* What is left to do when the sums of the last layer are there. */
static void finish_block(const forward_job *job, nnf_index begin, nnf_index m)
{
    const nnf_dense *last = &job->layers[job->n_layers - 1];
    const nnf_index n_out = last->W.n_columns;
    if (last->activation >= NNF_N_ACTIVATIONS)
        activate_groups(job, last->activation, m, n_out, nnf_at(job->kernels, job->out, begin * n_out));
}

static void forward_by_rows(forward_job *job, int thread, nnf_range rows)
{
    point_to_buffers(job, thread);
    for (nnf_index i = rows.begin; i < rows.end && !nnf_poll_stop(&job->poll, thread); i += job->block) {
        const nnf_index m = nnf_min(job->block, rows.end - i);
        if (!start_block(job, thread, i, m))
            return;
        for (int l = 0; l < job->n_layers; l++)
            forward_layer(job, thread, l, i, m, (nnf_range){0, nnf_n_panels(job->kernels, job->layers[l].W.n_columns)});
        finish_block(job, i, m);
    }
}

static void forward_by_columns(forward_job *job, nnf_team *team, int thread, int n_threads)
{
    const nnf_index m = job->X->n;
    if (thread == 0) {
        point_to_buffers(job, 0);
        start_block(job, 0, 0, m);
    }
    nnf_barrier(team);
    if (atomic_load(&job->refused))
        return;
    for (int l = 0; l < job->n_layers; l++) {
        const nnf_operand *W = &job->layers[l].W;
        const nnf_index n_panels = nnf_n_panels(job->kernels, W->n_columns);
        forward_layer(job, 0, l, 0, m, nnf_share(n_panels, 1, thread, n_threads));
        nnf_barrier(team);
    }
    if (thread == 0)
        finish_block(job, 0, m);
}

static void forward_work(void *context, nnf_team *team, int thread, int n_threads)
{
    forward_job *job = context;
    for (int l = 0; job->plain != NULL && l < job->n_layers; l++) {
        const nnf_operand *W = &job->layers[l].W;
        void *packed = nnf_at(job->kernels, W->data, 0);
        if (!W->transposed)
            nnf_pack(job->kernels, packed, job->plain[l], W->n_columns, 1, W->n_rows, W->n_columns,
                     nnf_share(nnf_n_panels(job->kernels, W->n_columns), 1, thread, n_threads));
        else if (thread == 0)
            job->kernels->transpose(W->n_rows, W->n_columns, packed, W->ld, job->plain[l], W->n_columns);
    }
    nnf_barrier(team);
    if (job->by_columns)
        forward_by_columns(job, team, thread, n_threads);
    else
        forward_by_rows(job, thread, nnf_share(job->X->n, ROWS_OF_A_TILE, thread, n_threads));
}

/* Whether to share columns: when the largest share is then less work, in multiply-adds and what a barrier costs in
 * their place. Two threads take 0.5 to 0.75 of the time of one for 1 to 20 rows of 1024-2048-2048-10, where with rows
 * shared they took 0.9 to 1.3. */
static bool goes_by_columns(const forward_job *job, int n_threads)
{
    const nnf_index n = job->X->n, panel = job->kernels->panel, units = (n + ROWS_OF_A_TILE - 1) / ROWS_OF_A_TILE;
    const nnf_index rows = nnf_min(n, (units + n_threads - 1) / n_threads * ROWS_OF_A_TILE);
    const double barrier = 100e3; /* 2 us of multiply-adds */
    double by_rows = 0, by_columns = 0;
    if (n_threads == 1 || n > job->block)
        return false;
    for (int l = 0; l < job->n_layers; l++) {
        const nnf_operand *W = &job->layers[l].W;
        const nnf_index panels = (nnf_n_panels(job->kernels, W->n_columns) + n_threads - 1) / n_threads;
        by_rows += (double)rows * (double)W->n_rows * (double)W->n_columns;
        by_columns += (double)n * (double)W->n_rows * (double)(panels * panel) + barrier;
    }
    return by_columns < by_rows;
}

/* Scratch of one call. With `packed`, also room for the packed weights; of few outputs they are transposed. */
static void lay_out(nnf_arena *arena, forward_job *job, bool packed)
{
    const nnf_kernels *kernels = job->kernels;
    const nnf_index slots = job->n_slots * job->block;
    job->buffers = nnf_take(arena, 2 * slots, job->ld, kernels->size);
    job->rows = nnf_take(arena, 3, slots, sizeof *job->rows);
    job->sparse = job->X->indptr == NULL ? NULL : nnf_take(arena, slots, 1, sizeof *job->sparse);
    for (int l = 0; packed && l < job->n_layers; l++) {
        nnf_operand *W = &job->layers[l].W;
        const bool sparse = l == 0 && job->X->indptr != NULL;
        W->transposed = l == job->n_layers - 1 && nnf_is_few(W->n_columns) && !sparse;
        W->ld = W->transposed ? nnf_round_up(W->n_rows, kernels->lanes) : 0;
        W->data = W->transposed ? nnf_take(arena, W->n_columns, W->ld, kernels->size)
                                : nnf_take(arena, W->n_rows, nnf_round_up(W->n_columns, kernels->lanes), kernels->size);
    }
}

/* A call for a row or two shall not need the allocator: it has so many bytes of scratch on the stack. */
enum { SCRATCH_ON_STACK = 16384 };

/* Runs a job whose layers hold plain or packed weights. */
static nnf_status run(forward_job *job, int max_threads, bool pack)
{
    const nnf_kernels *kernels = job->kernels;
    double flop = 0;
    for (int l = 0; l < job->n_layers; l++) {
        const nnf_operand *W = &job->layers[l].W;
        const bool sparse = l == 0 && job->X->indptr != NULL;
        const double elements = sparse ? (double)job->X->n_stored : (double)job->X->n * (double)W->n_rows;
        flop += 2.0 * elements * (double)W->n_columns;
        if (l < job->n_layers - 1 && W->n_columns > job->ld)
            job->ld = W->n_columns;
    }
    job->ld = nnf_row_distance(kernels, job->ld);
    job->block = nnf_min(job->X->n, NNF_ROW_BLOCK);
    const int n_threads = nnf_team_size(flop, max_threads);
    job->by_columns = goes_by_columns(job, n_threads);
    job->n_slots = job->by_columns ? 1 : n_threads;

    nnf_arena arena = {0};
    lay_out(&arena, job, pack);
    if (arena.overflow)
        return NNF_TOO_LARGE;
    _Alignas(NNF_ALIGN) char stack[SCRATCH_ON_STACK];
    char *scratch = arena.used <= sizeof stack ? stack : nnf_scratch_take(arena.used);
    if (scratch == NULL)
        return NNF_NO_MEMORY;
    arena = (nnf_arena){.base = scratch};
    lay_out(&arena, job, pack);
    nnf_parallel(n_threads, forward_work, job);
    if (scratch != stack)
        nnf_scratch_give(scratch);
    if (atomic_load(&job->poll.stop))
        return NNF_INTERRUPTED;
    return atomic_load(&job->refused) ? NNF_NOT_FINITE : NNF_OK;
}

/* Views of layers: on the stack for networks of the usual depth. */
enum { LAYERS_ON_STACK = 16 };

nnf_status nnf_forward(const nnf_config *config, const void *const *params, const nnf_rows *X, int finite, void *out,
                       int (*poll)(void))
{
    nnf_status status = nnf_check_layers(config);
    if (status == NNF_OK)
        status = nnf_check_rows(X, config->sizes[0]);
    if (status != NNF_OK || X->n == 0)
        return status;

    const int n_layers = config->n_layers;
    const bool pack = X->n >= NNF_ROWS_THAT_PAY_FOR_PACKING;
    nnf_dense stack[LAYERS_ON_STACK];
    nnf_dense *layers = n_layers <= LAYERS_ON_STACK ? stack : nnf_alloc((size_t)n_layers * sizeof *layers);
    if (layers == NULL)
        return NNF_NO_MEMORY;
    for (int l = 0; l < n_layers; l++) {
        const nnf_index n_in = config->sizes[l], n_out = config->sizes[l + 1];
        layers[l] = (nnf_dense){
            .W = {.data = params[l], .n_rows = n_in, .n_columns = n_out, .ld = n_out},
            .b = params[n_layers + l],
            .activation = config->activations[l],
            .argument = nnf_argument_of(config, l),
        };
    }
    forward_job job = {
        .kernels = nnf_active_kernels(config->dtype), .n_layers = n_layers, .layers = layers,
        .plain = pack ? params : NULL, .n_groups = config->n_groups, .groups = config->groups,
        .X = X, .finite = finite != 0, .out = out, .poll = nnf_poll_start(poll),
    };
    status = run(&job, config->n_threads, pack);
    if (layers != stack)
        nnf_free(layers);
    return status;
}

nnf_status nnf_network_forward(const nnf_network *network, const nnf_rows *X, void *out, int (*poll)(void))
{
    const int n_layers = network->n_layers;
    nnf_status status = nnf_check_rows(X, network->layers[0].n_in);
    if (status != NNF_OK || X->n == 0)
        return status;
    nnf_dense stack[LAYERS_ON_STACK];
    nnf_dense *layers = n_layers <= LAYERS_ON_STACK ? stack : nnf_alloc((size_t)n_layers * sizeof *layers);
    if (layers == NULL)
        return NNF_NO_MEMORY;
    for (int l = 0; l < n_layers; l++)
        layers[l] = nnf_dense_view(&network->layers[l]);
    forward_job job = {
        .kernels = network->kernels, .n_layers = n_layers, .layers = layers,
        .n_groups = network->n_groups, .groups = network->groups, .X = X, .out = out, .poll = nnf_poll_start(poll),
    };
    status = run(&job, network->n_threads, false);
    if (layers != stack)
        nnf_free(layers);
    return status;
}

/* ---- plain arrays ---- */

int nnf_all_finite(nnf_dtype dtype, nnf_index n, const void *x)
{
    return nnf_active_kernels(dtype)->finite(n, x);
}

void nnf_both_classes(nnf_dtype dtype, nnf_index n, void *out)
{
    nnf_active_kernels(dtype)->both_classes(n, out);
}

nnf_status nnf_activate(nnf_dtype dtype, nnf_activation activation, double argument, nnf_index n, void *out,
                        const void *x)
{
    if (n < 0 || activation < 0 || activation >= NNF_N_ACTIVATIONS)
        return NNF_BAD_ARGUMENT;
    nnf_active_kernels(dtype)->activate((int)activation, argument, 1, n, out, x, n);
    return NNF_OK;
}

nnf_status nnf_activate_grad(nnf_dtype dtype, nnf_activation activation, double argument, nnf_index n, void *out,
                             const void *x)
{
    const nnf_kernels *kernels = nnf_active_kernels(dtype);
    enum { CHUNK = 64 };
    double values[CHUNK]; /* as many elements of either type */
    if (n < 0 || activation < 0 || activation >= NNF_N_ACTIVATIONS)
        return NNF_BAD_ARGUMENT;
    for (nnf_index i = 0; i < n; i += CHUNK) {
        const nnf_index count = nnf_min(CHUNK, n - i);
        kernels->activate_with_slope((int)activation, argument, 1, count, values, nnf_at(kernels, out, i),
                                     nnf_at(kernels, x, i), count);
    }
    return NNF_OK;
}

nnf_status nnf_softmax(nnf_dtype dtype, nnf_index m, nnf_index n, void *out, const void *x)
{
    const nnf_kernels *kernels = nnf_active_kernels(dtype);
    if (m < 0 || n < 1)
        return NNF_BAD_ARGUMENT;
    if (out != x)
        kernels->activate(NNF_IDENTITY, 0, m, n, out, x, n);
    kernels->softmax(m, n, out, n);
    return NNF_OK;
}
