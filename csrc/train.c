/*
 * train.c: one epoch of mini-batches. A step has two phases, with a barrier after each:
 *
 *   1. threads own rows of the batch: forward through all layers, the loss and its delta, back through all layers.
 *      A row needs no other row, so nobody waits between layers.
 *   2. threads own blocks of weights: dW = X^T delta over the whole batch in row order, and at once the optimizer step
 *      on that block, which also refreshes W^T and the sums of squares. Gradients never leave the nearest caches.
 *
 * With a limit on the norm of the gradient, which takes in all weights, phase 2 is gone through twice, with a barrier
 * in between: the first time the gradients are kept, the second time the steps are taken. With a loss of the caller's,
 * phase 1 ends after the forward pass, and a call of its own begins with the gradient of the loss.
 *
 * Sums over the batch are thus split by weights, never by rows: the result does not depend on the number of threads,
 * which may change from one stretch of steps to the next.
 */
#include "internal.h"

#include <math.h>
#include <string.h>

typedef struct epoch_job {
    nnf_network *network;
    const nnf_epoch *epoch;
    nnf_progress *progress;
    int solver;           /* the network's, or NNF_GRADIENT */
    void *raw;            /* } (n, n_out), only with a loss of the caller's: forward writes the outputs there, */
    const void *gradient; /* } backward reads its gradient here                                               */
    nnf_range rows;       /* of the running stretch: whole batches, the last of an epoch may be smaller */
    nnf_poll poll;
} epoch_job;

/* ---- phase 1 ---- */

/* Rows come in random order from anywhere, so all of a batch are asked for before the first is read; of long ones the
 * first lines will do: the hardware goes on from there. With 24 to 240 MB of data 8-16-1 with 32 rows takes 13 to 26 %
 * less so, 30-100-1 5 to 24, 20-64-64-1 with 256 rows 4 to 15, 784-100-10 the same within 5 (Zen 3). */
NNF_INLINE void ask_for(const char *row, nnf_index bytes)
{
    enum { LINE = 64, LINES = 4 };
    const nnf_index end = nnf_min(bytes, LINES * LINE);
    for (nnf_index b = 0; b < end; b += LINE)
        nnf_prefetch(row + b);
    nnf_prefetch(row + end - 1); /* a row seldom begins a line */
}

/* Less data stay in the second-level cache: there it would cost 8-16-1 4 %. */
enum { FAR_BYTES = 1 << 20 };

static void point_to_rows(const epoch_job *job, nnf_index first, nnf_range rows)
{
    const nnf_network *network = job->network;
    const nnf_kernels *kernels = network->kernels;
    const nnf_index *order = job->epoch->order;
    const nnf_data *data = &job->epoch->data;
    const bool copying = network->x_copy != NULL && nnf_rows_collide(kernels, data->X.ld);
    /* In variables of their own: the compiler must take it that a store of a pointer changes them where they lie. For
     * 8-16-1 this loop would be a tenth of a step. */
    const nnf_index size = (nnf_index)kernels->size, x_step = data->X.ld * size, y_step = data->ldy * size;
    const nnf_index x_size = network->layers[0].n_in * size;
    const nnf_index y_size = network->layers[network->n_layers - 1].n_out * size;
    const char *x = data->X.values, *y = data->Y;
    const void **x_rows = network->x_rows, **y_rows = network->y_rows;
    nnf_sparse_row *sparse = network->sparse ? network->x_sparse : NULL;
    nnf_index *row_numbers = network->row_numbers;
    const bool far = data->X.n * x_step >= FAR_BYTES;
    const double *weights = data->weights;
    for (nnf_index i = rows.begin; i < rows.end; i++) {
        const nnf_index row = order == NULL ? first + i : order[first + i];
        if (sparse != NULL) {
            sparse[i] = nnf_sparse_row_at(kernels, &data->X, row);
        } else if (copying) {
            void *copy = nnf_at(kernels, network->x_copy, i * network->x_ld);
            x_rows[i] = memcpy(copy, x + row * x_step, (size_t)x_size);
        } else {
            x_rows[i] = x + row * x_step;
            if (far)
                ask_for(x + row * x_step, x_size);
        }
        if (y != NULL) {
            y_rows[i] = y + row * y_step;
            if (far)
                ask_for(y + row * y_step, y_size);
        }
        if (row_numbers != NULL)
            row_numbers[i] = row;
        if (weights != NULL)
            network->row_weight[i] = weights[row];
    }
}

