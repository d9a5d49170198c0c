/*
 * train.c: one epoch of mini-batches. A step has two phases, with a barrier after each:
 *
 *   1. threads own rows of the batch: forward through all layers, the loss and its delta, back through all layers.
 *      A row needs no other row, so nobody waits between layers.
 *   2. threads own blocks of weights: dW = X^T delta over the whole batch in row order, and at once the optimizer step
 *      on that block, which also refreshes W^T and the sums of squares. Gradients never leave the first-level cache.
 *
 * Sums over the batch are thus split by weights, never by rows: the result does not depend on the number of threads.
 */
#include "internal.h"

#include <string.h>

typedef struct epoch_job {
    nnf_network *network;
    const nnf_epoch *epoch;
    nnf_loss_sum *loss;
    int solver; /* the network's, or NNF_GRADIENT */
    nnf_poll poll;
} epoch_job;

/* ---- phase 1 ---- */

static void point_to_rows(const epoch_job *job, nnf_index first, nnf_range rows)
{
    const nnf_network *network = job->network;
    const nnf_epoch *epoch = job->epoch;
    const nnf_data *data = &epoch->data;
    for (nnf_index i = rows.begin; i < rows.end; i++) {
        const nnf_index row = epoch->order == NULL ? first + i : epoch->order[first + i];
        if (network->sparse)
            network->x_sparse[i] = nnf_sparse_row_at(network->kernels, &data->X, row);
        else
            network->x_rows[i] = nnf_at(network->kernels, data->X.values, row * data->X.ld);
        network->y_rows[i] = nnf_at(network->kernels, data->Y, row * data->ldy);
        if (data->weights != NULL)
            network->row_weight[i] = data->weights[row];
    }
}

static nnf_range all_panels(const nnf_network *network, nnf_index n_columns)
{
    return (nnf_range){0, nnf_n_panels(network->kernels, n_columns)};
}

/* Each thread takes its rows through the whole network, a block at a time. */
static void pass_by_rows(epoch_job *job, nnf_range share, int thread)
{
    const nnf_network *network = job->network;
    const int last = network->n_layers - 1;
    for (nnf_index i = share.begin; i < share.end && !nnf_poll_stop(&job->poll, thread); i += NNF_ROW_BLOCK) {
        const nnf_range rows = {i, nnf_min(share.end, i + NNF_ROW_BLOCK)};
        for (int l = 0; l <= last; l++)
            nnf_layer_forward(network, l, rows, all_panels(network, network->layers[l].n_out));
        nnf_layer_output(network, rows, job->epoch->data.weights != NULL);
        for (int l = last; l > 0; l--)
            nnf_layer_backward(network, l, rows, all_panels(network, network->layers[l].n_in));
    }
}

/* With few rows a thread the packed weights, which every thread reads whole, cost more than the rows: then all threads
 * work on one layer together, on columns where it is wide enough, and meet at a barrier after each. */
enum { FEW_ROWS = 24 };

typedef void layer_pass(const nnf_network *network, int l, nnf_range rows, nnf_range panels);

static void pass_layer_together(const nnf_network *network, layer_pass *pass, int l, nnf_index n_columns,
                                nnf_index batch, nnf_team *team, int thread, int n_threads)
{
    nnf_range share = {0, batch}, panels = all_panels(network, n_columns);
    if (panels.end >= n_threads)
        panels = nnf_share(panels.end, 1, thread, n_threads);
    else
        share = nnf_share(batch, 1, thread, n_threads);
    for (nnf_index i = share.begin; i < share.end; i += NNF_ROW_BLOCK)
        pass(network, l, (nnf_range){i, nnf_min(share.end, i + NNF_ROW_BLOCK)}, panels);
    nnf_barrier(team);
}

