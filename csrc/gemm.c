/*
 * gemm.c: packing, and matrix products from the panel kernel: cache blocking here, register tiles in
 * kernels/gemm_ukr.inc.h. No transpose flags: an operand has a row and a column stride.
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
        kernels->activate(g->activation, joined ? g->m * whole.n : whole.n, c, c);
    }
}

void nnf_product(const nnf_kernels *kernels, const nnf_gemm *g, const nnf_operand *B, nnf_range panels)
{
    const nnf_index k = B->n_rows, panel = kernels->panel;
    if (B->transposed) {
        product_with_few_columns(kernels, g, B);
        return;
    }
    /* One for k == 0 too, since the bias remains; and one for sparse rows, which are not worth cutting. */
    const nnf_index n_chunks = k > CHUNK && g->sparse == NULL ? (k + CHUNK - 1) / CHUNK : 1;
    for (nnf_index chunk = 0; chunk < n_chunks; chunk++) {
        const nnf_index begin = k * chunk / n_chunks, end = k * (chunk + 1) / n_chunks;
        for (nnf_index j = panels.begin; j < panels.end; j++) {
            const nnf_index first = j * panel;
            nnf_gemm part = *g;
            part.n = nnf_min(panel, B->n_columns - first);
            part.k = end - begin;
            part.b_exact = B->ld != 0;
            part.ldb = B->ld != 0 ? B->ld : nnf_panel_width(kernels, B->n_columns, j);
            part.b = nnf_at(kernels, B->data, (B->ld != 0 ? first : first * k) + begin * part.ldb);
            part.c = nnf_at(kernels, g->c, first);
            part.start = begin == 0 ? g->start : NNF_FROM_C;
            part.epilogue = end == k ? g->epilogue : NNF_STORE;
            if (g->a_columns)
                part.a = g->a + begin;
            else if (g->sparse == NULL)
                part.a_first = g->a_first + begin;
            if (g->start == NNF_FROM_BIAS)
                part.bias = nnf_at(kernels, g->bias, first);
            if (g->epilogue == NNF_DERIVE)
                part.value = nnf_at(kernels, g->value, first);
            kernels->gemm(&part);
        }
    }
}

/* ---- the public product ---- */

typedef struct matmul_job {
    const nnf_kernels *kernels;
    nnf_index m, n, k;
    void *c;
    nnf_index ldc;
    const void *b;
    nnf_index rs_b, cs_b;
    void *packed;
    const void *const *a;
    int a_columns;
} matmul_job;

/* B is packed by all; then each thread owns rows of C when there are more of them, else panels. */
static void matmul_work(void *context, nnf_team *team, int thread, int n_threads)
{
    const matmul_job *job = context;
    const nnf_kernels *kernels = job->kernels;
    const nnf_index n_panels = nnf_n_panels(kernels, job->n);
    nnf_range panels = nnf_share(n_panels, 1, thread, n_threads);

    nnf_pack(kernels, job->packed, job->b, job->rs_b, job->cs_b, job->k, job->n, panels);
    nnf_barrier(team);

    nnf_range rows = {0, job->m};
    if (job->m >= job->n) {
        rows = nnf_share(job->m, 12, thread, n_threads);
        panels = (nnf_range){0, n_panels};
    }
    const nnf_operand B = {.data = job->packed, .n_rows = job->k, .n_columns = job->n};
    for (nnf_index i = rows.begin; i < rows.end; i += NNF_ROW_BLOCK) {
        nnf_gemm g = {
            .m = nnf_min(rows.end - i, NNF_ROW_BLOCK),
            .a = job->a_columns ? job->a : job->a + i,
            .a_first = job->a_columns ? i : 0,
            .a_columns = job->a_columns,
            .c_exact = 1,
            .c = nnf_at(kernels, job->c, i * job->ldc),
            .ldc = job->ldc,
        };
        nnf_product(kernels, &g, &B, panels);
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
    const bool rows = cs_a == 1 || k <= 1, columns = !rows && (rs_a == 1 || m == 1), copied = !rows && !columns;
    const nnf_index vectors = columns ? k : m;
    const nnf_index n_stored = nnf_round_up(n, kernels->lanes);

    nnf_arena arena = {0};
    void *packed = NULL, *copy = NULL;
    const void **a = NULL;
    for (int pass = 0; pass < 2; pass++) {
        packed = nnf_take(&arena, k, n_stored, kernels->size);
        a = nnf_take(&arena, vectors, 1, sizeof *a);
        copy = copied ? nnf_take(&arena, m, k, kernels->size) : NULL;
        if (arena.overflow)
            return NNF_TOO_LARGE;
        if (pass == 0) {
            arena = (nnf_arena){.base = nnf_alloc(arena.used)};
            if (arena.base == NULL)
                return NNF_NO_MEMORY;
        }
    }
    if (copied)
        for (nnf_index i = 0; i < m; i++)
            for (nnf_index p = 0; p < k; p++)
                memcpy(nnf_at(kernels, copy, i * k + p), nnf_at(kernels, A, i * rs_a + p * cs_a), kernels->size);
    for (nnf_index i = 0; i < vectors; i++)
        a[i] = copied ? nnf_at(kernels, copy, i * k) : nnf_at(kernels, A, i * (columns ? cs_a : rs_a));

    matmul_job job = {
        .kernels = kernels, .m = m, .n = n, .k = k, .c = C, .ldc = ldc, .b = B, .rs_b = rs_b, .cs_b = cs_b,
        .packed = packed, .a = a, .a_columns = columns,
    };
    nnf_parallel(nnf_team_size(2.0 * (double)m * (double)n * (double)k, n_threads), matmul_work, &job);
    nnf_free(arena.base);
    return NNF_OK;
}
