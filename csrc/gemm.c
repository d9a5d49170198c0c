/*
 * gemm.c: packing, and matrix products from the panel kernel: cache blocking here, register tiles in
 * kernels/gemm_ukr.inc.h. What is to be packed may lie with any row and column strides.
 */
#include "internal.h"

#include <string.h>

/* Rows of one panel of a B that has neither contiguous rows nor contiguous columns. */
static void pack_elements(const nnf_kernels *kernels, void *to, const void *from, nnf_index rs, nnf_index cs,
                          nnf_index k, nnf_index columns, nnf_index width)
{
    for (nnf_index p = 0; p < k; p++) {
        char *row = nnf_at(kernels, to, p * width);
        for (nnf_index c = 0; c < columns; c++)
            memcpy(nnf_at(kernels, row, c), nnf_at(kernels, from, p * rs + c * cs), kernels->size);
        memset(nnf_at(kernels, row, columns), 0, (size_t)(width - columns) * kernels->size);
    }
}

/* A few rows through all panels, then the next: a panel alone takes one cache line, or two halves, of each row, and
 * comes back for the next lines when the first are long out of reach. 2,048 rows of as many floats, Zen 3: 0.55 to 0.64
 * of the time of panel after panel. */
enum { PACK_ROWS = 8 };

void nnf_pack(const nnf_kernels *kernels, void *packed, const void *B, nnf_index rs_b, nnf_index cs_b,
              nnf_index k, nnf_index n, nnf_range panels)
{
    const bool by_rows = cs_b == 1, by_columns = rs_b == 1 && !by_rows;
    const nnf_index step = by_columns ? k : PACK_ROWS;
    for (nnf_index p = 0; p < k; p += step) {
        const nnf_index rows = nnf_min(step, k - p);
        for (nnf_index j = panels.begin; j < panels.end; j++) {
            const nnf_index width = nnf_panel_width(kernels, n, j), columns = nnf_min(n - j * kernels->panel, width);
            void *to = nnf_at(kernels, packed, j * kernels->panel * k + p * width);
            const void *from = nnf_at(kernels, B, p * rs_b + j * kernels->panel * cs_b);
            if (by_rows)
                kernels->copy(rows, columns, to, width, from, rs_b);
            else if (by_columns)
                kernels->transpose(columns, rows, to, width, from, cs_b);
            else
                pack_elements(kernels, to, from, rs_b, cs_b, rows, columns, width);
        }
    }
}

void nnf_unpack(const nnf_kernels *kernels, void *B, const void *packed, nnf_index k, nnf_index n, nnf_range rows)
{
    for (nnf_index begin = rows.begin; begin < rows.end; begin += PACK_ROWS) {
        const nnf_index end = nnf_min(rows.end, begin + PACK_ROWS);
        for (nnf_index j = 0; j < nnf_n_panels(kernels, n); j++) {
            const nnf_index width = nnf_panel_width(kernels, n, j), first = j * kernels->panel;
            const nnf_index columns = nnf_min(n - first, width);
            const void *from = nnf_at(kernels, packed, first * k + begin * width);
            void *to = nnf_at(kernels, B, begin * n + first);
            if (columns == kernels->panel) { /* whole vectors */
                kernels->copy(end - begin, columns, to, n, from, width);
                continue;
            }
            for (nnf_index p = 0; p < end - begin; p++)
                memcpy(nnf_at(kernels, to, p * n), nnf_at(kernels, from, p * width), (size_t)columns * kernels->size);
        }
    }
}

void nnf_pack_transpose(const nnf_kernels *kernels, void *transposed, const void *packed, nnf_index k, nnf_index n,
                        nnf_range rows, nnf_range columns)
{
    const nnf_index panel = kernels->panel;
    for (nnf_index c = columns.begin, next; c < nnf_min(n, columns.end); c = next) {
        const nnf_index j = c / panel, width = nnf_panel_width(kernels, n, j);
        next = nnf_min(nnf_min(n, columns.end), c + panel);
        for (nnf_index p = rows.begin, end; p < rows.end; p = end) { /* B^T has its own panels, over p */
            const nnf_index panel_t = p / panel, width_t = nnf_panel_width(kernels, k, panel_t);
            end = nnf_min(rows.end, (panel_t + 1) * panel);
            kernels->transpose(
                end - p, next - c,
                nnf_at(kernels, transposed, panel_t * panel * n + c * width_t + p % panel), width_t,
                nnf_at(kernels, packed, j * panel * k + p * width + c % panel), width);
        }
    }
}