static void pass_by_columns(epoch_job *job, nnf_index batch, nnf_team *team, int thread, int n_threads)
{
    const nnf_network *network = job->network;
    const int last = network->n_layers - 1;
    nnf_poll_stop(&job->poll, thread);
    nnf_barrier(team); /* the table of rows is complete */
    for (int l = 0; l <= last; l++)
        pass_layer_together(network, nnf_layer_forward, l, network->layers[l].n_out, batch, team, thread, n_threads);
    nnf_layer_output(network, nnf_share(batch, 1, thread, n_threads), job->epoch->data.weights != NULL);
    nnf_barrier(team);
    for (int l = last; l > 0; l--)
        pass_layer_together(network, nnf_layer_backward, l, network->layers[l].n_in, batch, team, thread, n_threads);
}

/* ---- phase 2 ---- */

/* A block of one panel: rows `rows` of W, columns `first` .. `first + width - 1` of its storage. */
typedef struct block {
    nnf_index j, first, width, index;
    nnf_range rows;
    const nnf_sparse_row *segments; /* (batch) the columns `rows` of a sparse X; NULL when the input is dense */
} block;

/* Where the block begins in a packed matrix like W. */
static nnf_index block_offset(const nnf_layer *layer, const block *b)
{
    return b->first * layer->n_in + b->rows.begin * b->width;
}

/* One chain of samples: dw (rows of the block, width) = in^T delta for samples begin .. end - 1. */
static void weight_chain(const nnf_network *network, int l, const block *b, nnf_index begin, nnf_index end, void *dw)
{
    const nnf_layer *layer = &network->layers[l];
    const void *first = nnf_at(network->kernels, layer->delta, begin * layer->ld + b->first);
    if (b->segments != NULL) {
        network->kernels->sparse_gradient(b->rows.end - b->rows.begin, b->width, dw, b->rows.begin, end - begin,
                                          b->segments + begin, first, layer->ld);
        return;
    }
    const nnf_operand delta = {
        .data = first,
        .n_rows = end - begin,
        .n_columns = b->width,
        .ld = layer->ld,
    };
    const nnf_gemm g = {
        .m = b->rows.end - b->rows.begin,
        .a = nnf_layer_input(network, l, begin).dense,
        .a_first = b->rows.begin,
        .a_columns = 1,
        .c = dw,
        .ldc = b->width,
    };
    nnf_product(network->kernels, &g, &delta, (nnf_range){0, 1});
}

/* Likewise for the intercepts: db (width) = sum of delta. */
static void bias_chain(const nnf_network *network, int l, const block *b, nnf_index begin, nnf_index end, void *db)
{
    const nnf_layer *layer = &network->layers[l];
    network->kernels->column_sums(end - begin, b->width, db,
                                  nnf_at(network->kernels, layer->delta, begin * layer->ld + b->first), layer->ld);
}

typedef void sample_chain(const nnf_network *network, int l, const block *b, nnf_index begin, nnf_index end,
                          void *sums);

/* n sums over all samples of the batch, into the thread's scratch: chains of NNF_CHAIN_ROWS, merged in order in
 * float64. */
