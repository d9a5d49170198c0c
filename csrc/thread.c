/*
 * thread.c: a team of threads: its size, its barrier, the shares of its work, and the question whether to stop. The
 * only file that knows OpenMP; built without it, a team has one thread.
 */
#define _POSIX_C_SOURCE 200809L /* clock_gettime */
#include "internal.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#ifdef _OPENMP
#include <omp.h>
#endif

/* Looks at the barrier before a thread sleeps: about 20 us, which covers the usual difference between two threads of a
 * step and is short enough that a team whose CPUs are taken away does not burn them. */
enum { SPINS = 1000 };

struct nnf_team {
    int n_threads;
    atomic_int arrived;
    atomic_uint generation; /* counts the barriers passed */
    atomic_int sleepers;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
};

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb");
#endif
}

static void sleep_until_passed(nnf_team *team, unsigned generation)
{
    pthread_mutex_lock(&team->mutex);
    atomic_fetch_add(&team->sleepers, 1); /* before the look: the last to arrive stores, then looks for sleepers */
    while (atomic_load(&team->generation) == generation)
        pthread_cond_wait(&team->wake, &team->mutex);
    atomic_fetch_sub(&team->sleepers, 1);
    pthread_mutex_unlock(&team->mutex);
}

void nnf_barrier(nnf_team *team)
{
    if (team->n_threads == 1)
        return;
    unsigned generation = atomic_load(&team->generation);
    if (atomic_fetch_add(&team->arrived, 1) == team->n_threads - 1) {
        atomic_store(&team->arrived, 0);
        atomic_store(&team->generation, generation + 1);
        if (atomic_load(&team->sleepers) > 0) {
            pthread_mutex_lock(&team->mutex);
            pthread_cond_broadcast(&team->wake);
            pthread_mutex_unlock(&team->mutex);
        }
        return;
    }
    for (int spin = 0; spin < SPINS; spin++) {
        if (atomic_load_explicit(&team->generation, memory_order_acquire) != generation)
            return;
        relax();
    }
    sleep_until_passed(team, generation);
}

/* OpenMP's threads do not survive a fork, and its runtime waits for them for ever. A forked child runs alone. */
static atomic_bool forked = false;
static pthread_once_t fork_watch = PTHREAD_ONCE_INIT;

static void after_fork_in_child(void)
{
    atomic_store(&forked, true);
}

static void watch_forks(void)
{
    pthread_atfork(NULL, NULL, after_fork_in_child);
}

int nnf_processors(void)
{
#ifdef _OPENMP
    return omp_get_num_procs(); /* not this thread's affinity: OpenMP may have bound the thread to one of them */
#else
    return 1;
#endif
}

int nnf_max_threads(void)
{
    pthread_once(&fork_watch, watch_forks);
#ifdef _OPENMP
    if (!atomic_load(&forked) && !omp_in_parallel())
        return (int)nnf_min(nnf_processors(), nnf_min(omp_get_max_threads(), omp_get_thread_limit()));
#endif
    return 1;
}

void nnf_parallel(int n_threads, nnf_work *work, void *context)
{
    static nnf_team alone = {.n_threads = 1}; /* its barrier reads nothing else */
    pthread_once(&fork_watch, watch_forks);
    if (n_threads <= 1 || atomic_load(&forked)) {
        work(context, &alone, 0, 1);
        return;
    }
#ifdef _OPENMP
    nnf_team team = {.n_threads = 1, .mutex = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};
#pragma omp parallel num_threads(n_threads)
    {
#pragma omp single
        team.n_threads = omp_get_num_threads();
        work(context, &team, omp_get_thread_num(), team.n_threads);
    }
    pthread_cond_destroy(&team.wake);
    pthread_mutex_destroy(&team.mutex);
#else
    work(context, &alone, 0, 1);
#endif
}

int nnf_team_size(double flop, int n_threads)
{
    /* Two threads on one step cost two barriers and the sharing of its caches, about what 2 MFLOP take. */
    const double wanted = 1 + flop / 2e6;
    return wanted < n_threads ? (int)wanted : n_threads;
}

static double read_clock(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

double nnf_seconds(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

double nnf_cpu_seconds(void)
{
    return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

/* A thread that waits in a barrier first spins, then sleeps. In a quiet team of equal shares it hardly ever sleeps;
 * below this share of CPU time the team is not quiet. Shorter runs than `shortest` say nothing. */
static const double quiet_share = 0.75, shortest = 1e-3;
enum { WAITING_RUNS = 3, FIRST_PATIENCE = 8, MOST_PATIENCE = 256 };

int nnf_pace_team(const nnf_pace *pace, int wanted)
{
    return pace->size == 0 || pace->size > wanted ? wanted : pace->size;
}

void nnf_pace_learn(nnf_pace *pace, int size, double seconds, double cpu_seconds)
{
    if (pace->on_trial) {
        pace->on_trial = false;
        pace->patience = pace->patience == 0 ? FIRST_PATIENCE : 2 * pace->patience;
        if (pace->patience > MOST_PATIENCE)
            pace->patience = MOST_PATIENCE;
        pace->runs_left = pace->patience;
        if (seconds > pace->seconds)
            pace->size = 0; /* smaller was slower */
    } else if (pace->runs_left > 0) {
        if (--pace->runs_left == 0)
            pace->size = 0;
    } else if (size > 1 && seconds > shortest && cpu_seconds < quiet_share * seconds) {
        if (pace->waiting_runs == 0 || seconds < pace->seconds)
            pace->seconds = seconds;
        if (++pace->waiting_runs == WAITING_RUNS) {
            pace->waiting_runs = 0;
            pace->on_trial = true;
            pace->size = size / 2;
        }
    } else {
        pace->waiting_runs = 0;
    }
}

static const double poll_interval = 0.05;

nnf_poll nnf_poll_start(int (*ask)(void))
{
    return (nnf_poll){.ask = ask, .next = ask == NULL ? 0 : nnf_seconds() + poll_interval};
}

bool nnf_poll_stop(nnf_poll *poll, int thread)
{
    if (poll->ask == NULL)
        return false;
    if (thread == 0) {
        const double now = nnf_seconds();
        if (now >= poll->next) {
            poll->next = now + poll_interval;
            if (poll->ask() != 0)
                atomic_store(&poll->stop, true);
        }
    }
    return atomic_load(&poll->stop);
}

nnf_range nnf_share(nnf_index n, nnf_index unit, int thread, int n_threads)
{
    nnf_index units = (n + unit - 1) / unit;
    nnf_index begin = units * thread / n_threads * unit, end = units * (thread + 1) / n_threads * unit;
    return (nnf_range){nnf_min(begin, n), nnf_min(end, n)};
}
