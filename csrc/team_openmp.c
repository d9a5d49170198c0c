/*
 * team_openmp.c: teams of OpenMP's threads. The only file that knows OpenMP.
 */
#include "team.h"

#include <omp.h>

const char *nnf_threads_backend(void)
{
    return "openmp";
}

/* OpenMP's threads do not survive a fork, and its runtime waits for them for ever. A forked child runs alone. */
static atomic_bool forked = false;

static void after_fork_in_child(void)
{
    atomic_store(&forked, true);
}

int nnf_processors(void)
{
    return omp_get_num_procs(); /* not this thread's affinity: OpenMP may have bound the thread to one of them */
}

int nnf_max_threads(void)
{
    nnf_watch_forks(after_fork_in_child);
    if (atomic_load(&forked) || omp_in_parallel())
        return 1;
    return (int)nnf_min(nnf_processors(), nnf_min(omp_get_max_threads(), omp_get_thread_limit()));
}

void nnf_parallel(int n_threads, nnf_work *work, void *context)
{
    nnf_watch_forks(after_fork_in_child);
    if (n_threads <= 1 || atomic_load(&forked)) {
        nnf_work_alone(work, context);
        return;
    }
    nnf_team team = NNF_TEAM_INIT;
#pragma omp parallel num_threads(n_threads)
    {
#pragma omp single
        team.n_threads = omp_get_num_threads();
        work(context, &team, omp_get_thread_num(), team.n_threads);
    }
    nnf_team_end(&team);
}
