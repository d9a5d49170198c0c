/*
 * team.h: what thread.c shares with the teams, of which one is compiled: team_openmp.c, whose threads are OpenMP's, or
 * team_native.c, whose threads are our own.
 */
#ifndef NNF_TEAM_H
#define NNF_TEAM_H

#include "internal.h"
#include "system.h"

/* A place where threads wait for an event that happens again and again: they remember how many they have `passed`, and
 * wait for the next. Waiting is a bounded spin, then sleep. */
typedef struct nnf_gate {
    atomic_uint passed;
    atomic_int sleepers;
    nnf_mutex mutex;
    nnf_condition wake;
} nnf_gate;

#define NNF_GATE_INIT {.mutex = NNF_MUTEX_INIT, .wake = NNF_CONDITION_INIT}

/* The event happens: passed grows by one. What the caller did before is seen by those who were waiting for it. */
void nnf_gate_open(nnf_gate *gate);

/* Waits until more than `passed` have happened. */
void nnf_gate_wait(nnf_gate *gate, unsigned passed);

/* The threads of one region, on the stack of the one that opened it. */
struct nnf_team {
    int n_threads;
    atomic_int arrived; /* at the barrier */
    nnf_gate barrier;
};

#define NNF_TEAM_INIT {.n_threads = 1, .barrier = NNF_GATE_INIT}

/* Before its memory goes, when all threads have left it. */
void nnf_team_end(nnf_team *team);

/* The work of a team of one. */
void nnf_work_alone(nnf_work *work, void *context);

#endif
