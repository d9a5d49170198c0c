/*
 * team_native.c: teams of threads of our own, kept between regions, for builds without OpenMP.
 *
 * A region takes as many idle threads as it asks for; others are started, up to the largest team that was ever asked
 * for. What is not to be had makes the team smaller: a region never waits for another. So regions of several callers
 * run side by side, one inside another too, without more threads than one of them would have.
 */
#include "team.h"

const char *nnf_threads_backend(void)
{
    return "native";
}

/* A thread of the pool. It lives as long as the process, and so does its memory: a thread may still be leaving a gate
 * of it when the region has ended. */
typedef struct worker {
    struct worker *next;  /* idle, or in the same region */
    nnf_gate start, done; /* each opened once a region */
    nnf_work *work;
    void *context;
    nnf_team *team;
    int thread;       /* its number in the team */
    unsigned regions; /* those it was given */
    char apart[64];   /* bytes: the gates of two workers share no cache line */
} worker;

enum { MOST_WORKERS = 1023 };

static worker workers[MOST_WORKERS];

static struct pool {
    nnf_mutex mutex;
    worker *idle;
    int n_started;
} pool = {.mutex = NNF_MUTEX_INIT};

static nnf_thread_result worker_main(void *argument)
{
    worker *w = argument;
    for (unsigned region = 0;; region++) {
        nnf_gate_wait(&w->start, region);
        w->work(w->context, w->team, w->thread, w->team->n_threads);
        nnf_gate_open(&w->done);
    }
    return 0;
}

/* The threads of the parent do not exist in a forked child: it starts new ones. Neither is the state of its pool to be
 * trusted, as another thread may have been changing it. */
static void forget_workers(void)
{
    pool = (struct pool){.mutex = NNF_MUTEX_INIT};
}

static worker *start_worker(void)
{
    nnf_watch_forks(forget_workers);
    worker *w = &workers[pool.n_started];
    *w = (worker){.start = NNF_GATE_INIT, .done = NNF_GATE_INIT};
    if (!nnf_start_thread(worker_main, w))
        return NULL;
    pool.n_started++;
    return w;
}

/* Up to `wanted` workers, the last first, and their number. */
static worker *take_workers(int wanted, int *taken)
{
    worker *team = NULL;
    nnf_lock(&pool.mutex);
    for (*taken = 0; *taken < wanted; ++*taken) {
        worker *w = pool.idle;
        if (w != NULL)
            pool.idle = w->next;
        else if (pool.n_started < nnf_min(wanted, MOST_WORKERS))
            w = start_worker();
        if (w == NULL)
            break;
        w->next = team;
        team = w;
    }
    nnf_unlock(&pool.mutex);
    return team;
}

/* The way back, so that the next region takes the same in the same order, with the data of their shares still in the
 * caches of their CPUs. */
static void give_workers(worker *team)
{
    nnf_lock(&pool.mutex);
    while (team != NULL) {
        worker *w = team;
        team = w->next;
        w->next = pool.idle;
        pool.idle = w;
    }
    nnf_unlock(&pool.mutex);
}

int nnf_processors(void)
{
    return nnf_system_processors();
}

int nnf_max_threads(void)
{
    return nnf_processors();
}

void nnf_parallel(int n_threads, nnf_work *work, void *context)
{
    int n_workers = 0;
    worker *others = n_threads > 1 ? take_workers(n_threads - 1, &n_workers) : NULL;
    if (others == NULL) {
        nnf_work_alone(work, context);
        return;
    }
    nnf_team team = NNF_TEAM_INIT;
    team.n_threads = n_workers + 1;
    int thread = n_workers;
    for (worker *w = others; w != NULL; w = w->next) {
        w->work = work;
        w->context = context;
        w->team = &team;
        w->thread = thread--;
        w->regions++;
        nnf_gate_open(&w->start);
    }
    work(context, &team, 0, team.n_threads);
    for (worker *w = others; w != NULL; w = w->next)
        nnf_gate_wait(&w->done, w->regions - 1);
    give_workers(others);
    nnf_team_end(&team);
}