static void product_with_few_columns(const nnf_kernels *kernels, const nnf_gemm *g, const nnf_operand *B)
{
    nnf_gemm whole = *g;
    whole.n = B->n_columns;
    whole.k = B->n_rows;
    whole.b = B->data;
    whole.ldb = B->ld;
    kernels->gemm_few(&whole);
    if (g->epilogue == NNF_ACTIVATE)
        kernels->activate(g->activation, g->argument, g->m, whole.n, g->c, g->c, g->ldc);
}

/* The rows `chunk` of the next panel of a packed B; after the last one those of the first that are multiplied next. */
static const void *panel_after(const nnf_kernels *kernels, const nnf_operand *B, nnf_range chunk, nnf_range panels,
                               nnf_index j)
{
    const bool last = j + 1 == panels.end;
    const nnf_index p = last ? chunk.end % B->n_rows : chunk.begin, next = last ? panels.begin : j + 1;
    const nnf_index width = nnf_panel_width(kernels, B->n_columns, next);
    return nnf_at(kernels, B->data, next * kernels->panel * B->n_rows + p * width);
}

/* Part of a product: the rows `chunk` of B, for the panels given, times these columns of A. */
static void product_chunk(const nnf_kernels *kernels, const nnf_gemm *g, const nnf_operand *B, nnf_range chunk,
                          nnf_range panels)
{
    const bool plain = B->ld != 0;
    const nnf_index panel = kernels->panel, end = nnf_min(panels.end * panel, B->n_columns);
    const bool narrower = !plain && end < panels.end * panel; /* the last panel may be */
    const nnf_index full = narrower ? (panels.end - 1) * panel : end;
    const bool wide = g->sparse == NULL && g->ldc != 0 && (plain || g->slices == NULL);
    const nnf_index step = wide ? nnf_columns_at_once(kernels, g->m, !plain) : panel;
    nnf_gemm part = *g;
    part.k = chunk.end - chunk.begin;
    part.a_first += chunk.begin;
    part.b_exact = plain;
    part.panel_size = panel * B->n_rows;
    part.start = chunk.begin == 0 ? g->start : NNF_FROM_C;
    part.epilogue = chunk.end == B->n_rows ? g->epilogue : NNF_STORE;
    for (nnf_index first = panels.begin * panel; first < end; first += part.n) {
        part.n = nnf_min(step, (first < full ? full : end) - first);
        part.ldb = plain ? B->ld : nnf_min(panel, nnf_round_up(part.n, kernels->lanes));
        part.b = nnf_at(kernels, B->data, (plain ? first : first * B->n_rows) + chunk.begin * part.ldb);
        if (g->slices != NULL && !plain)
            part.next_b = panel_after(kernels, B, chunk, panels, first / panel);
        part.ldc = g->ldc != 0 ? g->ldc : nnf_round_up(part.n, kernels->lanes);
        part.c = nnf_at(kernels, g->c, g->ldc != 0 ? first : first * g->m);
        if (g->start == NNF_FROM_BIAS)
            part.bias = nnf_at(kernels, g->bias, first);
        if (g->epilogue == NNF_DERIVE)
            part.value = nnf_at(kernels, g->value, first);
        kernels->gemm(&part);
    }
}

/* Chunks of at most `most` that k is cut into; one for k == 0 too, since the bias remains. */
static nnf_index chunks_of(nnf_index k, nnf_index most)
{
    return k > most ? (k + most - 1) / most : 1;
}

static nnf_range chunk_of(nnf_index k, nnf_index n_chunks, nnf_index chunk)
{
    return (nnf_range){k * chunk / n_chunks, k * (chunk + 1) / n_chunks};
}

/* Most rows of B in a chunk. A large B in plain rows that meets few of A is read once, from beyond the second-level
 * cache, and fastest nearly in the order of its memory: a few rows at a time. 2,048 x 2,048 floats with one row of A
 * take half of the time that they take with 512 rows, with four 0.4 (Zen 3). Asked without a division, which took 2 %
 * of a row of 20-64-64-1. */
static nnf_index chunk_rows(const nnf_kernels *kernels, const nnf_gemm *g, const nnf_operand *B)
{
    enum { FEW_ROWS = 8, LARGE = 4 << 20 };
    if (g->sparse != NULL)
        return B->n_rows; /* sparse rows are not worth cutting */
    if (B->ld == 0 || g->m > FEW_ROWS || B->n_rows * B->n_columns * (nnf_index)kernels->size <= LARGE)
        return NNF_CHUNK;
    return g->m == 1 ? 8 : 16;
}

void nnf_product(const nnf_kernels *kernels, const nnf_gemm *g, const nnf_operand *B, nnf_range panels)
{
    const nnf_index k = B->n_rows;
    if (panels.begin == panels.end)
        return;
    if (B->transposed) {
        product_with_few_columns(kernels, g, B);
        return;
    }
    const nnf_index n_chunks = chunks_of(k, chunk_rows(kernels, g, B));
    for (nnf_index c = 0; c < n_chunks; c++)
        product_chunk(kernels, g, B, chunk_of(k, n_chunks, c), panels);
}

