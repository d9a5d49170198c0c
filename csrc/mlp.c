/*
 * mlp.c: the network: its description and arenas, parameters in and out, and the passes through one layer: forward,
 * output delta, backward. Over which rows, in what order and with how many threads they run: train.c and predict.c.
 */
#include "internal.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

/* ---- description ---- */

/* Whether the slope of an activation cannot be told from its value. */
static bool slope_needs_input(int activation)
{
    enum { OUTPUT, INPUT };
    static const char from[NNF_N_ACTIVATIONS] = {
#define NNF_ROW(NAME, name, slope) [NNF_##NAME] = slope,
#include "activation.def"
#undef NNF_ROW
    };
    return activation < NNF_N_ACTIVATIONS && from[activation] == INPUT;
}

double nnf_argument_of(const nnf_config *config, int l)
{
    return config->arguments == NULL ? nnf_activation_argument(config->activations[l]) : config->arguments[l];
}

/* What every use of a network needs. */
nnf_status nnf_check_layers(const nnf_config *config)
{
    if (config->n_layers < 1 || config->n_threads < 1 || (config->dtype != NNF_FLOAT32 && config->dtype != NNF_FLOAT64))
        return NNF_BAD_CONFIG;
    for (int l = 0; l <= config->n_layers; l++) {
        if (config->sizes[l] < 1)
            return NNF_BAD_CONFIG;
        if (config->sizes[l] > NNF_MOST_ELEMENTS)
            return NNF_TOO_LARGE;
    }
    for (int l = 0; l < config->n_layers; l++) {
        const int last = l == config->n_layers - 1 ? NNF_ORDERED : NNF_N_ACTIVATIONS - 1;
        if (config->activations[l] < 0 || config->activations[l] > last)
            return NNF_BAD_CONFIG;
        if (config->dropout != NULL && !(config->dropout[l] >= 0 && config->dropout[l] < 1))
            return NNF_BAD_CONFIG;
        const double argument = nnf_argument_of(config, l);
        if (!isnan(nnf_activation_argument(config->activations[l])) && !(argument >= 0 && isfinite(argument)))
            return NNF_BAD_CONFIG;
    }
    nnf_index grouped = 0;
    for (int g = 0; g < config->n_groups; g++) {
        if (config->groups[g] < 1 || config->groups[g] > config->sizes[config->n_layers] - grouped)
            return NNF_BAD_CONFIG;
        grouped += config->groups[g];
    }
    if (config->n_groups > 0
        && (grouped != config->sizes[config->n_layers]
            || config->activations[config->n_layers - 1] < NNF_N_ACTIVATIONS))
        return NNF_BAD_CONFIG;
    return NNF_OK;
}

nnf_status nnf_check_shape(const nnf_rows *X, nnf_index n_in)
{
    return X->n < 0 || (X->indptr == NULL && X->ld < n_in) ? NNF_BAD_ARGUMENT : NNF_OK;
}

bool nnf_is_sound_row(const nnf_rows *X, nnf_index n_in, nnf_index i)
{
    const nnf_index begin = X->indptr[i], end = X->indptr[i + 1];
    if (begin < 0 || begin > end || end > X->n_stored)
        return false;
    nnf_index before = -1;
    for (nnf_index p = begin; p < end; p++) {
        if (X->indices[p] <= before)
            return false;
        before = X->indices[p];
    }
    return before < n_in;
}

nnf_status nnf_check_rows(const nnf_rows *X, nnf_index n_in)
{
    if (nnf_check_shape(X, n_in) != NNF_OK)
        return NNF_BAD_ARGUMENT;
    for (nnf_index i = 0; X->indptr != NULL && i < X->n; i++)
        if (!nnf_is_sound_row(X, n_in, i))
            return NNF_BAD_ARGUMENT;
    return NNF_OK;
}

