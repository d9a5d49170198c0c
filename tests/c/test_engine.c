/*
 * test_engine.c: the parts of the engine that are not kernels: shares and barriers of a team, its size, arenas and
 * allocation failures, names and messages.
 */
#include "check.h"

#include "internal.h"

#include <stdatomic.h>

/* ---- shares ---- */

static void test_shares(void)
{
    const nnf_index sizes[] = {0, 1, 5, 6, 7, 48, 100, 1000}, units[] = {1, 6, 12};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (size_t u = 0; u < sizeof units / sizeof *units; u++)
            for (int n_threads = 1; n_threads <= 17; n_threads++) {
                nnf_index next = 0, most = 0, least = sizes[s];
                int in_order = 1, whole_units = 1;
                for (int thread = 0; thread < n_threads; thread++) {
                    const nnf_range share = nnf_share(sizes[s], units[u], thread, n_threads);
                    const nnf_index length = share.end - share.begin;
                    in_order = in_order && share.begin == next && length >= 0;
                    whole_units = whole_units && (share.end % units[u] == 0 || share.end == sizes[s]);
                    most = length > most ? length : most;
                    least = length < least ? length : least;
                    next = share.end;
                }
                check(in_order && next == sizes[s], "shares of %td cover it once, in order", sizes[s]);
                check(whole_units, "shares of %td are whole units of %td", sizes[s], units[u]);
                check(most - least < 2 * units[u], "shares of %td among %d are even", sizes[s], n_threads);
            }
}

/* ---- the barrier ---- */

enum { ROUNDS = 2000, MOST_THREADS = 4 };

typedef struct meeting {
    atomic_int arrived[ROUNDS];
    atomic_int early;   /* threads that passed a barrier before all had arrived */
    atomic_int members; /* bits of the thread numbers seen */
    int n_threads;
} meeting;

static void meet(void *context, nnf_team *team, int thread, int n_threads)
{
    meeting *m = context;
    atomic_fetch_or(&m->members, 1 << thread);
    if (thread == 0)
        m->n_threads = n_threads;
    for (int round = 0; round < ROUNDS; round++) {
        if (round % 500 == 499 && thread == 0) /* long enough for the others to fall asleep */
            for (volatile int i = 0; i < 1000000; i++) {
            }
        atomic_fetch_add(&m->arrived[round], 1);
        nnf_barrier(team);
        if (atomic_load(&m->arrived[round]) != n_threads)
            atomic_fetch_add(&m->early, 1);
    }
}

static void test_barrier(void)
{
    for (int n_threads = 1; n_threads <= MOST_THREADS; n_threads++) {
        static meeting m;
        memset(&m, 0, sizeof m);
        nnf_parallel(n_threads, meet, &m);
        check(m.n_threads >= 1 && m.n_threads <= n_threads, "a team of %d has %d", n_threads, m.n_threads);
        check(atomic_load(&m.members) == (1 << m.n_threads) - 1, "threads are numbered 0 .. %d", m.n_threads - 1);
        check(atomic_load(&m.early) == 0, "nobody passes a barrier of %d early", n_threads);
    }
}

/* ---- the size of a team ---- */

static void test_team_size(void)
{
    check(nnf_team_size(0, 8) == 1, "no work: one thread");
    check(nnf_team_size(1.9e6, 8) == 1, "little work: one thread");
    check(nnf_team_size(2e6, 8) == 2, "2 MFLOP pay for a second thread");
    check(nnf_team_size(1e30, 8) == 8, "never more than asked for");
    check(nnf_team_limit(0.24e6, 8) == 1 && nnf_team_limit(0.25e6, 8) == 2, "0.25 MFLOP may pay for a second thread");
    check(nnf_team_limit(1e30, 8) == 8, "never more than asked for");
}

/* A machine in place of the clock: what a row takes with a team of n. */
typedef double row_seconds(int n);

/* A network in training on it, in batches of 100 rows. */
typedef struct fit {
    nnf_pace pace;
    int first, most;     /* as nnf_pace_team's */
    int changes;         /* of the team in use */
    double seconds, rows, noise;
    unsigned state; /* of the noise */
    int awake;      /* threads that did the last stretch */
    double waking;  /* seconds that one with more takes longer */
} fit;

static int train_on(fit *f, row_seconds *machine, double stall)
{
    const int team = nnf_pace_team(&f->pace, f->first, f->most), size = f->pace.size;
    const nnf_index rows = nnf_pace_batches(&f->pace, 100) * 100;
    f->state = f->state * 1664525 + 1013904223;
    const double noise = 1 + f->noise * (f->state / 2147483648.0 - 1);
    const double waking = team > f->awake ? f->waking : 0;
    const double seconds = (double)rows * machine(team) * noise + waking + stall;
    f->awake = team;
    nnf_pace_learn(&f->pace, rows, seconds);
    f->changes += f->pace.size != size;
    f->seconds += seconds;
    f->rows += (double)rows;
    return team;
}

