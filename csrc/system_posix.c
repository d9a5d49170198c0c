/*
 * system_posix.c: system.h and the clock for Linux, macOS and their kin.
 */
#define _GNU_SOURCE /* sched_getaffinity */
#include "internal.h"
#include "system.h"

#include <sched.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

double nnf_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void nnf_lock(nnf_mutex *mutex)
{
    pthread_mutex_lock(mutex);
}

void nnf_unlock(nnf_mutex *mutex)
{
    pthread_mutex_unlock(mutex);
}

void nnf_sleep(nnf_condition *condition, nnf_mutex *mutex)
{
    pthread_cond_wait(condition, mutex);
}

void nnf_wake_all(nnf_condition *condition)
{
    pthread_cond_broadcast(condition);
}

void nnf_end_mutex(nnf_mutex *mutex)
{
    pthread_mutex_destroy(mutex);
}

void nnf_end_condition(nnf_condition *condition)
{
    pthread_cond_destroy(condition);
}

/* A thread starts with the signal mask of its creator. With every signal blocked, Ctrl-C reaches a thread of Python. */
bool nnf_start_thread(nnf_thread_work *work, void *argument)
{
    pthread_t thread;
    sigset_t all, before;
    sigfillset(&all);
    if (pthread_sigmask(SIG_SETMASK, &all, &before) != 0)
        return false;
    const bool started = pthread_create(&thread, NULL, work, argument) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (started)
        pthread_detach(thread);
    return started;
}

void nnf_watch_forks(void (*act)(void))
{
    static atomic_bool watched = false;
    if (!atomic_exchange(&watched, true))
        pthread_atfork(NULL, NULL, act);
}

int nnf_system_processors(void)
{
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) /* it fails on a machine of more than 1024 CPUs */
        return CPU_COUNT(&set);
#endif
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (int)online : 1;
}