static nnf_range all_panels(const nnf_network *network, nnf_index n_columns)
{
    return (nnf_range){0, nnf_n_panels(network->kernels, n_columns)};
}

/* Between forward and backward: the outputs, which lie in the last delta, become the gradient of the loss. */
static void pass_output(const epoch_job *job, nnf_range rows)
{
    const nnf_network *network = job->network;
    const nnf_kernels *kernels = network->kernels;
    const nnf_layer *last = &network->layers[network->n_layers - 1];
    const bool weighted = job->epoch->data.weights != NULL;
    if (job->raw == NULL && job->gradient == NULL) {
        nnf_layer_output(network, rows, weighted);
        return;
    }
    const size_t size = (size_t)last->n_out * kernels->size;
    for (nnf_index i = rows.begin; i < rows.end; i++) {
        void *delta = nnf_at(kernels, last->delta, i * last->ld);
        if (job->raw != NULL) {
            memcpy(nnf_at(kernels, job->raw, i * last->n_out), delta, size);
            continue;
        }
        memcpy(delta, nnf_at(kernels, job->gradient, i * last->n_out), size);
        if (weighted)
            kernels->scale(last->n_out, delta, network->row_weight[i]);
    }
}

/* Each thread takes its rows through the whole network, a block at a time. */
static void pass_by_rows(epoch_job *job, nnf_range share, int thread)
{
    const nnf_network *network = job->network;
    const int last = network->n_layers - 1;
    const nnf_index block = nnf_block_rows(share.end - share.begin);
    for (nnf_index i = share.begin; i < share.end && !nnf_poll_stop(&job->poll, thread); i += block) {
        const nnf_range rows = {i, nnf_min(share.end, i + block)};
        for (int l = 0; l <= last && job->gradient == NULL; l++)
            nnf_layer_forward(network, l, rows, all_panels(network, network->layers[l].n_out));
        pass_output(job, rows);
        for (int l = last; l > 0 && job->raw == NULL; l--)
            nnf_layer_backward(network, l, rows, all_panels(network, network->layers[l].n_in));
    }
}

/* With few rows a thread the packed weights, which every thread reads whole, cost more than the rows: then all threads
 * work on one layer together, on columns where it is wide enough, and meet at a barrier after each. But few weights
 * cost no more than the barriers: with 32 rows on two threads, 20-64-64-1 takes 4 % longer so (5,440 weights),
 * 100-200-200-10 the same (62,000), 784-512-512-10 is 4 to 9 % quicker. */
enum { FEW_ROWS = 24, FEW_WEIGHTS = 1 << 15 };

static bool goes_by_columns(const nnf_network *network, nnf_index batch, int n_threads)
{
    if (n_threads == 1 || batch >= FEW_ROWS * (nnf_index)n_threads)
        return false;
    nnf_index weights = 0;
    for (int l = 0; l < network->n_layers && weights <= FEW_WEIGHTS; l++)
        weights += network->layers[l].n_in * network->layers[l].n_out;
    return weights > FEW_WEIGHTS;
}

typedef void layer_pass(const nnf_network *network, int l, nnf_range rows, nnf_range panels);

static void pass_layer_together(const nnf_network *network, layer_pass *pass, int l, nnf_index n_columns,
                                nnf_index batch, nnf_team *team, int thread, int n_threads)
{
    nnf_range share = {0, batch}, panels = all_panels(network, n_columns);
    if (panels.end >= n_threads)
        panels = nnf_share(panels.end, 1, thread, n_threads);
    else
        share = nnf_share(batch, 1, thread, n_threads);
    const nnf_index block = nnf_block_rows(share.end - share.begin);
    for (nnf_index i = share.begin; i < share.end; i += block)
        pass(network, l, (nnf_range){i, nnf_min(share.end, i + block)}, panels);
    nnf_barrier(team);
}

static void pass_by_columns(epoch_job *job, nnf_index batch, nnf_team *team, int thread, int n_threads)
{
    const nnf_network *network = job->network;
    const int last = network->n_layers - 1;
    nnf_poll_stop(&job->poll, thread);
    nnf_barrier(team); /* the table of rows is complete */
    for (int l = 0; l <= last && job->gradient == NULL; l++)
        pass_layer_together(network, nnf_layer_forward, l, network->layers[l].n_out, batch, team, thread, n_threads);
    pass_output(job, nnf_share(batch, 1, thread, n_threads));
    nnf_barrier(team);
    for (int l = last; l > 0 && job->raw == NULL; l--)
        pass_layer_together(network, nnf_layer_backward, l, network->layers[l].n_in, batch, team, thread, n_threads);
}

