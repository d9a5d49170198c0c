/*
 * system_windows.c: system.h and the clock for Windows.
 */
#include "internal.h"
#include "system.h"

double nnf_seconds(void)
{
    LARGE_INTEGER now, per_second;
    QueryPerformanceCounter(&now);
    QueryPerformanceFrequency(&per_second);
    return (double)now.QuadPart / (double)per_second.QuadPart;
}

void nnf_lock(nnf_mutex *mutex)
{
    AcquireSRWLockExclusive(mutex);
}

void nnf_unlock(nnf_mutex *mutex)
{
    ReleaseSRWLockExclusive(mutex);
}

void nnf_sleep(nnf_condition *condition, nnf_mutex *mutex)
{
    SleepConditionVariableSRW(condition, mutex, INFINITE, 0);
}

void nnf_wake_all(nnf_condition *condition)
{
    WakeAllConditionVariable(condition);
}

void nnf_end_mutex(nnf_mutex *mutex)
{
    (void)mutex; /* it holds nothing */
}

void nnf_end_condition(nnf_condition *condition)
{
    (void)condition;
}

bool nnf_start_thread(nnf_thread_work *work, void *argument)
{
    const HANDLE thread = CreateThread(NULL, 0, work, argument, 0, NULL);
    if (thread == NULL)
        return false;
    CloseHandle(thread);
    return true;
}

void nnf_watch_forks(void (*act)(void))
{
    (void)act;
}

int nnf_system_processors(void)
{
    DWORD_PTR process, system;
    /* The masks are of one group of at most 64 CPUs. They are 0 for a process that runs in several. */
    if (!GetProcessAffinityMask(GetCurrentProcess(), &process, &system) || process == 0 || process == system)
        return (int)GetActiveProcessorCount(ALL_PROCESSOR_GROUPS);
    int count = 0;
    for (; process != 0; process &= process - 1)
        count++;
    return count;
}