nnf_sparse_row nnf_sparse_row_at(const nnf_kernels *kernels, const nnf_rows *X, nnf_index i)
{
    return (nnf_sparse_row){
        .values = nnf_at(kernels, X->values, X->indptr[i]),
        .indices = X->indices + X->indptr[i],
        .count = X->indptr[i + 1] - X->indptr[i],
    };
}

/* Written so that NaN is refused. */
static bool fits_loss(const nnf_config *config)
{
    const nnf_loss_args *args = &config->loss_args;
    switch (config->loss) {
    case NNF_HUBER:
        return args->huber_delta > 0;
    case NNF_TWEEDIE:
        return args->tweedie_power > 1 && args->tweedie_power < 2;
    case NNF_FOCAL:
    case NNF_BINARY_FOCAL:
        return args->focal_gamma >= 0;
    case NNF_QUANTILE: {
        const int n_groups = config->n_groups > 0 ? config->n_groups : 1;
        for (int g = 0; g < n_groups; g++)
            if ((config->n_groups > 0 ? config->groups[g] : config->sizes[config->n_layers]) != args->n_levels)
                return false;
        for (int k = 0; k < args->n_levels; k++)
            if (!(args->levels[k] > (k == 0 ? 0 : args->levels[k - 1]) && args->levels[k] < 1))
                return false;
        return true;
    }
    default:
        return true;
    }
}

/* What training needs besides. */
static nnf_status check_training(const nnf_config *config)
{
    if (config->loss < 0 || config->loss >= NNF_N_LOSSES || config->solver < 0 || config->solver >= NNF_N_SOLVERS
        || config->max_batch < 1 || !(config->l1 >= 0) || !(config->clip_value >= 0) || !(config->clip_norm >= 0)
        || config->activations[config->n_layers - 1] != nnf_loss_link(config->loss)
        || !fits_loss(config))
        return NNF_BAD_CONFIG;
    return config->max_batch > NNF_MOST_ELEMENTS ? NNF_TOO_LARGE : NNF_OK;
}

/* ---- arenas ---- */

/* Which parts of the parameters a network of this description keeps. */
static bool keeps(const nnf_config *config, int part)
{
    if (part == NNF_GRADIENTS)
        return config->keep_gradients != 0 || config->clip_norm > 0;
    return part <= NNF_PARAMETERS + nnf_solver_states(config->solver);
}

/* Rows of W in a strip, for n samples in a chain: their slices take no more than a block of rows on its way through a
 * layer does. */
static nnf_index strip_rows(nnf_index n)
{
    const nnf_index fit = NNF_ROW_BLOCK * NNF_CHUNK / n / NNF_BLOCK_ROWS * NNF_BLOCK_ROWS;
    return fit < NNF_BLOCK_ROWS ? NNF_BLOCK_ROWS : nnf_min(fit, NNF_ROW_BLOCK);
}

/* Blocks of as many rows as the strip has and fit the scratch, which has room for `fit` rows of a panel; and where
 * these are all rows, of as many panels. */
static nnf_cut cut_of(nnf_index fit, nnf_index panel, nnf_index strip, nnf_index n_in)
{
    const nnf_index rows = nnf_min(strip, fit / NNF_BLOCK_ROWS * NNF_BLOCK_ROWS);
    return (nnf_cut){strip, rows, n_in > rows ? panel : fit / n_in * panel};
}

/* Rows of X that share sets of the caches are copied where so many panels of W meet them. With the copies 1024-16-1
 * takes a fifth longer, 2048-256-10 the same; without them 4096-1024-10 5 % longer. */
enum { PANELS_WORTH_A_COPY = 32 };

/* Places everything of the network in two arenas: what it is made of, and the workspace of its steps. Runs twice: to
 * measure, and to lay out. */
