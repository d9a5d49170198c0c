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

double nnf_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* ---- the choice of a team by measured times ---- */

/* A region costs 1 to 3 us, 0.3 % of a stretch. */
static const double stretch = 1e-3;

/* The time over which the team in use is judged, and how much slower than before it must be to be halved: a stall of
 * 3 ms, such as the host of a virtual machine causes, is not enough; a lasting change shows within 20 ms. */
static const double memory = 16e-3, slower = 1.25;

/* A trial is lost when after `glance` or later it is not faster by `margin`, and won after `proof`: more than the 3 or
 * 4 ms for which Linux lets a thread run before its neighbour's turn, and a team looks as if it had no neighbour. */
static const double glance = 2e-3, margin = 0.05, proof = 8e-3;

/* The rest after a trial is so many times what it lost: trials cost 1 %. It is at least 8 times what the team in use
 * would have taken. When more than that time itself was lost it is a stall, which may soon be over, and the rest is
 * 0.4 s at most, or what a team half as fast is given. */
static const double frugality = 100, least_rest = 8, stall_rest = 0.4;

/* There is no trial before the fit has lasted so many stretches as long as the last: of a large network a stretch is
 * one step, and half the team may take twice as long for it. */
static const double first_trial = 25;

static double greater(double a, double b)
{
    return a > b ? a : b;
}

int nnf_pace_team(nnf_pace *pace, int wanted)
{
    if (pace->wanted != wanted)
        *pace = (nnf_pace){.wanted = wanted, .size = wanted, .rest = memory};
    return pace->trial > 0 ? pace->trial : pace->size;
}

nnf_index nnf_pace_batches(const nnf_pace *pace, nnf_index batch)
{
    const double fit = pace->known > 0 ? stretch / (pace->known * (double)batch) : 1;
    return fit > 1.5 ? (nnf_index)(fit + 0.5) : 1;
}

static void begin_trial(nnf_pace *pace)
{
    pace->up = pace->size == 1 || (pace->size < pace->wanted && pace->up);
    pace->trial = pace->up ? (int)nnf_min(2 * pace->size, pace->wanted) : pace->size / 2;
    pace->tried = (nnf_tally){0};
}

static void end_trial(nnf_pace *pace, bool won)
{
    if (won) { /* the next trial goes further in this direction */
        pace->size = pace->trial;
        pace->recent = pace->tried;
        pace->known = pace->recent.seconds / pace->recent.rows;
        pace->rest = proof;
    } else {
        const double fair = pace->tried.rows * pace->known; /* what the team in use takes for the same rows */
        const double rest = frugality * (pace->tried.seconds - fair), most = greater(frugality * fair, stall_rest);
        pace->rest = greater(least_rest * fair, rest < most ? rest : most);
        pace->up = !pace->up;
    }
    pace->trial = 0;
    pace->least = pace->known;
}

/* Half the team, untried: while a neighbour interferes, a trial of a few milliseconds says little. */
static void retreat(nnf_pace *pace)
{
    pace->size /= 2;
    pace->up = true;
    pace->recent = (nnf_tally){0};
    pace->least = 0;
    pace->rest = memory;
}

void nnf_pace_learn(nnf_pace *pace, nnf_index rows, double seconds)
{
    if (pace->known == 0) { /* the first stretch of all, which may have created the threads */
        pace->known = seconds / (double)rows;
    } else if (pace->trial > 0) {
        nnf_tally *t = &pace->tried;
        *t = (nnf_tally){t->rows + (double)rows, t->seconds + seconds};
        const bool faster = t->seconds < (1 - margin) * t->rows * pace->known;
        if (t->seconds > (faster ? proof : glance))
            end_trial(pace, faster);
    } else {
        nnf_tally *t = &pace->recent;
        const double kept = memory / (memory + seconds);
        *t = (nnf_tally){kept * t->rows + (double)rows, kept * t->seconds + seconds};
        pace->known = t->seconds / t->rows;
        if (pace->least > pace->known)
            pace->least = pace->known;
        pace->rest -= seconds;
        pace->age += seconds;
        if (pace->size > 1 && pace->least > 0 && pace->known > slower * pace->least)
            retreat(pace);
        else if (pace->rest <= 0 && pace->age >= first_trial * seconds)
            begin_trial(pace);
    }
}

/* ---- the question whether to stop ---- */

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
