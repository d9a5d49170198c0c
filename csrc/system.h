/*
 * system.h: what the engine asks of the operating system about threads. system_posix.c and system_windows.c answer it;
 * one of them is compiled. For thread.c and the teams.
 */
#ifndef NNF_SYSTEM_H
#define NNF_SYSTEM_H

#include <stdbool.h>

/* A mutex and a condition are initialised by constants, so that making one cannot fail. */
#ifdef _WIN32
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

typedef SRWLOCK nnf_mutex;
typedef CONDITION_VARIABLE nnf_condition;
typedef DWORD nnf_thread_result;
#define NNF_MUTEX_INIT SRWLOCK_INIT
#define NNF_CONDITION_INIT CONDITION_VARIABLE_INIT
#else
#include <pthread.h>

typedef pthread_mutex_t nnf_mutex;
typedef pthread_cond_t nnf_condition;
typedef void *nnf_thread_result;
#define NNF_MUTEX_INIT PTHREAD_MUTEX_INITIALIZER
#define NNF_CONDITION_INIT PTHREAD_COND_INITIALIZER
#endif

void nnf_lock(nnf_mutex *mutex);
void nnf_unlock(nnf_mutex *mutex);

/* Gives the mutex back, sleeps until woken, which may happen without a reason, and takes the mutex again. */
void nnf_sleep(nnf_condition *condition, nnf_mutex *mutex);
void nnf_wake_all(nnf_condition *condition);

/* Before their memory goes. */
void nnf_end_mutex(nnf_mutex *mutex);
void nnf_end_condition(nnf_condition *condition);

/* What a thread runs. It returns 0. */
typedef nnf_thread_result nnf_thread_work(void *argument);

/* Runs work(argument) on a new thread, for which nobody waits and which handles no signal; false: it cannot be had. */
bool nnf_start_thread(nnf_thread_work *work, void *argument);

/* From now on `act` is called in every forked child, before fork returns there. Only the first call counts. Nothing on
 * Windows, where nobody forks. */
void nnf_watch_forks(void (*act)(void));

/* CPUs that the calling thread may run on, and the threads that it starts. */
int nnf_system_processors(void);

#endif