/* ---- phase 2 ---- */

/* What a thread is about to update. */
typedef struct target {
    int l, thread;
    nnf_block block;
    const nnf_sparse_row *segments; /* (batch) the part of a sparse X in the columns block.rows; NULL: dense input */
    const void *slices;             /* the block's, of all samples; NULL: to be cut chain by chain */
} target;

/* The left operand of dW for some rows of W, cut into slices: their inputs, of samples begin .. end - 1; or the deltas,
 * where W is kept transposed. Read in place they lie pages apart: dW of 784 x 100 with 200 rows ran at 83 GFLOP/s where
 * it does at 96, of 2048 x 2048 with 512 rows at 65 where it does at 95 (one Zen 3 core, the product alone). */
static const void *slice_samples(const nnf_network *network, int l, nnf_range rows, nnf_index begin, nnf_index end,
                                 int thread)
{
    const nnf_layer *layer = &network->layers[l];
    void *slices = nnf_at(network->kernels, network->slices, thread * network->slices_size);
    const void *const *samples = layer->few ? layer->delta_rows + begin : nnf_layer_input(network, l, begin).dense;
    const nnf_range columns = layer->few ? (nnf_range){0, layer->n_out} : rows;
    network->kernels->slice_columns(columns.end - columns.begin, end - begin, slices, nnf_slice_depth(end - begin),
                                    samples, columns.begin);
    return slices;
}

/* One chain of samples: dw, contiguous in the layout of the block, = in^T delta for samples begin .. end - 1. */
static void weight_chain(const nnf_network *network, const target *t, nnf_index begin, nnf_index end, void *dw)
{
    const nnf_kernels *kernels = network->kernels;
    const nnf_layer *layer = &network->layers[t->l];
    const nnf_range rows = t->block.rows, columns = t->block.columns;
    const nnf_place place = nnf_place_of(network, t->l, &t->block);
    const void *delta = nnf_at(kernels, layer->delta, begin * layer->ld + columns.begin);
    if (t->segments != NULL) {
        kernels->sparse_gradient(place.rows, place.n, dw, rows.begin, end - begin, t->segments + begin, delta,
                                 layer->ld);
        return;
    }
    const nnf_gemm g = {
        .m = place.rows,
        .slices = t->slices != NULL ? t->slices : slice_samples(network, t->l, rows, begin, end, t->thread),
        .depth = nnf_slice_depth(end - begin),
        .c = dw,
        .ldc = layer->few ? place.n : 0,
    };
    nnf_operand B = {.data = delta, .n_rows = end - begin, .n_columns = columns.end - columns.begin, .ld = layer->ld};
    if (layer->few) { /* dW^T = delta^T in */
        const nnf_layer *below = &network->layers[t->l - 1];
        B.data = nnf_at(kernels, below->out, begin * below->ld + rows.begin);
        B.n_columns = rows.end - rows.begin;
        B.ld = below->ld;
    }
    nnf_product(kernels, &g, &B, (nnf_range){0, nnf_n_panels(kernels, B.n_columns)});
}

/* Likewise for the intercepts: db = sum of delta. */
static void bias_chain(const nnf_network *network, const target *t, nnf_index begin, nnf_index end, void *db)
{
    const nnf_layer *layer = &network->layers[t->l];
    const nnf_range columns = t->block.columns;
    network->kernels->column_sums(end - begin, columns.end - columns.begin, db,
                                  nnf_at(network->kernels, layer->delta, begin * layer->ld + columns.begin), layer->ld);
}

typedef void sample_chain(const nnf_network *network, const target *t, nnf_index begin, nnf_index end, void *sums);

/* n sums over all samples of the batch, into the thread's scratch: chains of NNF_CHAIN_ROWS, merged in order in
 * float64. */
static const void *sum_over_samples(const nnf_network *network, sample_chain *chain, const target *t, nnf_index n,
                                    nnf_index batch)
{
    const nnf_kernels *kernels = network->kernels;
    void *sums = nnf_at(kernels, network->scratch, t->thread * network->scratch_size);
    if (batch <= NNF_CHAIN_ROWS) {
        chain(network, t, 0, batch, sums);
        return sums;
    }
    double *merged = network->chains + t->thread * network->scratch_size;
    memset(merged, 0, (size_t)n * sizeof *merged);
    for (nnf_index begin = 0; begin < batch; begin += NNF_CHAIN_ROWS) {
        chain(network, t, begin, nnf_min(batch, begin + NNF_CHAIN_ROWS), sums);
        kernels->widen_add(n, merged, sums);
    }
    kernels->narrow(n, sums, merged);
    return sums;
}