static const void *sum_over_samples(const nnf_network *network, sample_chain *chain, int l, const block *b, nnf_index n,
                                    nnf_index batch, int thread)
{
    const nnf_kernels *kernels = network->kernels;
    void *sums = nnf_at(kernels, network->scratch, thread * network->scratch_size);
    if (batch <= NNF_CHAIN_ROWS) {
        chain(network, l, b, 0, batch, sums);
        return sums;
    }
    double *merged = network->chains + thread * network->scratch_size;
    memset(merged, 0, (size_t)n * sizeof *merged);
    for (nnf_index begin = 0; begin < batch; begin += NNF_CHAIN_ROWS) {
        chain(network, l, b, begin, nnf_min(batch, begin + NNF_CHAIN_ROWS), sums);
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

/* A step as all threads see it. */
typedef struct step {
    nnf_index batch;    /* rows */
    double weight, rate; /* of the batch: `batch`, or the sum of the rows' weights */
} step;

static void update_block(const epoch_job *job, int l, const block *b, const step *s, int thread)
{
    const nnf_index batch = s->batch;
    const nnf_network *network = job->network;
    const nnf_kernels *kernels = network->kernels;
    const nnf_layer *layer = &network->layers[l];
    const bool stepping = job->solver != NNF_GRADIENT;
    const int state = stepping ? NNF_STATE_1 : NNF_GRADIENTS;
    const nnf_index offset = block_offset(layer, b);
    nnf_update u = {
        .n = (b->rows.end - b->rows.begin) * b->width,
        .w = nnf_at(kernels, layer->w[NNF_PARAMETERS], offset),
        .s1 = part_at(kernels, layer->w[state], offset),
        .s2 = part_at(kernels, layer->w[NNF_STATE_2], offset),
        .alpha = network->alpha,
        .inv_rows = 1.0 / s->weight,
        .rate = s->rate,
        .momentum = network->momentum,
        .beta_1 = network->beta_1,
        .beta_2 = network->beta_2,
        .epsilon = network->epsilon,
    };
    u.dw = sum_over_samples(network, weight_chain, l, b, u.n, batch, thread);
    kernels->update(job->solver, &u);
    if (stepping) {
        kernels->column_squares(b->rows.end - b->rows.begin, b->width,
                                nnf_at(kernels, layer->squares, b->index * layer->padded_out + b->first), u.w);
        if (layer->w_transposed != NULL)
            nnf_pack_transpose(kernels, layer->w_transposed, layer->w[NNF_PARAMETERS], layer->n_in, layer->n_out, b->j,
                               b->rows);
    }
    if (b->index == 0) { /* the intercepts of these columns go with the first rows */
        u.n = b->width;
        u.alpha = 0;
        u.w = nnf_at(kernels, layer->b[NNF_PARAMETERS], b->first);
        u.s1 = part_at(kernels, layer->b[state], b->first);
        u.s2 = part_at(kernels, layer->b[NNF_STATE_2], b->first);
        u.dw = sum_over_samples(network, bias_chain, l, b, u.n, batch, thread);
        kernels->update(job->solver, &u);
    }
}

/* The part of each row of a sparse X that stands in the columns given. A thread comes through the columns in order:
 * from block to block it goes on where the last part ended. */
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

/* All blocks of all layers stand in one line, each as long as it has elements; a thread owns those that begin in its
 * part. */
static void update_share(const epoch_job *job, const step *s, int thread, int n_threads)
{
    const nnf_network *network = job->network;
    const nnf_kernels *kernels = network->kernels;
    nnf_index total = 0, position = 0;
    for (int l = 0; l < network->n_layers; l++)
        total += network->layers[l].n_in * network->layers[l].padded_out;
    const nnf_range mine = nnf_share(total, 1, thread, n_threads);
    bool first_segments = true;

    for (int l = 0; l < network->n_layers; l++) {
        const nnf_layer *layer = &network->layers[l];
        for (nnf_index index = 0; index < layer->n_blocks; index++) { /* outside: its rows of X^T stay cached */
            const nnf_range rows = {index * NNF_BLOCK_ROWS, nnf_min(layer->n_in, (index + 1) * NNF_BLOCK_ROWS)};
            const nnf_sparse_row *segments = NULL;
            for (nnf_index j = 0; j < nnf_n_panels(kernels, layer->n_out); j++) {
                block b = {
                    .j = j,
                    .first = j * kernels->panel,
                    .width = nnf_panel_width(kernels, layer->n_out, j),
                    .index = index,
                    .rows = rows,
                };
                if (position >= mine.begin && position < mine.end) {
                    if (l == 0 && network->sparse && segments == NULL) {
                        segments = find_segments(network, rows, s->batch, first_segments, thread);
                        first_segments = false;
                    }
                    b.segments = segments;
                    update_block(job, l, &b, s, thread);
                }
                position += (rows.end - rows.begin) * b.width;
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

static void epoch_work(void *context, nnf_team *team, int thread, int n_threads)
{
    epoch_job *job = context;
    const nnf_network *network = job->network;
    const nnf_epoch *epoch = job->epoch;
    nnf_index n_steps = 0;
    for (nnf_index first = 0; first < epoch->n; first += epoch->batch) {
        const nnf_index batch = nnf_min(epoch->batch, epoch->n - first);
        const nnf_range rows = nnf_share(batch, 6, thread, n_threads);
        const double penalty = thread == 0 ? nnf_penalty(network) : 0;
        point_to_rows(job, first, rows);
        if (n_threads > 1 && batch < FEW_ROWS * n_threads)
            pass_by_columns(job, batch, team, thread, n_threads);
        else
            pass_by_rows(job, rows, thread);
        nnf_barrier(team);
        if (atomic_load(&job->poll.stop)) /* thread 0 writes it in phase 1 only: all read the same */
            return;

        const double weight = weight_of_batch(job, batch);
        if (weight != 0) {
            if (thread == 0) {
                double data = 0;
                for (nnf_index i = 0; i < batch; i++)
                    data += network->row_loss[i];
                job->loss->data += data * ((double)batch / weight);
                job->loss->penalty += penalty * ((double)batch / weight);
                job->loss->steps = n_steps + 1;
            }
            const step s = {.batch = batch, .weight = weight, .rate = epoch->rates == NULL ? 0 : epoch->rates[n_steps]};
            update_share(job, &s, thread, n_threads);
            n_steps++;
        }
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

static nnf_status run(nnf_network *network, const nnf_epoch *epoch, int solver, nnf_loss_sum *loss)
{
    const nnf_data *data = &epoch->data;
    const nnf_layer *first = &network->layers[0], *last = &network->layers[network->n_layers - 1];
    *loss = (nnf_loss_sum){0};
    if (solver == NNF_GRADIENT && first->w[NNF_GRADIENTS] == NULL)
        return NNF_BAD_ARGUMENT;
    if (epoch->n < 1 || data->X.n < 1 || epoch->batch < 1 || nnf_min(epoch->batch, epoch->n) > network->max_batch
        || nnf_check_rows(&data->X, first->n_in) != NNF_OK || data->ldy < last->n_out
        || (data->X.indptr != NULL && network->x_sparse == NULL) || (epoch->order == NULL && epoch->n > data->X.n))
        return NNF_BAD_ARGUMENT;
    for (nnf_index i = 0; epoch->order != NULL && i < epoch->n; i++)
        if (epoch->order[i] < 0 || epoch->order[i] >= data->X.n)
            return NNF_BAD_ARGUMENT;

    network->sparse = data->X.indptr != NULL;
    epoch_job job = {
        .network = network, .epoch = epoch, .loss = loss, .solver = solver, .poll = nnf_poll_start(epoch->poll),
    };
    const nnf_index batch = nnf_min(epoch->batch, epoch->n);
    const int wanted = nnf_team_size(step_flop(network, &data->X, batch), network->n_threads);
    if (wanted == 1) {
        nnf_parallel(1, epoch_work, &job);
    } else {
        const int team = nnf_pace_team(&network->pace, wanted);
        const double start = nnf_seconds(), cpu_start = nnf_cpu_seconds();
        nnf_parallel(team, epoch_work, &job);
        nnf_pace_learn(&network->pace, team, nnf_seconds() - start, nnf_cpu_seconds() - cpu_start);
    }
    return atomic_load(&job.poll.stop) ? NNF_INTERRUPTED : NNF_OK;
}

nnf_status nnf_network_train_epoch(nnf_network *network, const nnf_epoch *epoch, nnf_loss_sum *loss)
{
    return run(network, epoch, network->solver, loss);
}

nnf_status nnf_network_gradients(nnf_network *network, const nnf_data *data, int (*poll)(void), nnf_loss_sum *loss)
{
    const nnf_epoch whole = {.data = *data, .n = data->X.n, .batch = data->X.n, .poll = poll};
    const nnf_status status = run(network, &whole, NNF_GRADIENT, loss);
    return status == NNF_OK && loss->steps == 0 ? NNF_BAD_ARGUMENT : status;
}
