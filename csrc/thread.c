/*
 * thread.c: the barrier of a team, the shares of its work, and the question whether to stop.
 */
#include "team.h"

/* Looks at a gate before a thread sleeps: about 20 us, which covers the usual difference between two threads of a step
 * and is short enough that a team whose CPUs are taken away does not burn them. */
enum { SPINS = 1000 };

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb");
#endif
}

void nnf_gate_open(nnf_gate *gate)
{
    atomic_fetch_add(&gate->passed, 1);
    if (atomic_load(&gate->sleepers) > 0) {
        nnf_lock(&gate->mutex);
        nnf_wake_all(&gate->wake);
        nnf_unlock(&gate->mutex);
    }
}

void nnf_gate_wait(nnf_gate *gate, unsigned passed)
{
    for (int spin = 0; spin < SPINS; spin++) {
        if (atomic_load_explicit(&gate->passed, memory_order_acquire) != passed)
            return;
        relax();
    }
    nnf_lock(&gate->mutex);
    atomic_fetch_add(&gate->sleepers, 1); /* before the look: who opens counts first, then looks for sleepers */
    while (atomic_load(&gate->passed) == passed)
        nnf_sleep(&gate->wake, &gate->mutex);
    atomic_fetch_sub(&gate->sleepers, 1);
    nnf_unlock(&gate->mutex);
}

void nnf_barrier(nnf_team *team)
{
    if (team->n_threads == 1)
        return;
    const unsigned passed = atomic_load(&team->barrier.passed);
    if (atomic_fetch_add(&team->arrived, 1) < team->n_threads - 1) {
        nnf_gate_wait(&team->barrier, passed);
    } else {
        atomic_store(&team->arrived, 0);
        nnf_gate_open(&team->barrier);
    }
}

void nnf_team_end(nnf_team *team)
{
    nnf_end_condition(&team->barrier.wake);
    nnf_end_mutex(&team->barrier.mutex);
}

void nnf_work_alone(nnf_work *work, void *context)
{
    static nnf_team alone = {.n_threads = 1}; /* its barrier reads nothing else */
    work(context, &alone, 0, 1);
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