static void lay_out(nnf_arena *arena, nnf_arena *workspace, const nnf_config *config, nnf_network *network)
{
    const nnf_kernels *kernels = nnf_active_kernels(config->dtype);
    const nnf_index max_batch = config->max_batch;
    const int n_threads = config->n_threads;
    const size_t size = kernels->size;
    nnf_layer *layers = nnf_take(arena, config->n_layers, 1, sizeof *layers);
    bool drops = false;
    nnf_index most_in = NNF_FEW_COLUMNS;
    const nnf_index samples = nnf_min(max_batch, NNF_CHAIN_ROWS), strip = strip_rows(samples);
    const nnf_index scratch_size = NNF_BLOCK_BYTES / (nnf_index)size, fit = scratch_size / kernels->panel;
    const nnf_index sparse_rows = fit / NNF_BLOCK_ROWS * NNF_BLOCK_ROWS;

    for (int l = 0; l < config->n_layers; l++) {
        const nnf_index n_in = config->sizes[l], n_out = config->sizes[l + 1];
        const nnf_index padded_out = nnf_round_up(n_out, kernels->lanes);
        const bool few = l > 0 && l == config->n_layers - 1 && nnf_is_few(n_out);
        most_in = n_in > most_in ? n_in : most_in;
        nnf_layer layer = {
            .n_in = n_in,
            .n_out = n_out,
            .few = few,
            .padded_in = nnf_round_up(n_in, kernels->lanes),
            .padded_out = padded_out,
            .full_out = padded_out / kernels->panel * kernels->panel,
            .n_sums = (n_in + NNF_BLOCK_ROWS - 1) / NNF_BLOCK_ROWS,
            .cut = few ? (nnf_cut){n_in, NNF_FEW_BLOCK, padded_out}
                       : cut_of(fit, kernels->panel, strip, n_in),
            .ld = nnf_row_distance(kernels, n_out),
            .activation = config->activations[l],
            .argument = nnf_argument_of(config, l),
            .dropout = config->dropout != NULL && l < config->n_layers - 1 ? config->dropout[l] : 0,
        };
        drops = drops || layer.dropout > 0;
        for (int part = NNF_PARAMETERS; part <= NNF_GRADIENTS; part++) {
            if (!keeps(config, part))
                continue;
            layer.w[part] = layer.few ? nnf_take(arena, n_out, layer.padded_in, size)
                                      : nnf_take(arena, n_in, padded_out, size);
            layer.b[part] = nnf_take(arena, 1, padded_out, size);
        }
        if (l > 0 && !layer.few)
            layer.w_transposed = nnf_take(workspace, n_out, layer.padded_in, size);
        layer.squares = nnf_take(workspace, layer.n_sums, padded_out, size);
        if (config->l1 > 0)
            layer.sizes = nnf_take(workspace, layer.n_sums, padded_out, size);
        if (config->clip_norm > 0) {
            layer.w_gradient_squares = nnf_take(workspace, layer.n_sums, padded_out, size);
            layer.b_gradient_squares = nnf_take(workspace, 1, padded_out, size);
        }
        layer.out = nnf_take(workspace, max_batch, layer.ld, size);
        layer.delta = nnf_take(workspace, max_batch, layer.ld, size);
        if (slope_needs_input(layer.activation) || layer.dropout > 0)
            layer.slope = nnf_take(workspace, max_batch, layer.ld, size);
        layer.out_rows = nnf_take(workspace, max_batch, 1, sizeof *layer.out_rows);
        layer.delta_rows = nnf_take(workspace, max_batch, 1, sizeof *layer.delta_rows);
        if (layers != NULL)
            layers[l] = layer;
    }
    const nnf_index slices_size = nnf_min(most_in, strip) * nnf_slice_depth(samples);
    const nnf_index x_ld = nnf_row_distance(kernels, config->sizes[0]);
    const bool copies_x = nnf_rows_collide(kernels, config->sizes[0])
                          && config->sizes[1] >= PANELS_WORTH_A_COPY * kernels->panel;
    *network = (nnf_network){
        .kernels = kernels,
        .dtype = config->dtype,
        .n_layers = config->n_layers,
        .n_threads = n_threads,
        .loss = config->loss,
        .loss_args = config->loss_args,
        .levels = config->loss == NNF_QUANTILE ? nnf_take(arena, config->loss_args.n_levels, 1, sizeof(double)) : NULL,
        .solver = config->solver,
        .n_groups = config->n_groups,
        .groups = config->n_groups > 0 ? nnf_take(arena, config->n_groups, 1, sizeof *network->groups) : NULL,
        .alpha = config->alpha,
        .l1 = config->l1,
        .clip_value = config->clip_value,
        .clip_norm = config->clip_norm,
        .momentum = config->momentum,
        .beta_1 = config->beta_1,
        .beta_2 = config->beta_2,
        .epsilon = config->epsilon,
        .max_batch = max_batch,
        .layers = layers,
        .x_rows = nnf_take(workspace, max_batch, 1, sizeof *network->x_rows),
        .y_rows = nnf_take(workspace, max_batch, 1, sizeof *network->y_rows),
        .row_numbers = drops ? nnf_take(workspace, max_batch, 1, sizeof *network->row_numbers) : NULL,
        .x_copy = copies_x ? nnf_take(workspace, max_batch, x_ld, size) : NULL,
        .x_ld = x_ld,
        .x_sparse = config->sparse ? nnf_take(workspace, max_batch, 1, sizeof *network->x_sparse) : NULL,
        .segments = config->sparse ? nnf_take(workspace, n_threads, max_batch, sizeof *network->segments) : NULL,
        .row_loss = nnf_take(workspace, max_batch, 1, sizeof *network->row_loss),
        .row_weight = nnf_take(workspace, max_batch, 1, sizeof *network->row_weight),
        .scratch = nnf_take(workspace, n_threads, scratch_size, size),
        .chains = max_batch > NNF_CHAIN_ROWS ? nnf_take(workspace, n_threads, scratch_size, sizeof(double)) : NULL,
        .scratch_size = scratch_size,
        .sparse_cut = {sparse_rows, sparse_rows, kernels->panel},
        .slices = nnf_take(workspace, n_threads, slices_size, size),
        .slices_size = slices_size,
    };
}