/* Element `offset` of a part that may be absent. */
static void *part_at(const nnf_kernels *kernels, void *part, nnf_index offset)
{
    return part == NULL ? NULL : nnf_at(kernels, part, offset);
}

/* A step, or one of the two halves of it, as all threads see it. */
typedef struct step {
    nnf_index batch; /* rows */
    int solver;      /* NNF_GRADIENT: the gradients are kept, nothing else changes */
    bool kept;       /* the gradients are those that were kept: only to be scaled */
    double scale;    /* of the gradients: 1 / what the rows weigh, which is `batch` or the sum of their weights */
    double rate, gradient_rate, reach, decay, alpha, l1, clip;
} step;

static void update_target(const epoch_job *job, const target *t, const step *s)
{
    const nnf_network *network = job->network;
    const nnf_kernels *kernels = network->kernels;
    const nnf_layer *layer = &network->layers[t->l];
    const bool stepping = s->solver != NNF_GRADIENT;
    const int state = stepping ? NNF_STATE_1 : NNF_GRADIENTS;
    const nnf_place place = nnf_place_of(network, t->l, &t->block);
    nnf_update u = {
        .rows = place.rows,
        .n = place.n,
        .ld = place.ld,
        .ld_dw = s->kept ? place.ld : place.n,
        .w = nnf_at(kernels, layer->w[NNF_PARAMETERS], place.offset),
        .s1 = part_at(kernels, layer->w[state], place.offset),
        .s2 = part_at(kernels, layer->w[NNF_STATE_2], place.offset),
        .alpha = s->alpha,
        .inv_rows = s->scale,
        .rate = s->rate,
        .gradient_rate = s->gradient_rate,
        .reach = s->reach,
        .momentum = network->momentum,
        .beta_1 = network->beta_1,
        .beta_2 = network->beta_2,
        .epsilon = network->epsilon,
        .decay = s->decay,
        .clip = s->clip,
        .l1 = s->l1,
    };
    u.dw = s->kept ? nnf_at(kernels, layer->w[NNF_GRADIENTS], place.offset)
                   : sum_over_samples(network, weight_chain, t, u.rows * u.n, s->batch);
    kernels->update(s->solver, &u);
    if (stepping)
        nnf_block_derive(network, t->l, &t->block);
    else if (layer->w_gradient_squares != NULL)
        nnf_block_norms(network, t->l, &t->block, NNF_SQUARES, layer->w[NNF_GRADIENTS], layer->w_gradient_squares);
    if (t->block.rows.begin == 0) { /* the intercepts of these columns go with the first rows */
        const nnf_index first = t->block.columns.begin;
        u.rows = 1;
        u.n = u.ld = u.ld_dw = t->block.columns.end - first;
        u.alpha = u.decay = u.l1 = 0;
        u.w = nnf_at(kernels, layer->b[NNF_PARAMETERS], first);
        u.s1 = part_at(kernels, layer->b[state], first);
        u.s2 = part_at(kernels, layer->b[NNF_STATE_2], first);
        u.dw = s->kept ? nnf_at(kernels, layer->b[NNF_GRADIENTS], first)
                       : sum_over_samples(network, bias_chain, t, u.n, s->batch);
        kernels->update(s->solver, &u);
        if (!stepping && layer->b_gradient_squares != NULL)
            kernels->column_norms(NNF_SQUARES, 1, u.n, nnf_at(kernels, layer->b_gradient_squares, first), u.s1, u.ld,
                                  kernels->panel);
    }
}

/* The part of each row of a sparse X that stands in the columns given. A thread comes through the columns in order:
 * from strip to strip it goes on where the last part ended. */
static const nnf_sparse_row *find_segments(const nnf_network *network, nnf_range columns, nnf_index batch, bool first,
                                           int thread)
{
    nnf_sparse_row *segments = network->segments + thread * network->max_batch;
    for (nnf_index i = 0; i < batch; i++) {
        const nnf_sparse_row *row = &network->x_sparse[i];
        nnf_sparse_row *segment = &segments[i];
        nnf_index begin = 0;
        if (!first)
            begin = segment->indices - row->indices + segment->count;
        while (begin < row->count && row->indices[begin] < columns.begin)
            begin++;
        nnf_index end = begin;
        while (end < row->count && row->indices[end] < columns.end)
            end++;
        *segment = (nnf_sparse_row){
            .values = nnf_at(network->kernels, row->values, begin),
            .indices = row->indices + begin,
            .count = end - begin,
        };
    }
    return segments;
}

