/*
 * kernels.c: the clock around the engine's inner loops, for bench/native.py: no Python between two calls. A function
 * bench_<kernel> makes `calls` calls on the instruction set chosen by bench_select and returns their seconds.
 */
#include "internal.h"
#include "peak.h"

#include <string.h>

#define TIMED(call)                         \
    double seconds = -nnf_seconds();        \
    for (nnf_index i = 0; i < calls; i++)   \
        call;                               \
    seconds += nnf_seconds()

NNF_EXPORT nnf_status bench_select(const char *isa);
NNF_EXPORT double bench_peak(nnf_dtype dtype, int n_threads);
NNF_EXPORT double bench_matmul(nnf_index calls, nnf_dtype dtype, nnf_index m, nnf_index n, nnf_index k, void *C,
                               const void *A, nnf_index rs_a, nnf_index cs_a,
                               const void *B, nnf_index rs_b, nnf_index cs_b, int n_threads);
NNF_EXPORT double bench_activate(nnf_index calls, nnf_dtype dtype, int activation, nnf_index n, void *out,
                                 const void *x);
NNF_EXPORT double bench_derive(nnf_index calls, nnf_dtype dtype, int activation, nnf_index n, void *out,
                               const void *y, const void *dy);
NNF_EXPORT double bench_log(nnf_index calls, nnf_dtype dtype, nnf_index n, void *out, const void *x);
NNF_EXPORT double bench_softmax(nnf_index calls, nnf_dtype dtype, nnf_index m, nnf_index n, void *x);
NNF_EXPORT double bench_update(nnf_index calls, nnf_dtype dtype, int solver, nnf_index n, const void *dw, void *w,
                               void *s1, void *s2, double alpha, double inv_rows, double rate, double gradient_rate,
                               double momentum, double beta_1, double beta_2, double epsilon);

nnf_status bench_select(const char *isa)
{
    return nnf_isa_select(isa);
}

/* ---- the peak ---- */

static const bench_fma *const fma_pairs[] = {
#define NNF_ISA(name, cpu) bench_fma_##name,
#include "isa.def"
#undef NNF_ISA
};

typedef struct peak_job {
    const bench_fma *fma;
    double gflops; /* the best up to now, of all threads together */
} peak_job;

/* A round takes 6 to 24 cycles, a try some milliseconds: long beside the barriers, and long enough for the operating
 * system to move a thread that has woken on the CPU of another. */
enum { ROUNDS = 2000000, TRIES = 8 };

static void peak_work(void *context, nnf_team *team, int thread, int n_threads)
{
    peak_job *job = context;
    const double gflop = 1e-9 * (double)(job->fma->flop * ROUNDS * n_threads);
    for (int i = 0; i < TRIES; i++) {
        nnf_barrier(team);
        const double begin = nnf_seconds();
        job->fma->run(ROUNDS, 0.5, 1); /* every chain goes to 2 */
        nnf_barrier(team);
        const double gflops = gflop / (nnf_seconds() - begin);
        if (thread == 0 && gflops > job->gflops)
            job->gflops = gflops;
    }
}

double bench_peak(nnf_dtype dtype, int n_threads)
{
    int isa = 0;
    while (strcmp(nnf_isa_name(isa), nnf_isa_active()) != 0)
        isa++;
    peak_job job = {.fma = &fma_pairs[isa][dtype]};
    nnf_parallel(n_threads, peak_work, &job);
    return job.gflops;
}

/* ---- the kernels ---- */

/* -1 when there is no memory. */
double bench_matmul(nnf_index calls, nnf_dtype dtype, nnf_index m, nnf_index n, nnf_index k, void *C,
                    const void *A, nnf_index rs_a, nnf_index cs_a,
                    const void *B, nnf_index rs_b, nnf_index cs_b, int n_threads)
{
    bool failed = false;
    TIMED(failed |= nnf_matmul(dtype, m, n, k, C, n, A, rs_a, cs_a, B, rs_b, cs_b, n_threads) != NNF_OK);
    return failed ? -1 : seconds;
}

double bench_activate(nnf_index calls, nnf_dtype dtype, int activation, nnf_index n, void *out, const void *x)
{
    const nnf_kernels *kernels = nnf_active_kernels(dtype);
    TIMED(kernels->activate(activation, nnf_activation_argument(activation), 1, n, out, x, n));
    return seconds;
}

double bench_derive(nnf_index calls, nnf_dtype dtype, int activation, nnf_index n, void *out, const void *y,
                    const void *dy)
{
    const nnf_kernels *kernels = nnf_active_kernels(dtype);
    TIMED(kernels->derive(activation, nnf_activation_argument(activation), 1, n, out, dy, n, y, n));
    return seconds;
}

double bench_log(nnf_index calls, nnf_dtype dtype, nnf_index n, void *out, const void *x)
{
    const nnf_kernels *kernels = nnf_active_kernels(dtype);
    TIMED(kernels->log(n, out, x));
    return seconds;
}

double bench_softmax(nnf_index calls, nnf_dtype dtype, nnf_index m, nnf_index n, void *x)
{
    const nnf_kernels *kernels = nnf_active_kernels(dtype);
    TIMED(kernels->softmax(m, n, x, n));
    return seconds;
}

double bench_update(nnf_index calls, nnf_dtype dtype, int solver, nnf_index n, const void *dw, void *w, void *s1,
                    void *s2, double alpha, double inv_rows, double rate, double gradient_rate, double momentum,
                    double beta_1, double beta_2, double epsilon)
{
    const nnf_kernels *kernels = nnf_active_kernels(dtype);
    const nnf_update u = {
        .rows = 1, .n = n, .ld = n, .ld_dw = n, .dw = dw, .w = w, .s1 = s1, .s2 = s2,
        .alpha = alpha, .inv_rows = inv_rows, .rate = rate, .gradient_rate = gradient_rate,
        .momentum = momentum, .beta_1 = beta_1, .beta_2 = beta_2, .epsilon = epsilon,
    };
    TIMED(kernels->update(solver, &u));
    return seconds;
}