/* Lays out for good what was measured. */
static nnf_status allocate(nnf_arena *arena)
{
    const size_t size = arena->used;
    *arena = (nnf_arena){.base = nnf_alloc(size)};
    if (arena->base == NULL)
        return NNF_NO_MEMORY;
    memset(arena->base, 0, size);
    return NNF_OK;
}

nnf_status nnf_network_create(const nnf_config *config, nnf_network **out)
{
    *out = NULL;
    nnf_status status = nnf_check_layers(config);
    if (status == NNF_OK)
        status = check_training(config);
    if (status != NNF_OK)
        return status;

    nnf_network plan;
    nnf_arena arena = {0}, workspace = {0};
    (void)nnf_take(&arena, 1, 1, sizeof plan);
    lay_out(&arena, &workspace, config, &plan);
    if (arena.overflow || workspace.overflow)
        return NNF_TOO_LARGE;
    status = allocate(&arena);
    if (status == NNF_OK)
        status = allocate(&workspace);
    if (status != NNF_OK) {
        nnf_free(arena.base);
        return status;
    }
    nnf_network *network = nnf_take(&arena, 1, 1, sizeof plan);
    lay_out(&arena, &workspace, config, network);
    network->workspace = workspace.base;

    for (int l = 0; l < network->n_layers; l++) {
        nnf_layer *layer = &network->layers[l];
        for (nnf_index i = 0; i < network->max_batch; i++) {
            layer->out_rows[i] = nnf_at(network->kernels, layer->out, i * layer->ld);
            layer->delta_rows[i] = nnf_at(network->kernels, layer->delta, i * layer->ld);
        }
    }
    for (int g = 0; g < network->n_groups; g++)
        network->groups[g] = config->groups[g];
    network->loss_args.levels = network->levels;
    for (int k = 0; network->levels != NULL && k < network->loss_args.n_levels; k++)
        network->levels[k] = config->loss_args.levels[k];
    *out = network;
    return NNF_OK;
}

void nnf_network_close(nnf_network *network)
{
    nnf_free(network->workspace);
    network->workspace = NULL;
}