/* All blocks of all layers stand in one line, each as long as its update takes. A thread owns what lies in its part of
 * the line; a block on a border between two parts is cut there, in whole vectors of columns. */
typedef struct line {
    bool whole;        /* there is one thread, which owns it all: of a small network, measuring is 2 % of a step */
    double begin, end; /* of the thread's part */
    double position;   /* where the next block begins */
    double samples;    /* of a batch in dense X, */
    double stored;     /* and of these the share that the first layer has to do with */
} line;

/* How long the update of a weight of layer l takes, in ns of one Zen 3 core with Adam; what counts is how layers
 * compare. A sample, the optimizer's step, and the transpose, into lines that other threads have read. */
static double time_of_weight(const nnf_network *network, int l, const line *line)
{
    const double samples = l == 0 ? line->samples * line->stored : line->samples;
    return 0.02 * samples + 0.8 + (network->layers[l].w_transposed != NULL ? 1.0 : 0.0);
}

/* The intercept of a column takes as long as so many of its weights: its sum is one chain of additions. */
enum { WEIGHTS_OF_INTERCEPT = 4 };

/* Columns of layer l that take time: padding does, but for the one vector that a few columns are kept in. */
static nnf_index busy_columns(const nnf_layer *layer, nnf_index columns)
{
    return layer->few ? layer->n_out : columns;
}

static line line_of(const nnf_network *network, const nnf_rows *X, nnf_index batch, int thread, int n_threads)
{
    line line = {.whole = n_threads == 1, .samples = (double)batch, .stored = 1};
    if (line.whole)
        return line;
    if (network->sparse)
        line.stored = (double)X->n_stored / (double)X->n / (double)network->layers[0].n_in;
    double length = 0;
    for (int l = 0; l < network->n_layers; l++) {
        const nnf_layer *layer = &network->layers[l];
        length += (double)(layer->n_in + WEIGHTS_OF_INTERCEPT) * (double)busy_columns(layer, layer->padded_out)
                  * time_of_weight(network, l, &line);
    }
    line.begin = length * thread / n_threads; /* the end of the part before, to the last bit */
    line.end = thread == n_threads - 1 ? INFINITY : length * (thread + 1) / n_threads;
    return line;
}

/* The column of a block at which a part of the line ends that reaches `length` into it; those of few columns are not
 * cut. `column` is the length of one. */
static nnf_index border(const nnf_network *network, int l, nnf_range columns, double column, double length)
{
    const nnf_index lanes = network->kernels->lanes, n = columns.end - columns.begin;
    if (length <= 0)
        return columns.begin;
    if (network->layers[l].few || length >= (double)n * column)
        return columns.end;
    return columns.begin + nnf_min(n, ((nnf_index)(length / column) + lanes / 2) / lanes * lanes);
}

/* The columns of the next block that belong to the thread. */
static nnf_range own_columns(const nnf_network *network, int l, const nnf_block *block, line *line)
{
    if (line->whole)
        return block->columns;
    const nnf_index rows = block->rows.end - block->rows.begin;
    const double column = (double)(rows + (block->rows.begin == 0 ? WEIGHTS_OF_INTERCEPT : 0))
                          * time_of_weight(network, l, line);
    const double position = line->position;
    line->position += column * (double)busy_columns(&network->layers[l], block->columns.end - block->columns.begin);
    return (nnf_range){border(network, l, block->columns, column, line->begin - position),
                       border(network, l, block->columns, column, line->end - position)};
}

/* The first of these columns that can be updated together: whole panels of a block with all rows, or else of one
 * panel. */
static nnf_range next_piece(const nnf_network *network, const target *t, nnf_range columns)
{
    const nnf_layer *layer = &network->layers[t->l];
    const nnf_index panel = network->kernels->panel, in_panel = columns.begin % panel;
    const nnf_index next = nnf_min(columns.end, columns.begin - in_panel + panel);
    nnf_index end = next;
    if (in_panel == 0 && t->block.rows.end - t->block.rows.begin == layer->n_in)
        end = columns.end == layer->padded_out ? columns.end : columns.end / panel * panel;
    return (nnf_range){columns.begin, end > next ? end : next};
}

/* Of a block, those of its columns that belong to the thread. */
static void update_columns(const epoch_job *job, target *t, nnf_range own, const step *s)
{
    for (; own.begin < own.end; own.begin = t->block.columns.end) {
        t->block.columns = next_piece(job->network, t, own);
        update_target(job, t, s);
    }
}

