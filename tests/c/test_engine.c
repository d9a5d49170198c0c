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
}

/* A second of run by a team of four whose calling thread was busy for this share of it. */
static void run_of(nnf_pace *pace, double seconds, double share)
{
    nnf_pace_learn(pace, nnf_pace_team(pace, 4), seconds, share * seconds);
}

static void test_pace(void)
{
    nnf_pace pace = {0};
    for (int i = 0; i < 50; i++)
        run_of(&pace, 1, 0.99);
    check(nnf_pace_team(&pace, 4) == 4, "a quiet team stays");
    run_of(&pace, 1e-4, 0.1);
    check(nnf_pace_team(&pace, 4) == 4, "a short run says nothing");

    run_of(&pace, 9, 0.5);
    run_of(&pace, 9, 0.5);
    run_of(&pace, 1, 0.99);
    check(nnf_pace_team(&pace, 4) == 4, "so do two that wait");
    run_of(&pace, 9, 0.5);
    run_of(&pace, 1, 0.5);
    run_of(&pace, 9, 0.5);
    check(nnf_pace_team(&pace, 4) == 2, "a waiting team is halved on trial");
    check(nnf_pace_team(&pace, 1) == 1, "never more than wanted");
    run_of(&pace, 1.2, 0.99); /* not as fast as the fastest before */
    check(nnf_pace_team(&pace, 4) == 4, "slower: the trial is over");
    int runs = 0;
    while (nnf_pace_team(&pace, 4) == 4 && runs < 100) {
        run_of(&pace, 1, 0.5);
        runs++;
    }
    check(runs > 5 && runs < 20, "the next trial waits (%d runs)", runs);
    run_of(&pace, 0.8, 0.99);
    check(nnf_pace_team(&pace, 4) == 2, "faster: the small team is kept");
    for (runs = 0; nnf_pace_team(&pace, 4) == 2 && runs < 100; runs++)
        run_of(&pace, 0.8, 0.99);
    check(runs > 10 && runs < 40, "the wanted team is tried again (after %d runs)", runs);
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
    check(nnf_activation_name(NNF_SOFTMAX + 1) == NULL && nnf_activation_name(-1) == NULL, "no name outside the table");
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
    test_memory();
    test_names();
    return report();
}