void nnf_network_free(nnf_network *network)
{
    if (network == NULL)
        return;
    nnf_network_close(network);
    nnf_free(network); /* the arena begins with it */
}

/* ---- parameters in and out ---- */

static nnf_status check_part(const nnf_network *network, nnf_part part)
{
    const bool kept = part >= NNF_PARAMETERS && part <= NNF_GRADIENTS && network->layers[0].w[part] != NULL;
    return kept ? NNF_OK : NNF_BAD_ARGUMENT;
}

nnf_place nnf_place_of(const nnf_network *network, int l, const nnf_block *block)
{
    const nnf_kernels *kernels = network->kernels;
    const nnf_layer *layer = &network->layers[l];
    const nnf_index n_rows = block->rows.end - block->rows.begin, n_columns = block->columns.end - block->columns.begin;
    if (layer->few)
        return (nnf_place){
            .offset = block->rows.begin,
            .rows = layer->n_out,
            .n = nnf_round_up(n_rows, kernels->lanes),
            .ld = layer->padded_in,
        };
    const nnf_index j = block->columns.begin / kernels->panel, width = nnf_panel_width(kernels, layer->n_out, j);
    return (nnf_place){
        .offset = j * kernels->panel * layer->n_in + block->rows.begin * width + block->columns.begin % kernels->panel,
        .rows = n_rows,
        .n = n_columns,
        .ld = n_columns > width ? n_columns : width, /* of several panels: contiguous */
    };
}

/* Of the n_rows of W from p on, whose sums begin at `out`; of all columns, which are few. */
static void row_norms(const nnf_kernels *kernels, const nnf_layer *layer, nnf_power power, const void *w, nnf_index p,
                      nnf_index n_rows, void *out)
{
    for (nnf_index j = 0; j < layer->n_out; j++)
        kernels->row_norm(power, n_rows, nnf_at(kernels, out, j), nnf_at(kernels, w, j * layer->padded_in + p));
}

void nnf_block_norms(const nnf_network *network, int l, const nnf_block *block, nnf_power power, const void *w,
                     void *sums)
{
    const nnf_kernels *kernels = network->kernels;
    const nnf_layer *layer = &network->layers[l];
    const nnf_index panel = kernels->panel;
    for (nnf_index p = block->rows.begin; p < block->rows.end; p += NNF_BLOCK_ROWS) {
        const nnf_index n_rows = nnf_min(block->rows.end - p, NNF_BLOCK_ROWS);
        void *out = nnf_at(kernels, sums, p / NNF_BLOCK_ROWS * layer->padded_out);
        if (layer->few) {
            row_norms(kernels, layer, power, w, p, n_rows, out);
            continue;
        }
        nnf_block part = {.rows = {p, p + n_rows}, .columns = block->columns};
        while (part.columns.begin < block->columns.end) {
            if (part.columns.begin < layer->full_out) /* the last panel may be narrower */
                part.columns.end = nnf_min(block->columns.end, layer->full_out);
            const nnf_place place = nnf_place_of(network, l, &part);
            kernels->column_norms(power, n_rows, place.n, nnf_at(kernels, out, part.columns.begin),
                                  nnf_at(kernels, w, place.offset), nnf_min(place.ld, panel), panel * layer->n_in);
            part.columns = (nnf_range){part.columns.end, block->columns.end};
        }
    }
}

void nnf_block_derive(const nnf_network *network, int l, const nnf_block *block)
{
    const nnf_kernels *kernels = network->kernels;
    const nnf_layer *layer = &network->layers[l];
    nnf_block_norms(network, l, block, NNF_SQUARES, layer->w[NNF_PARAMETERS], layer->squares);
    if (layer->sizes != NULL)
        nnf_block_norms(network, l, block, NNF_SIZES, layer->w[NNF_PARAMETERS], layer->sizes);
    if (layer->w_transposed != NULL)
        nnf_pack_transpose(kernels, layer->w_transposed, layer->w[NNF_PARAMETERS], layer->n_in, layer->n_out,
                           block->rows, block->columns);
}