static void update_share(const epoch_job *job, const step *s, int thread, int n_threads)
{
    const nnf_network *network = job->network;
    line line = line_of(network, &job->epoch->data.X, s->batch, thread, n_threads);
    const nnf_index depth = nnf_slice_depth(s->batch);
    bool first_segments = true;

    for (int l = 0; l < network->n_layers; l++) {
        const nnf_layer *layer = &network->layers[l];
        const bool dense = l > 0 || !network->sparse;
        const nnf_cut cut = dense ? layer->cut : network->sparse_cut;
        const bool sliced = dense && !s->kept && s->batch <= NNF_CHAIN_ROWS;
        for (nnf_index strip = 0; strip < layer->n_in; strip += cut.strip) {
            const nnf_index end = nnf_min(layer->n_in, strip + cut.strip);
            const nnf_sparse_row *segments = NULL;
            const void *slices = NULL;
            for (nnf_index j = 0; j < layer->padded_out; j += cut.columns) {
                for (nnf_index i = strip; i < end; i += cut.rows) {
                    target t = {.l = l, .thread = thread, .block = {
                        .rows = {i, nnf_min(end, i + cut.rows)},
                        .columns = {j, nnf_min(layer->padded_out, j + cut.columns)},
                    }};
                    const nnf_range own = own_columns(network, l, &t.block, &line);
                    if (own.begin >= own.end)
                        continue;
                    if (!dense && !s->kept && segments == NULL) {
                        segments = find_segments(network, t.block.rows, s->batch, first_segments, thread);
                        first_segments = false;
                    }
                    if (sliced && slices == NULL)
                        slices = slice_samples(network, l, (nnf_range){strip, end}, 0, s->batch, thread);
                    t.segments = segments;
                    if (sliced)
                        t.slices = nnf_at(network->kernels, slices, layer->few ? 0 : (i - strip) * depth);
                    update_columns(job, &t, own, s);
                }
            }
        }
    }
}

/* ---- the epoch ---- */

/* What the batch's sums are divided by. Added up by each thread for itself, in row order. */
static double weight_of_batch(const epoch_job *job, nnf_index batch)
{
    if (job->epoch->data.weights == NULL)
        return (double)batch;
    double sum = 0;
    for (nnf_index i = 0; i < batch; i++)
        sum += job->network->row_weight[i];
    return sum;
}

/* Phase 1 of a batch: all rows, and a barrier. */
static void pass(epoch_job *job, nnf_index first, nnf_index batch, nnf_team *team, int thread, int n_threads)
{
    const nnf_range rows = nnf_share(batch, 2, thread, n_threads); /* by tiles of 6, 200 rows were 102 and 98 */
    point_to_rows(job, first, rows);
    if (goes_by_columns(job->network, batch, n_threads))
        pass_by_columns(job, batch, team, thread, n_threads);
    else
        pass_by_rows(job, rows, thread);
    nnf_barrier(team);
}

/* Phase 2, without the barrier at its end. Gives the norm of the gradient, or 0 where it is not asked for. */
static double update(const epoch_job *job, nnf_index n_steps, nnf_index batch, double weight, nnf_team *team,
                     int thread, int n_threads)
{
    const nnf_network *network = job->network;
    const nnf_epoch *epoch = job->epoch;
    const bool stepping = job->solver != NNF_GRADIENT;
    step s = {
        .batch = batch,
        .solver = job->solver,
        .scale = 1.0 / weight,
        .rate = epoch->rates == NULL ? 0 : epoch->rates[n_steps],
        .gradient_rate = epoch->gradient_rates == NULL ? 0 : epoch->gradient_rates[n_steps],
        .reach = epoch->reaches == NULL ? 0 : epoch->reaches[n_steps],
        .decay = epoch->decays == NULL || !stepping ? 0 : epoch->decays[n_steps],
        .alpha = network->alpha,
        .l1 = network->l1 / weight,
        .clip = stepping ? network->clip_value : 0,
    };
    double norm = 0;
    if (stepping && network->clip_norm > 0) {
        step keeping = s;
        keeping.solver = NNF_GRADIENT;
        keeping.decay = keeping.l1 = 0;
        update_share(job, &keeping, thread, n_threads);
        nnf_barrier(team);
        norm = nnf_gradient_norm(network); /* each thread for itself: a fiftieth of the update */
        s.kept = true;
        s.scale = norm > network->clip_norm ? network->clip_norm / norm : 1;
        if (isinf(norm) && s.scale == 0) /* of squares that overflowed: what the gradients have to become is unknown */
            s.scale = NAN;
        s.alpha = s.clip = 0;
    }
    update_share(job, &s, thread, n_threads);
    return norm;
}