/* Goes on for so many seconds; the mean time of a row. */
static double train_for(fit *f, row_seconds *machine, double seconds)
{
    const double end = f->seconds + seconds, start = f->seconds, rows = f->rows;
    while (f->seconds < end)
        train_on(f, machine, 0);
    return (f->seconds - start) / (f->rows - rows);
}

/* Goes on until `size` threads are in use, at most a minute; how long that took. */
static double time_until(fit *f, row_seconds *machine, int size)
{
    const double start = f->seconds;
    while (f->pace.size != size && f->seconds < start + 60)
        train_on(f, machine, 0);
    return f->seconds - start;
}

static double quiet(int n)
{
    return 4e-6 / n;
}

static double busy_host(int n)
{
    return 1.6 * quiet(n);
}

static double hardly_worth_it(int n)
{
    return n == 1 ? 1e-6 : 0.8e-6;
}

static double not_worth_it_now(int n)
{
    return n == 1 ? 1e-6 : 1.15e-6;
}

static double dear_barriers(int n)
{
    return 1e-6 * n;
}

static double three_cpus_taken(int n) /* of 16 */
{
    return n <= 13 ? 4e-6 / n : 8e-6;
}

static double one_cpu_taken(int n) /* of 2 */
{
    return n == 1 ? 4e-6 : 12e-6;
}

static double large_steps(int n)
{
    return 1e-2 / n;
}

static void test_pace(void)
{
    const int sizes[] = {2, 3, 16};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const int n = sizes[i];
        fit f = {.first = n, .most = n};
        train_on(&f, quiet, 0.3); /* creates the threads */
        double ratio = train_for(&f, quiet, 3) / quiet(n);
        check(f.pace.size == n && f.changes == 0, "a team of %d that pays stays", n);
        check(ratio > 1.001 && ratio < 1.02, "trials of fewer than %d cost %.3f", n, ratio);

        f = (fit){.first = n, .most = n};
        check(time_until(&f, dear_barriers, 1) < 0.1, "a team of %d that does not pay shrinks to one", n);
        ratio = train_for(&f, dear_barriers, 3) / dear_barriers(1);
        check(ratio > 1.001 && ratio < 1.02, "trials of more than one cost %.3f", ratio);
        const double back = time_until(&f, quiet, n);
        check(back < 0.5, "a team grows to %d when it pays (%.3f s)", n, back);
    }

    fit f = {.first = 2, .most = 2};
    train_for(&f, quiet, 1);
    for (int stalls = 0; stalls < 10; stalls++) {
        train_on(&f, quiet, 3e-3);
        train_for(&f, quiet, 0.2);
    }
    check(f.changes == 0, "short stalls do not shrink a team");
    for (int hours = 0; hours < 10; hours++) {
        train_for(&f, busy_host, 0.1);
        train_for(&f, quiet, 0.1);
    }
    check(f.changes == 0, "nor do times in which one thread would be slower too");
    check(time_until(&f, one_cpu_taken, 1) < 0.03, "a team shrinks when a neighbour comes");
    check(train_for(&f, one_cpu_taken, 1) < 1.05 * one_cpu_taken(1), "and stays so while it is there");
    check(time_until(&f, quiet, 2) < 0.5, "and grows when it has left");

    f = (fit){.first = 16, .most = 16};
    train_for(&f, quiet, 1);
    check(time_until(&f, three_cpus_taken, 8) < 0.04, "half a team when some CPUs are taken");
    check(train_for(&f, three_cpus_taken, 1) < 1.05 * three_cpus_taken(8) && f.pace.size == 8, "and no less");

    f = (fit){.first = 2, .most = 2, .noise = 0.2};
    train_for(&f, hardly_worth_it, 10);
    check(f.pace.size == 2 && f.changes == 0, "noise does not change the team (%d changes)", f.changes);
    f.noise = 0;
    check(time_until(&f, not_worth_it_now, 1) < 0.04, "half a team goes on when it was faster than the whole is now");

    f = (fit){.first = 2, .most = 2};
    check(nnf_pace_team(&f.pace, 2, 2) == 2, "first the whole team");
    check(nnf_pace_batches(&f.pace, 100) == 1, "with one batch");
    train_for(&f, quiet, 0.1);
    const double length = (double)nnf_pace_batches(&f.pace, 100) * 100 * quiet(2);
    check(length > 0.8e-3 && length < 1.2e-3, "a stretch takes %.2g s", length);
    check(nnf_pace_batches(&f.pace, 1000000) == 1, "at least a batch");
    check(nnf_pace_team(&f.pace, 1, 1) == 1 && nnf_pace_team(&f.pace, 4, 4) == 4, "other numbers: all anew");

    f = (fit){.first = 2, .most = 2};
    check(train_for(&f, large_steps, 24 * 100 * large_steps(2)) < 1.001 * large_steps(2), "a short fit meets no trial");
    f = (fit){.first = 2, .most = 2};
    const double ratio = train_for(&f, large_steps, 300) / large_steps(2);
    check(f.pace.size == 2 && ratio < 1.03, "trials of steps of half a second cost %.3f", ratio);
    train_on(&f, large_steps, 0.4 * 100 * large_steps(2));
    check(f.changes == 0, "one such step that is slow does not shrink a team");
}