static void derive_panels(const nnf_network *network, int l, nnf_range panels)
{
    const nnf_layer *layer = &network->layers[l];
    const nnf_index panel = network->kernels->panel, end = nnf_min(layer->padded_out, panels.end * panel);
    for (nnf_index p = 0; p < layer->n_in; p += NNF_BLOCK_ROWS) {
        nnf_block block = {.rows = {p, nnf_min(layer->n_in, p + NNF_BLOCK_ROWS)}};
        for (nnf_index j = panels.begin * panel; j < end; j = block.columns.end) {
            block.columns = (nnf_range){j, nnf_min(end, j + panel)};
            nnf_block_derive(network, l, &block);
        }
    }
}

/* W^T (n_out, n_in) in plain rows, of a layer with few columns, from the contiguous W; and the way back. */
static void load_few(const nnf_kernels *kernels, const nnf_layer *layer, void *stored, const void *W)
{
    kernels->transpose(layer->n_in, layer->n_out, stored, layer->padded_in, W, layer->n_out);
}

static void store_few(const nnf_kernels *kernels, const nnf_layer *layer, const void *stored, void *W, nnf_range rows)
{
    for (nnf_index p = rows.begin; p < rows.end; p++)
        for (nnf_index j = 0; j < layer->n_out; j++)
            memcpy(nnf_at(kernels, W, p * layer->n_out + j), nnf_at(kernels, stored, j * layer->padded_in + p),
                   kernels->size);
}

/* A part of the parameters on its way in or out, by all threads: where they lie beyond the nearest caches two threads
 * take 0.5 to 0.75 of the time of one (784-512-512-10, Zen 3). */
typedef struct transfer {
    const nnf_network *network;
    nnf_part part;
    const void *const *in;
    void *const *out;
} transfer;

static void load_work(void *context, nnf_team *team, int thread, int n_threads)
{
    const transfer *job = context;
    const nnf_network *network = job->network;
    const nnf_kernels *kernels = network->kernels;
    (void)team;
    for (int l = 0; l < network->n_layers; l++) {
        const nnf_layer *layer = &network->layers[l];
        const nnf_index n_in = layer->n_in, n_out = layer->n_out;
        const nnf_range panels = nnf_share(nnf_n_panels(kernels, n_out), 1, thread, n_threads);
        if (!layer->few)
            nnf_pack(kernels, layer->w[job->part], job->in[l], n_out, 1, n_in, n_out, panels);
        else if (panels.begin < panels.end) /* there is but one */
            load_few(kernels, layer, layer->w[job->part], job->in[l]);
        nnf_pack(kernels, layer->b[job->part], job->in[network->n_layers + l], n_out, 1, 1, n_out, panels);
        if (job->part == NNF_PARAMETERS)
            derive_panels(network, l, panels);
    }
}

static void store_work(void *context, nnf_team *team, int thread, int n_threads)
{
    const transfer *job = context;
    const nnf_network *network = job->network;
    const nnf_kernels *kernels = network->kernels;
    (void)team;
    for (int l = 0; l < network->n_layers; l++) {
        const nnf_layer *layer = &network->layers[l];
        const nnf_range rows = nnf_share(layer->n_in, 1, thread, n_threads);
        if (layer->few)
            store_few(kernels, layer, layer->w[job->part], job->out[l], rows);
        else
            nnf_unpack(kernels, job->out[l], layer->w[job->part], layer->n_in, layer->n_out, rows);
        if (thread == 0)
            nnf_unpack(kernels, job->out[network->n_layers + l], layer->b[job->part], 1, layer->n_out,
                       (nnf_range){0, 1});
    }
}

/* What a weight counts for when a team is chosen, in floating-point operations: it takes about a nanosecond. */
static const double flop_of_transfer = 32;