static void stretch_work(void *context, nnf_team *team, int thread, int n_threads)
{
    epoch_job *job = context;
    const nnf_network *network = job->network;
    const nnf_epoch *epoch = job->epoch;
    nnf_index n_steps = job->progress->steps; /* of the stretches before; thread 0 writes it after a barrier only */
    for (nnf_index first = job->rows.begin; first < job->rows.end; first += epoch->batch) {
        const nnf_index batch = nnf_min(epoch->batch, epoch->n - first);
        const double penalty = thread == 0 ? nnf_penalty(network) : 0;
        pass(job, first, batch, team, thread, n_threads);
        if (atomic_load(&job->poll.stop)) /* thread 0 writes it in phase 1 only: all read the same */
            return;

        nnf_progress *progress = job->progress;
        const double weight = weight_of_batch(job, batch);
        if (weight != 0) {
            const double norm = update(job, n_steps, batch, weight, team, thread, n_threads);
            n_steps++;
            if (thread == 0) {
                double data = 0;
                for (nnf_index i = 0; i < batch; i++)
                    data += network->row_loss[i];
                progress->data += data * ((double)batch / weight);
                progress->penalty += penalty * ((double)batch / weight);
                progress->norms += norm;
                progress->steps = n_steps;
            }
        }
        if (thread == 0)
            progress->rows = first + batch;
        nnf_barrier(team);
    }
}

/* Floating-point operations of a step with `batch` rows: forward, dW and dX are three products; a sparse X has only its
 * share of the first layer's, which then costs no less than the update of its weights. */
static double step_flop(const nnf_network *network, const nnf_rows *X, nnf_index batch)
{
    double flop = 0;
    for (int l = 0; l < network->n_layers; l++) {
        const double weights = (double)network->layers[l].n_in * (double)network->layers[l].n_out;
        if (l == 0 && network->sparse)
            flop += (double)batch * 4.0 * (double)X->n_stored / (double)X->n * (double)network->layers[l].n_out
                    + 10.0 * weights;
        else
            flop += (double)batch * 6.0 * weights;
    }
    return flop;
}

/* One parallel region after another, each by the team that the times of those before suggest, which had `first`
 * threads in the beginning. */
static void run_in_stretches(epoch_job *job, int first, int most)
{
    const nnf_epoch *epoch = job->epoch;
    nnf_pace *pace = &job->network->pace;
    double start = nnf_seconds();
    while (job->rows.end < epoch->n) {
        const int team = nnf_pace_team(pace, first, most);
        job->rows.begin = job->rows.end;
        job->rows.end = nnf_min(epoch->n, job->rows.begin + nnf_pace_batches(pace, epoch->batch) * epoch->batch);
        nnf_parallel(team, stretch_work, job);
        if (atomic_load(&job->poll.stop))
            return;
        const double end = nnf_seconds();
        nnf_pace_learn(pace, job->rows.end - job->rows.begin, end - start);
        start = end;
    }
}

/* One batch with a loss of the caller's: forward, or backward with the step. */
static void step_work(void *context, nnf_team *team, int thread, int n_threads)
{
    epoch_job *job = context;
    const nnf_index batch = job->epoch->n;
    pass(job, 0, batch, team, thread, n_threads);
    if (job->raw != NULL || atomic_load(&job->poll.stop))
        return;
    nnf_progress *progress = job->progress;
    const double weight = weight_of_batch(job, batch);
    if (weight != 0) {
        const double norm = update(job, 0, batch, weight, team, thread, n_threads);
        if (thread == 0) {
            progress->norms += norm;
            progress->steps++;
        }
    }
    if (thread == 0)
        progress->rows += batch;
}