/* More threads than the fit begins with may pay. */
static void test_growth(void)
{
    const int sizes[] = {1, 5};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const int first = sizes[i];
        fit f = {.first = first, .most = 16};
        train_on(&f, quiet, 0.3);
        const double growth = time_until(&f, quiet, 16);
        check(f.changes > 0 && growth < 0.15, "a team of %d grows to 16 when they pay (%.3f s)", first, growth);

        f = (fit){.first = first, .most = 16};
        const double ratio = train_for(&f, large_steps, 20 * 100 * large_steps(first)) / large_steps(first);
        check(f.changes == 0 && ratio < 1.001, "a short fit keeps its team of %d", first);
    }
    fit f = {.first = 1, .most = 2, .waking = 0.8e-3};
    const double waking = time_until(&f, hardly_worth_it, 2);
    check(waking < 0.05, "the first trial is won by threads that take time to wake (%.3f s)", waking);

    f = (fit){.first = 1, .most = 2, .waking = 0.8e-3};
    const double ratio = train_for(&f, dear_barriers, 3) / dear_barriers(1);
    check(f.changes == 0 && ratio > 1.001 && ratio < 1.02, "trials of one more that does not pay cost %.3f", ratio);
}

/* ---- memory ---- */

static void test_memory(void)
{
    const nnf_index largest = (nnf_index)(SIZE_MAX / 2);
    nnf_arena arena = {0};
    nnf_take(&arena, 3, 5, 4);
    check(arena.used == NNF_ALIGN && !arena.overflow, "pieces are aligned");
    nnf_take(&arena, 0, largest, 8);
    check(arena.used == NNF_ALIGN && !arena.overflow, "an empty piece takes nothing");
    nnf_take(&arena, largest / 4, 8, 8);
    check(arena.overflow, "a product that overflows is seen");
    arena = (nnf_arena){0};
    nnf_take(&arena, largest / 8, 1, 8);
    check(arena.overflow, "no room for the alignment is seen");

    check(nnf_alloc(SIZE_MAX) == NULL && nnf_scratch_take(SIZE_MAX) == NULL, "more than there is");
    for (nnf_index countdown = 0; countdown < 3; countdown++) {
        nnf_fail_allocation(countdown);
        for (nnf_index i = 0; i < 5; i++) {
            unsigned char *memory = nnf_alloc(100);
            check((memory == NULL) == (i == countdown), "allocation %td of countdown %td", i, countdown);
            check((size_t)memory % NNF_ALIGN == 0, "aligned");
            nnf_free(memory);
        }
    }
    for (nnf_index countdown = 0; countdown < 3; countdown++) {
        nnf_fail_allocation(countdown);
        for (nnf_index i = 0; i < 5; i++) {
            void *memory = nnf_scratch_take(100);
            check((memory == NULL) == (i == countdown), "scratch %td of countdown %td", i, countdown);
            if (memory != NULL)
                nnf_scratch_give(memory);
        }
    }
    nnf_fail_allocation(-1);

    char *first = nnf_scratch_take(1000), *second = nnf_scratch_take(1000);
    check(first != second && (size_t)first % NNF_ALIGN == 0 && (size_t)second % NNF_ALIGN == 0, "a block for each");
    memset(first, 1, 1000);
    memset(second, 1, 1000);
    nnf_scratch_give(first);
    nnf_scratch_give(second);
    char *third = nnf_scratch_take(500), *large = nnf_scratch_take(2000);
    check(third == second, "the last block that came back is used again");
    memset(large, 1, 2000);
    nnf_scratch_give(third);
    nnf_scratch_give(large);
    char *most = nnf_scratch_take(NNF_SPARE_BYTES + 1);
    check(most != NULL, "more than is kept");
    nnf_scratch_give(most);
}

/* ---- names ---- */

static void test_names(void)
{
    check(strcmp(nnf_activation_name(NNF_LEAKY_RELU), "leaky_relu") == 0, "an activation has its name");
    check(strcmp(nnf_activation_name(NNF_SOFTMAX), "softmax") == 0, "softmax follows the elementwise ones");
    check(strcmp(nnf_activation_name(NNF_ORDERED), "ordered") == 0, "then comes the other one of rows");
    check(nnf_activation_name(NNF_ORDERED + 1) == NULL && nnf_activation_name(-1) == NULL, "no name outside the table");
    check(nnf_loss_name(NNF_N_LOSSES - 1) != NULL && nnf_loss_name(NNF_N_LOSSES) == NULL, "every loss has a name");
    check(nnf_solver_name(NNF_N_SOLVERS - 1) != NULL && nnf_solver_name(NNF_N_SOLVERS) == NULL, "every solver too");
    for (int status = NNF_OK; status <= NNF_INTERRUPTED; status++)
        check(strlen(nnf_status_message((nnf_status)status)) > 5, "status %d has a message", status);
}

int main(void)
{
    test_shares();
    test_barrier();
    test_team_size();
    test_pace();
    test_growth();
    test_memory();
    test_names();
    return report();
}