static void transfer_by_all(nnf_work *work, transfer *job)
{
    const nnf_network *network = job->network;
    double weights = 0;
    for (int l = 0; l < network->n_layers; l++)
        weights += (double)network->layers[l].n_in * (double)network->layers[l].n_out;
    nnf_parallel(nnf_team_size(flop_of_transfer * weights, network->n_threads), work, job);
}

nnf_status nnf_network_load(nnf_network *network, nnf_part part, const void *const *arrays)
{
    if (network->workspace == NULL || check_part(network, part) != NNF_OK)
        return NNF_BAD_ARGUMENT;
    transfer_by_all(load_work, &(transfer){.network = network, .part = part, .in = arrays});
    return NNF_OK;
}

nnf_status nnf_network_store(const nnf_network *network, nnf_part part, void *const *arrays)
{
    if (check_part(network, part) != NNF_OK)
        return NNF_BAD_ARGUMENT;
    transfer_by_all(store_work, &(transfer){.network = network, .part = part, .out = arrays});
    return NNF_OK;
}

double nnf_penalty(const nnf_network *network)
{
    double squares = 0, sizes = 0;
    for (int l = 0; l < network->n_layers; l++) {
        const nnf_layer *layer = &network->layers[l];
        if (network->alpha != 0)
            squares += network->kernels->sum(layer->n_sums, layer->n_out, layer->squares, layer->padded_out);
        if (network->l1 != 0)
            sizes += network->kernels->sum(layer->n_sums, layer->n_out, layer->sizes, layer->padded_out);
    }
    return 0.5 * network->alpha * squares + network->l1 * sizes;
}

double nnf_gradient_norm(const nnf_network *network)
{
    double squares = 0;
    for (int l = 0; l < network->n_layers; l++) {
        const nnf_layer *layer = &network->layers[l];
        squares += network->kernels->sum(layer->n_sums, layer->n_out, layer->w_gradient_squares, layer->padded_out);
        squares += network->kernels->sum(1, layer->n_out, layer->b_gradient_squares, layer->padded_out);
    }
    return sqrt(squares);
}

/* ---- through a layer ---- */

void nnf_dense_forward(const nnf_kernels *kernels, const nnf_dense *layer, nnf_index m, nnf_input in,
                       void *out, nnf_index ld, bool exact, nnf_range panels)
{
    const bool elementwise = layer->activation < NNF_N_ACTIVATIONS && layer->activation != NNF_IDENTITY;
    const nnf_gemm g = {
        .m = m,
        .sparse = in.sparse,
        .a = in.dense,
        .c_exact = exact,
        .c = out,
        .ldc = ld,
        .start = NNF_FROM_BIAS,
        .bias = layer->b,
        .epilogue = elementwise ? NNF_ACTIVATE : NNF_STORE,
        .activation = layer->activation,
        .argument = layer->argument,
    };
    nnf_product(kernels, &g, &layer->W, panels);
}

nnf_input nnf_layer_input(const nnf_network *network, int l, nnf_index first)
{
    if (l > 0)
        return (nnf_input){.dense = network->layers[l - 1].out_rows + first};
    if (network->sparse)
        return (nnf_input){.sparse = network->x_sparse + first};
    return (nnf_input){.dense = network->x_rows + first};
}

nnf_dense nnf_dense_view(const nnf_layer *layer)
{
    return (nnf_dense){
        .W = {
            .data = layer->w[NNF_PARAMETERS],
            .n_rows = layer->n_in,
            .n_columns = layer->n_out,
            .ld = layer->few ? layer->padded_in : 0,
            .transposed = layer->few,
        },
        .b = layer->b[NNF_PARAMETERS],
        .activation = layer->activation,
        .argument = layer->argument,
    };
}

