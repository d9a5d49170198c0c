/*
 * pace.c: the size of a team, first by the work of a step, then by measured times.
 */
#include "internal.h"

static int team_for(double flop, double flop_of_thread, int n_threads)
{
    const double wanted = 1 + flop / flop_of_thread;
    return wanted < n_threads ? (int)wanted : n_threads;
}

int nnf_team_size(double flop, int n_threads)
{
    /* Two threads on one step cost two barriers and the sharing of its caches, about what 2 MFLOP take where the CPUs
     * are far apart: of two in one virtual machine 16 us were lost, at other hours 2. */
    return team_for(flop, 2e6, n_threads);
}

int nnf_team_limit(double flop, int n_threads)
{
    /* Where they are near, steps of 0.26 MFLOP gain from a second thread (10-32-32-1 with 32 rows, 1.2 times). */
    return team_for(flop, 0.25e6, n_threads);
}

/* A region costs 1 to 3 us, 0.3 % of a stretch. */
static const double stretch = 1e-3;

/* The time over which the team in use is judged, and how much slower than before it must at least be to be halved: a
 * stall of 3 ms, such as the host of a virtual machine causes, is not enough; a lasting change shows within 20 ms. */
static const double memory = 16e-3, slower = 1.25;

/* A trial is lost when after `glance` or later it is not faster by `margin`, and won after `proof`: more than the 3 or
 * 4 ms for which Linux lets a thread run before its neighbour's turn, and a team looks as if it had no neighbour. Its
 * first stretch counts for neither unless it takes as long as a glance: until a second thread was awake, 20-64-64-1
 * with 32 rows took 1.1 to 1.4 times as long as with one, then 0.7 times. */
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

int nnf_pace_team(nnf_pace *pace, int first, int most)
{
    if (pace->first != first || pace->most != most)
        *pace = (nnf_pace){.first = first, .most = most, .size = first, .up = true, .rest = memory};
    return pace->trial > 0 ? pace->trial : pace->size;
}

nnf_index nnf_pace_batches(const nnf_pace *pace, nnf_index batch)
{
    const double fit = pace->known > 0 ? stretch / (pace->known * (double)batch) : 1;
    return fit > 1.5 ? (nnf_index)(fit + 0.5) : 1;
}

static void begin_trial(nnf_pace *pace)
{
    pace->up = pace->size == 1 || (pace->size < pace->most && pace->up);
    pace->trial = pace->up ? (int)nnf_min(2 * (nnf_index)pace->size, pace->most) : pace->size / 2;
    pace->waking = pace->tried = (nnf_tally){0};
}

static double mean(const nnf_tally *t)
{
    return t->seconds / t->rows;
}

static void end_trial(nnf_pace *pace, bool won)
{
    if (won) { /* the next trial goes further in this direction */
        pace->half = pace->trial / 2 == pace->size ? pace->known : 0; /* the old team may be half of the new one */
        pace->size = pace->trial;
        pace->recent = pace->tried;
        pace->known = mean(&pace->recent);
        pace->rest = proof;
    } else {
        const nnf_tally *waking = &pace->waking, *tried = &pace->tried;
        const double fair = (waking->rows + tried->rows) * pace->known; /* what the team in use takes for these rows */
        const double rest = frugality * (waking->seconds + tried->seconds - fair);
        const double most = greater(frugality * fair, stall_rest);
        pace->rest = greater(least_rest * fair, rest < most ? rest : most);
        if (!pace->up && (pace->half == 0 || pace->half > mean(tried)))
            pace->half = mean(tried);
        pace->up = !pace->up;
    }
    pace->trial = 0;
    pace->least = pace->known;
}

/* Whether the team is so much slower than it was that half of it would be faster, which takes what it took when it was
 * tried: before that, as if every thread counted. With `slower` alone two threads of 784-512-512-10, which are 1.85
 * times as fast as one, were given up for a third less speed: beside a process that runs for 5 ms in 50 a step now
 * takes 6 % less in the mean. */
static bool is_overtaken(const nnf_pace *pace)
{
    if (pace->size == 1 || pace->least == 0)
        return false;
    const double half = pace->half > 0 ? pace->half : pace->least * pace->size / (pace->size / 2);
    return pace->known > greater(slower * pace->least, half);
}

/* Half the team, untried: while a neighbour interferes, a trial of a few milliseconds says little. */
static void retreat(nnf_pace *pace)
{
    pace->size /= 2;
    pace->up = true;
    pace->recent = (nnf_tally){0};
    pace->least = pace->half = 0;
    pace->rest = memory;
}

static void learn_from_trial(nnf_pace *pace, double rows, double seconds)
{
    nnf_tally *t = &pace->tried;
    const bool first = pace->waking.rows + t->rows == 0;
    if (first && seconds < glance) {
        pace->waking = (nnf_tally){rows, seconds};
        return;
    }
    *t = (nnf_tally){t->rows + rows, t->seconds + seconds};
    const bool faster = t->seconds < (1 - margin) * t->rows * pace->known;
    if (t->seconds > (faster ? proof : glance))
        end_trial(pace, faster);
}

void nnf_pace_learn(nnf_pace *pace, nnf_index rows, double seconds)
{
    if (pace->known == 0) { /* the first stretch of all, which may have created the threads */
        pace->known = seconds / (double)rows;
    } else if (pace->trial > 0) {
        learn_from_trial(pace, (double)rows, seconds);
    } else {
        nnf_tally *t = &pace->recent;
        const double kept = memory / (memory + seconds);
        *t = (nnf_tally){kept * t->rows + (double)rows, kept * t->seconds + seconds};
        pace->known = mean(t);
        if (pace->least > pace->known)
            pace->least = pace->known;
        pace->rest -= seconds;
        pace->age += seconds;
        if (is_overtaken(pace))
            retreat(pace);
        else if (pace->rest <= 0 && pace->age >= first_trial * seconds)
            begin_trial(pace);
    }
}