/* ---- the public product ---- */

typedef struct matmul_job {
    const nnf_kernels *kernels;
    nnf_index m, n, k;
    void *c;
    nnf_index ldc;
    const void *a;
    nnf_index rs_a, cs_a;
    const void *b;
    nnf_index rs_b, cs_b;
    bool in_place;         /* B is read where it lies: its rows are contiguous, and those of A too few to pack it for */
    nnf_operand B;         /* else it is packed, or transposed when it has few columns */
    bool by_rows;          /* the rows of A are contiguous, or its columns are, or neither are */
    const void **vectors;  /* (m) its rows, or (k) its columns; NULL: neither */
    nnf_index block_rows, block_columns; /* most of a block of A that is cut into slices at a time */
    void *gathered;        /* without vectors: (n_threads, block_columns, block_rows) columns of a block, contiguous, */
    const void **gathered_columns; /* (n_threads, block_columns) and pointers to them */
    bool slicing;          /* A is cut into slices, not read in place */
    void *slices;          /* then (n_threads, slices_size): those of a block, and the vector that may follow them */
    nnf_index slices_size;
} matmul_job;

/* The columns `chunk` of m rows of A from row i on, each contiguous; pointers to them. */
static const void **gather_columns(const matmul_job *job, nnf_index i, nnf_index m, nnf_range chunk, int thread)
{
    const nnf_kernels *kernels = job->kernels;
    const nnf_index slot = thread * job->block_columns;
    const void **columns = job->gathered_columns + slot;
    for (nnf_index p = chunk.begin; p < chunk.end; p++) {
        void *column = nnf_at(kernels, job->gathered, (slot + p - chunk.begin) * job->block_rows);
        for (nnf_index r = 0; r < m; r++)
            memcpy(nnf_at(kernels, column, r), nnf_at(kernels, job->a, (i + r) * job->rs_a + p * job->cs_a),
                   kernels->size);
        columns[p - chunk.begin] = column;
    }
    return columns;
}

/* Rows i .. of C from slices of A: of a chunk of its columns, which all panels then read. */
static void multiply_slices(const matmul_job *job, const nnf_gemm *g, nnf_index i, nnf_range panels, int thread)
{
    const nnf_kernels *kernels = job->kernels;
    void *slices = nnf_at(kernels, job->slices, thread * job->slices_size);
    const nnf_index n_chunks = chunks_of(job->k, NNF_CHUNK);
    for (nnf_index c = 0; c < n_chunks; c++) {
        const nnf_range chunk = chunk_of(job->k, n_chunks, c);
        const nnf_index k = chunk.end - chunk.begin, depth = nnf_slice_depth(k);
        if (job->by_rows)
            kernels->slice_rows(g->m, k, slices, depth, job->vectors + i, chunk.begin);
        else if (job->vectors != NULL)
            kernels->slice_columns(g->m, k, slices, depth, job->vectors + chunk.begin, i);
        else
            kernels->slice_columns(g->m, k, slices, depth, gather_columns(job, i, g->m, chunk, thread), 0);
        nnf_gemm part = *g;
        part.slices = slices;
        part.depth = depth;
        part.a_first = -chunk.begin; /* they begin with these columns */
        product_chunk(kernels, &part, &job->B, chunk, panels);
    }
}

/* B is packed by all, if it is; then each thread owns rows of C when there are more of them, else panels. */
static void matmul_work(void *context, nnf_team *team, int thread, int n_threads)
{
    const matmul_job *job = context;
    const nnf_kernels *kernels = job->kernels;
    const nnf_index n_panels = nnf_n_panels(kernels, job->n);
    nnf_range panels = nnf_share(n_panels, 1, thread, n_threads);

    if (job->B.transposed) {
        const nnf_range rows = nnf_share(job->k, kernels->lanes, thread, n_threads);
        for (nnf_index p = rows.begin; p < rows.end; p++)
            for (nnf_index j = 0; j < job->n; j++)
                memcpy(nnf_at(kernels, job->B.data, j * job->B.ld + p),
                       nnf_at(kernels, job->b, p * job->rs_b + j * job->cs_b), kernels->size);
    } else if (job->B.ld == 0) {
        nnf_pack(kernels, nnf_at(kernels, job->B.data, 0), job->b, job->rs_b, job->cs_b, job->k, job->n, panels);
    }
    nnf_barrier(team);

    nnf_range rows = {0, job->m};
    if (job->m >= job->n) {
        rows = nnf_share(job->m, 2, thread, n_threads);
        panels = (nnf_range){0, n_panels};
    }
    const nnf_index block = nnf_block_rows(rows.end - rows.begin);
    for (nnf_index i = rows.begin; i < rows.end; i += block) {
        nnf_gemm g = {
            .m = nnf_min(rows.end - i, block),
            .c_exact = 1,
            .c = nnf_at(kernels, job->c, i * job->ldc),
            .ldc = job->ldc,
        };
        if (job->slicing) {
            multiply_slices(job, &g, i, panels, thread);
            continue;
        }
        g.a = job->vectors + i;
        nnf_product(kernels, &g, &job->B, panels);
    }
}