/* The finalizer of splitmix64 (Steele, Lea and Flood 2014). */
static uint64_t scramble(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* z becomes f(z), and the slope is kept, for the rows and panels given; both 0 of units that are dropped. */
static void activate_and_keep(const nnf_network *network, int l, nnf_range rows, nnf_range panels)
{
    const nnf_kernels *kernels = network->kernels;
    const nnf_layer *layer = &network->layers[l];
    const uint64_t key = scramble(network->noise + (uint64_t)l * 0x9e3779b97f4a7c15u);
    const nnf_index first = panels.begin * kernels->panel;
    const nnf_index n = nnf_min(panels.end * kernels->panel, layer->padded_out) - first;
    void *out = nnf_at(kernels, layer->out, rows.begin * layer->ld + first);
    kernels->activate_with_slope(layer->activation, layer->argument, rows.end - rows.begin, n, out,
                                 nnf_at(kernels, layer->slope, rows.begin * layer->ld + first), out, layer->ld);
    for (nnf_index i = rows.begin; network->dropping && layer->dropout > 0 && i < rows.end; i++)
        kernels->dropout(n, nnf_at(kernels, layer->out, i * layer->ld + first),
                         nnf_at(kernels, layer->slope, i * layer->ld + first), first, layer->dropout,
                         scramble(key + (uint64_t)network->row_numbers[i]));
}

void nnf_layer_forward(const nnf_network *network, int l, nnf_range rows, nnf_range panels)
{
    const nnf_layer *layer = &network->layers[l];
    const bool last = l == network->n_layers - 1;
    nnf_dense view = nnf_dense_view(layer);
    if (last || layer->slope != NULL)
        view.activation = NNF_IDENTITY; /* that of the last belongs to the loss: nnf_layer_output */
    void *out = last ? layer->delta : layer->out;
    nnf_dense_forward(network->kernels, &view, rows.end - rows.begin, nnf_layer_input(network, l, rows.begin),
                      nnf_at(network->kernels, out, rows.begin * layer->ld), layer->ld, false, panels);
    if (!last && layer->slope != NULL)
        activate_and_keep(network, l, rows, panels);
}

void nnf_layer_output(const nnf_network *network, nnf_range rows, bool weighted)
{
    const nnf_kernels *kernels = network->kernels;
    const nnf_layer *last = &network->layers[network->n_layers - 1];
    for (nnf_index i = rows.begin; i < rows.end; i++)
        network->row_loss[i] = 0;
    nnf_index first = 0;
    for (int g = 0; first < last->n_out; g++) {
        const nnf_index n = network->n_groups > 0 ? network->groups[g] : last->n_out;
        kernels->output(network->loss, &network->loss_args, rows.end - rows.begin, n,
                        nnf_at(kernels, last->delta, rows.begin * last->ld + first), last->ld,
                        network->y_rows + rows.begin, first, network->row_loss + rows.begin);
        first += n;
    }
    for (nnf_index i = rows.begin; weighted && i < rows.end; i++) {
        network->row_loss[i] *= network->row_weight[i];
        kernels->scale(last->n_out, nnf_at(kernels, last->delta, i * last->ld), network->row_weight[i]);
    }
}

void nnf_layer_backward(const nnf_network *network, int l, nnf_range rows, nnf_range panels)
{
    const nnf_kernels *kernels = network->kernels;
    const nnf_layer *layer = &network->layers[l], *below = &network->layers[l - 1];
    const nnf_operand Wt = {
        .data = layer->few ? layer->w[NNF_PARAMETERS] : layer->w_transposed,
        .n_rows = layer->n_out,
        .n_columns = layer->n_in,
        .ld = layer->few ? layer->padded_in : 0,
    };
    const nnf_gemm g = {
        .m = rows.end - rows.begin,
        .a = layer->delta_rows + rows.begin,
        .c = nnf_at(kernels, below->delta, rows.begin * below->ld),
        .ldc = below->ld,
        .epilogue = below->activation == NNF_IDENTITY ? NNF_STORE : NNF_DERIVE,
        .activation = below->slope == NULL ? below->activation : NNF_EXP, /* whose slope is its value */
        .argument = below->argument,
        .value = nnf_at(kernels, below->slope == NULL ? below->out : below->slope, rows.begin * below->ld),
        .ldv = below->ld,
    };
    nnf_product(kernels, &g, &Wt, panels);
}
