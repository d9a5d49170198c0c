/*
 * gemm.c: packing, and matrix products from the panel kernel: cache blocking here, register tiles in
 * kernels/gemm_ukr.inc.h. What is to be packed may lie with any row and column strides.
 */
#include "internal.h"

#include <string.h>

/* Rows of B that one kernel call reads: a panel of them, 512 x 64 bytes (AVX2) or 512 x 256 (AVX-512), stays in the
 * first or second-level cache while it meets the rows of A. The bits do not depend on it. */
enum { CHUNK = 512 };

void nnf_pack(const nnf_kernels *kernels, void *packed, const void *B, nnf_index rs_b, nnf_index cs_b,
              nnf_index k, nnf_index n, nnf_range panels)
{
    for (nnf_index j = panels.begin; j < panels.end; j++) {
        const nnf_index width = nnf_panel_width(kernels, n, j), columns = nnf_min(n - j * kernels->panel, width);
        char *to = nnf_at(kernels, packed, j * kernels->panel * k);
        const char *from = nnf_at(kernels, B, j * kernels->panel * cs_b);
        if (rs_b == 1 && cs_b != 1) {
            kernels->transpose(columns, k, to, width, from, cs_b);
            continue;
        }
        for (nnf_index p = 0; p < k; p++) {
            char *row = nnf_at(kernels, to, p * width);
            const char *source = nnf_at(kernels, from, p * rs_b);
            if (cs_b == 1) {
                memcpy(row, source, (size_t)columns * kernels->size);
            } else {
                for (nnf_index c = 0; c < columns; c++)
                    memcpy(nnf_at(kernels, row, c), nnf_at(kernels, source, c * cs_b), kernels->size);
            }
            memset(nnf_at(kernels, row, columns), 0, (size_t)(width - columns) * kernels->size);
        }
    }
}

void nnf_unpack(const nnf_kernels *kernels, void *B, const void *packed, nnf_index k, nnf_index n)
{
    for (nnf_index j = 0; j < nnf_n_panels(kernels, n); j++) {
        const nnf_index width = nnf_panel_width(kernels, n, j), first = j * kernels->panel;
        const nnf_index columns = nnf_min(n - first, width);
        for (nnf_index p = 0; p < k; p++)
            memcpy(nnf_at(kernels, B, p * n + first), nnf_at(kernels, packed, first * k + p * width),
                   (size_t)columns * kernels->size);
    }
}