/* Whether to cut A into slices: what does not lie in rows, always. Rows where enough panels of B meet them, since that
 * takes half as long as the product with one; and rows that share sets of the caches, sooner. */
static bool pays_for_slices(const nnf_kernels *kernels, nnf_index n, nnf_index k, bool by_rows, nnf_index stride)
{
    if (!by_rows)
        return true;
    return k > 1 && (n >= 16 * kernels->panel || (n >= 4 * kernels->panel && nnf_rows_collide(kernels, stride)));
}

static void lay_out(nnf_arena *arena, matmul_job *job, int n_threads, bool contiguous)
{
    const nnf_kernels *kernels = job->kernels;
    job->B = (nnf_operand){.n_rows = job->k, .n_columns = job->n};
    if (job->in_place) {
        job->B.data = job->b;
        job->B.ld = job->rs_b;
    } else if (nnf_is_few(job->n) && job->by_rows) {
        job->B.data = nnf_take(arena, job->n, job->k, kernels->size);
        job->B.ld = job->k;
        job->B.transposed = true;
    } else {
        job->B.data = nnf_take(arena, job->k, nnf_round_up(job->n, kernels->lanes), kernels->size);
    }
    job->block_rows = nnf_min(job->m, NNF_ROW_BLOCK);
    job->block_columns = nnf_min(job->k, NNF_CHUNK);
    if (contiguous) {
        job->vectors = nnf_take(arena, job->by_rows ? job->m : job->k, 1, sizeof *job->vectors);
    } else {
        job->gathered = nnf_take(arena, n_threads * job->block_columns, job->block_rows, kernels->size);
        job->gathered_columns = nnf_take(arena, n_threads, job->block_columns, sizeof *job->gathered_columns);
    }
    if (job->slicing) {
        job->slices_size = job->block_rows * nnf_slice_depth(job->block_columns) + kernels->lanes;
        job->slices = nnf_take(arena, n_threads, job->slices_size, kernels->size);
    }
}

nnf_status nnf_matmul(nnf_dtype dtype, nnf_index m, nnf_index n, nnf_index k,
                      void *C, nnf_index ldc,
                      const void *A, nnf_index rs_a, nnf_index cs_a,
                      const void *B, nnf_index rs_b, nnf_index cs_b, int n_threads)
{
    if (m < 0 || n < 0 || k < 0 || ldc < n)
        return NNF_BAD_ARGUMENT;
    if (m == 0 || n == 0)
        return NNF_OK;
    const nnf_kernels *kernels = nnf_active_kernels(dtype);
    const int team = nnf_team_size(2.0 * (double)m * (double)n * (double)k, n_threads);
    const bool by_rows = cs_a == 1 || k <= 1, by_columns = !by_rows && (rs_a == 1 || m == 1);
    const bool in_place = m < NNF_ROWS_THAT_PAY_FOR_PACKING && by_rows && cs_b == 1 && rs_b >= n && !nnf_is_few(n);
    matmul_job job = {
        .kernels = kernels, .m = m, .n = n, .k = k, .c = C, .ldc = ldc, .a = A, .rs_a = rs_a, .cs_a = cs_a,
        .b = B, .rs_b = rs_b, .cs_b = cs_b, .in_place = in_place, .by_rows = by_rows,
        .slicing = !in_place && pays_for_slices(kernels, n, k, by_rows, rs_a),
    };
    nnf_arena arena = {0};
    lay_out(&arena, &job, team, by_rows || by_columns);
    if (arena.overflow)
        return NNF_TOO_LARGE;
    arena = (nnf_arena){.base = nnf_scratch_take(arena.used)};
    if (arena.base == NULL)
        return NNF_NO_MEMORY;
    lay_out(&arena, &job, team, by_rows || by_columns);
    const nnf_index n_vectors = by_rows ? m : by_columns ? k : 0;
    for (nnf_index i = 0; i < n_vectors; i++)
        job.vectors[i] = nnf_at(kernels, A, i * (by_rows ? rs_a : cs_a));
    nnf_parallel(team, matmul_work, &job);
    nnf_scratch_give(arena.base);
    return NNF_OK;
}