/* Whether the network can run it, and what depends on the epoch in the network. */
static nnf_status prepare(nnf_network *network, const nnf_epoch *epoch, int solver)
{
    const nnf_data *data = &epoch->data;
    const nnf_layer *first = &network->layers[0], *last = &network->layers[network->n_layers - 1];
    if (network->workspace == NULL || (solver == NNF_GRADIENT && first->w[NNF_GRADIENTS] == NULL))
        return NNF_BAD_ARGUMENT;
    if (epoch->n < 1 || data->X.n < 1 || epoch->batch < 1 || nnf_min(epoch->batch, epoch->n) > network->max_batch
        || nnf_check_shape(&data->X, first->n_in) != NNF_OK || data->ldy < last->n_out
        || (data->X.indptr != NULL && network->x_sparse == NULL) || (epoch->order == NULL && epoch->n > data->X.n))
        return NNF_BAD_ARGUMENT;
    for (nnf_index i = 0; epoch->order != NULL && i < epoch->n; i++)
        if (epoch->order[i] < 0 || epoch->order[i] >= data->X.n)
            return NNF_BAD_ARGUMENT;
    for (nnf_index i = 0; data->X.indptr != NULL && i < epoch->n; i++)
        if (!nnf_is_sound_row(&data->X, first->n_in, epoch->order == NULL ? i : epoch->order[i]))
            return NNF_BAD_ARGUMENT;

    network->sparse = data->X.indptr != NULL;
    network->dropping = solver != NNF_GRADIENT;
    network->noise = epoch->noise;
    return NNF_OK;
}

static nnf_status run(nnf_network *network, const nnf_epoch *epoch, int solver, nnf_progress *progress)
{
    const nnf_status status = prepare(network, epoch, solver);
    if (status != NNF_OK)
        return status;
    if (epoch->data.Y == NULL || progress->rows < 0 || progress->rows > epoch->n || progress->steps < 0
        || (progress->rows % epoch->batch != 0 && progress->rows != epoch->n) /* each has its rate */
        || progress->steps > (progress->rows + epoch->batch - 1) / epoch->batch)
        return NNF_BAD_ARGUMENT;
    epoch_job job = {
        .network = network, .epoch = epoch, .progress = progress, .solver = solver,
        .rows = {progress->rows, progress->rows}, .poll = nnf_poll_start(epoch->poll),
    };
    const nnf_index batch = nnf_min(epoch->batch, epoch->n);
    const double flop = step_flop(network, &epoch->data.X, batch);
    const int most = nnf_team_limit(flop, network->n_threads);
    if (most == 1) {
        job.rows.end = epoch->n;
        nnf_parallel(1, stretch_work, &job);
    } else {
        run_in_stretches(&job, nnf_team_size(flop, network->n_threads), most);
    }
    return atomic_load(&job.poll.stop) ? NNF_INTERRUPTED : NNF_OK;
}

nnf_status nnf_network_train_epoch(nnf_network *network, const nnf_epoch *epoch, nnf_progress *progress)
{
    return run(network, epoch, network->solver, progress);
}

nnf_status nnf_network_gradients(nnf_network *network, const nnf_data *data, int (*poll)(void), nnf_progress *loss)
{
    const nnf_epoch whole = {.data = *data, .n = data->X.n, .batch = data->X.n, .poll = poll};
    *loss = (nnf_progress){0};
    const nnf_status status = run(network, &whole, NNF_GRADIENT, loss);
    return status == NNF_OK && loss->steps == 0 ? NNF_BAD_ARGUMENT : status;
}

/* The one batch of `job`, which says what to do with it. */
static nnf_status run_batch(epoch_job *job, int learning)
{
    nnf_network *network = job->network;
    const nnf_epoch *batch = job->epoch;
    job->solver = learning ? network->solver : NNF_GRADIENT;
    job->poll = nnf_poll_start(batch->poll);
    const nnf_status status = batch->n <= batch->batch ? prepare(network, batch, job->solver) : NNF_BAD_ARGUMENT;
    if (status != NNF_OK)
        return status;
    /* Half of the work, or less, and a team that starts and ends with each of the two calls. */
    const double flop = step_flop(network, &batch->data.X, batch->n) / 2;
    nnf_parallel(nnf_team_size(flop, network->n_threads), step_work, job);
    return atomic_load(&job->poll.stop) ? NNF_INTERRUPTED : NNF_OK;
}

nnf_status nnf_network_step_forward(nnf_network *network, const nnf_epoch *batch, int learning, void *raw,
                                    double *penalty)
{
    epoch_job job = {.network = network, .epoch = batch, .raw = raw};
    const nnf_status status = run_batch(&job, learning);
    if (status == NNF_OK)
        *penalty = nnf_penalty(network);
    return status;
}

nnf_status nnf_network_step_backward(nnf_network *network, const nnf_epoch *batch, int learning, const void *gradient,
                                     nnf_progress *progress)
{
    epoch_job job = {.network = network, .epoch = batch, .progress = progress, .gradient = gradient};
    return run_batch(&job, learning);
}