void nnf_pack_transpose(const nnf_kernels *kernels, void *transposed, const void *packed, nnf_index k, nnf_index n,
                        nnf_range rows, nnf_range columns)
{
    const nnf_index panel = kernels->panel, j = columns.begin / panel, width = nnf_panel_width(kernels, n, j);
    const nnf_index n_columns = nnf_min(n, columns.end) - columns.begin;
    for (nnf_index p = rows.begin, end; p < rows.end; p = end) { /* B^T has its own panels, over p */
        const nnf_index panel_t = p / panel, width_t = nnf_panel_width(kernels, k, panel_t);
        end = nnf_min(rows.end, (panel_t + 1) * panel);
        kernels->transpose(
            end - p, n_columns,
            nnf_at(kernels, transposed, panel_t * panel * n + columns.begin * width_t + p % panel), width_t,
            nnf_at(kernels, packed, j * panel * k + p * width + columns.begin % panel), width);
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
    if (g->epilogue == NNF_STORE)
        return;
    const bool joined = g->ldc == whole.n;
    for (nnf_index i = 0; i < (joined ? 1 : g->m); i++) {
        void *c = nnf_at(kernels, g->c, i * g->ldc);
        kernels->activate(g->activation, g->argument, joined ? g->m * whole.n : whole.n, c, c);
    }
}

/* Part of a product: the rows `chunk` of B, for the panels given. g->a already begins with the columns `chunk` of A. */
static void product_chunk(const nnf_kernels *kernels, const nnf_gemm *g, const nnf_operand *B, nnf_range chunk,
                          nnf_range panels)
{
    const bool plain = B->ld != 0, more = plain && g->sparse == NULL && !g->a_columns;
    const nnf_index step = more ? nnf_columns_at_once(kernels, g->m) : kernels->panel;
    const nnf_index end = nnf_min(panels.end * kernels->panel, B->n_columns);
    for (nnf_index first = panels.begin * kernels->panel; first < end; first += step) {
        nnf_gemm part = *g;
        part.n = nnf_min(step, end - first);
        part.k = chunk.end - chunk.begin;
        part.b_exact = plain;
        part.ldb = plain ? B->ld : nnf_round_up(part.n, kernels->lanes);
        part.b = nnf_at(kernels, B->data, (plain ? first : first * B->n_rows) + chunk.begin * part.ldb);
        part.c = nnf_at(kernels, g->c, first);
        part.start = chunk.begin == 0 ? g->start : NNF_FROM_C;
        part.epilogue = chunk.end == B->n_rows ? g->epilogue : NNF_STORE;
        if (g->start == NNF_FROM_BIAS)
            part.bias = nnf_at(kernels, g->bias, first);
        if (g->epilogue == NNF_DERIVE)
            part.value = nnf_at(kernels, g->value, first);
        kernels->gemm(&part);
    }
}

/* Chunks that k is cut into; one for k == 0 too, since the bias remains. */
static nnf_index chunks_of(nnf_index k)
{
    return k > CHUNK ? (k + CHUNK - 1) / CHUNK : 1;
}

static nnf_range chunk_of(nnf_index k, nnf_index chunk)
{
    return (nnf_range){k * chunk / chunks_of(k), k * (chunk + 1) / chunks_of(k)};
}

void nnf_product(const nnf_kernels *kernels, const nnf_gemm *g, const nnf_operand *B, nnf_range panels)
{
    const nnf_index k = B->n_rows;
    if (B->transposed) {
        product_with_few_columns(kernels, g, B);
        return;
    }
    if (g->sparse != NULL || chunks_of(k) == 1) { /* sparse rows are not worth cutting */
        product_chunk(kernels, g, B, (nnf_range){0, k}, panels);
        return;
    }
    for (nnf_index c = 0; c < chunks_of(k); c++) {
        const nnf_range chunk = chunk_of(k, c);
        nnf_gemm part = *g;
        if (g->a_columns)
            part.a = g->a + chunk.begin;
        else
            part.a_first = g->a_first + chunk.begin;
        product_chunk(kernels, &part, B, chunk, panels);
    }
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
    nnf_operand B;      /* packed, or transposed when it has few columns */
    const void **rows;  /* (m) or (k): vectors of A, where it is read in place; NULL: it is copied, block by block */
    int a_columns;      /* those vectors are columns */
    void *blocks;       /* (n_threads, NNF_ROW_BLOCK, block_ld) of A copied, and pointers to their rows */
    const void **block_rows;
    nnf_index block_ld;
} matmul_job;

/* dst (rows, columns), row distance block_ld, = these columns of A in the rows from i on. Whole vectors may be
 * written. */
static void copy_block(const matmul_job *job, void *dst, nnf_index i, nnf_index rows, nnf_range columns)
{
    const nnf_kernels *kernels = job->kernels;
    const nnf_index n_columns = columns.end - columns.begin;
    const void *from = nnf_at(kernels, job->a, i * job->rs_a + columns.begin * job->cs_a);
    if (job->rs_a == 1) {
        kernels->transpose(n_columns, rows, dst, job->block_ld, from, job->cs_a);
        return;
    }
    for (nnf_index r = 0; r < rows; r++) {
        void *row = nnf_at(kernels, dst, r * job->block_ld);
        const void *source = nnf_at(kernels, from, r * job->rs_a);
        if (job->cs_a == 1)
            memcpy(row, source, (size_t)n_columns * kernels->size);
        for (nnf_index p = 0; job->cs_a != 1 && p < n_columns; p++)
            memcpy(nnf_at(kernels, row, p), nnf_at(kernels, source, p * job->cs_a), kernels->size);
    }
}

/* Rows i .. of C, with the rows of A copied: a chunk at a time, which all panels then read. */
static void multiply_copied(const matmul_job *job, nnf_gemm *g, nnf_index i, nnf_range panels, int thread)
{
    void *block = nnf_at(job->kernels, job->blocks, (nnf_index)thread * NNF_ROW_BLOCK * job->block_ld);
    g->a = job->block_rows + (nnf_index)thread * NNF_ROW_BLOCK;
    for (nnf_index c = 0; c < chunks_of(job->k); c++) {
        const nnf_range chunk = chunk_of(job->k, c);
        copy_block(job, block, i, g->m, chunk);
        product_chunk(job->kernels, g, &job->B, chunk, panels);
    }
}

/* B is packed by all; then each thread owns rows of C when there are more of them, else panels. */
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
    } else {
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
        if (job->rows == NULL) {
            multiply_copied(job, &g, i, panels, thread);
            continue;
        }
        g.a = job->a_columns ? job->rows : job->rows + i;
        g.a_first = job->a_columns ? i : 0;
        g.a_columns = job->a_columns;
        nnf_product(kernels, &g, &job->B, panels);
    }
}

/* Whether to copy A, block by block. In place it must lie in rows or in columns, which should not collide; and from 16
 * panels on an element is copied once for 64 vectors of FMAs, and the tile reads a page, not one a row: 4096 x 4096
 * matrices at 101 GFLOP/s in place of 97 (one Zen 4 core). */
static bool copies_a(const nnf_kernels *kernels, nnf_index n, nnf_index k, nnf_index stride, bool unit_stride)
{
    if (!unit_stride)
        return true;
    return k > 1 && (n >= 16 * kernels->panel || (n >= 4 * kernels->panel && nnf_rows_collide(kernels, stride)));
}

static void lay_out(nnf_arena *arena, matmul_job *job, int n_threads, bool in_place)
{
    const nnf_kernels *kernels = job->kernels;
    const bool few = nnf_is_few(job->n) && in_place && !job->a_columns;
    job->B = (nnf_operand){
        .data = few ? nnf_take(arena, job->n, job->k, kernels->size)
                    : nnf_take(arena, job->k, nnf_round_up(job->n, kernels->lanes), kernels->size),
        .n_rows = job->k,
        .n_columns = job->n,
        .ld = few ? job->k : 0,
        .transposed = few,
    };
    job->rows = in_place ? nnf_take(arena, job->a_columns ? job->k : job->m, 1, sizeof *job->rows) : NULL;
    if (!in_place) {
        job->block_ld = nnf_row_distance(kernels, nnf_min(job->k, CHUNK));
        job->blocks = nnf_take(arena, (nnf_index)n_threads * NNF_ROW_BLOCK, job->block_ld, kernels->size);
        job->block_rows = nnf_take(arena, n_threads, NNF_ROW_BLOCK, sizeof *job->block_rows);
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
    const bool rows = cs_a == 1 || k <= 1, columns = !rows && (rs_a == 1 || m == 1);
    const bool in_place = !copies_a(kernels, n, k, columns ? cs_a : rs_a, rows || columns);
    matmul_job job = {
        .kernels = kernels, .m = m, .n = n, .k = k, .c = C, .ldc = ldc, .a = A, .rs_a = rs_a, .cs_a = cs_a,
        .b = B, .rs_b = rs_b, .cs_b = cs_b, .a_columns = columns,
    };
    nnf_arena arena = {0};
    lay_out(&arena, &job, team, in_place);
    if (arena.overflow)
        return NNF_TOO_LARGE;
    arena = (nnf_arena){.base = nnf_scratch_take(arena.used)};
    if (arena.base == NULL)
        return NNF_NO_MEMORY;
    lay_out(&arena, &job, team, in_place);
    const nnf_index vectors = columns ? k : m;
    for (nnf_index i = 0; in_place && i < vectors; i++)
        job.rows[i] = nnf_at(kernels, A, i * (columns ? cs_a : rs_a));
    for (nnf_index i = 0; !in_place && i < (nnf_index)team * NNF_ROW_BLOCK; i++)
        job.block_rows[i] = nnf_at(kernels, job.blocks, i * job.block_ld);
    nnf_parallel(team, matmul_work, &job);
    nnf_scratch_give(arena.base);
    return NNF_OK;
}
