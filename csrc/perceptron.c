/*
 * perceptron.c: one epoch of a single neuron, sample by sample; by Rosenblatt's rule (step) or by the delta rule (any
 * other activation). Nothing is allocated here: the caller owns the weights and the order of the samples.
 *
 * Every rounding is the one that scikit-learn's SGD makes, so that with `step` the weights agree bit for bit: products
 * are rounded to the element type, then added in feature order in float64. A fused multiply-add, or partial sums in the
 * lanes of a vector, would break the exact ties (w x + b == 0) that decide whether a sample is learned from. What may
 * run side by side are whole samples: see V(epoch) in perceptron.inc.h.
 */
#include "internal.h"

#include <float.h>
#include <limits.h>
#include <math.h>

/* Samples whose products with the weights are summed side by side. One sum in feature order waits 3 to 4 cycles for
 * each addition; four of them take the same time. */
enum { AHEAD = 4 };

/* Features read between two calls of poll: 10 to 50 ms. */
enum { POLL_FEATURES = 1 << 24 };

/* While the L2 penalty shrinks the scale, weight_sum and scale_sum * weights grow and cancel each other. They are added
 * up when either may be this much larger than the sum: that keeps 12 digits of the average or more, and costs a pass
 * over the weights after more than ln(MOST_CANCELLED) / (eta0 alpha) samples. */
#define MOST_CANCELLED 1e3

/* Marsaglia's xorshift32 (Journal of Statistical Software 8(14), 2003, shifts 13, 17, 5), its lower 31 bits. */
static uint32_t next_random(uint32_t *seed)
{
    uint32_t x = *seed;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    *seed = x;
    return x & INT32_MAX;
}

/* Fisher and Yates, from the front. */
static void shuffle(int *order, nnf_index n, uint32_t seed)
{
    if (seed == 0) /* the one state that xorshift cannot leave */
        seed = 1;
    for (uint32_t i = 0; i + 1 < (uint32_t)n; i++) {
        uint32_t j = i + next_random(&seed) % ((uint32_t)n - i);
        int picked = order[j];
        order[j] = order[i];
        order[i] = picked;
    }
}

#define T float
#define V(name) f32_##name
#define SMALLEST_SCALE 1e-6
#include "perceptron.inc.h"
#undef T
#undef V
#undef SMALLEST_SCALE

#define T double
#define V(name) f64_##name
#define SMALLEST_SCALE 1e-9
#include "perceptron.inc.h"

nnf_status nnf_perceptron_epoch(nnf_perceptron *p, int (*poll)(void))
{
    if (p->n_samples < 1 || p->n_features < 1 || p->n_samples > INT_MAX || p->n_features > INT_MAX)
        return NNF_BAD_ARGUMENT;
    if (p->activation < 0 || p->activation >= NNF_N_ACTIVATIONS)
        return NNF_BAD_ARGUMENT;
    if ((p->penalty & NNF_L1) != 0 && p->l1_applied == NULL)
        return NNF_BAD_ARGUMENT;

    for (nnf_index i = 0; i < p->n_samples; i++)
        if (p->order[i] < 0 || p->order[i] >= p->n_samples)
            return NNF_BAD_ARGUMENT;

    const nnf_kernels *kernels = nnf_active_kernels(p->dtype);
    if (p->shuffle)
        shuffle(p->order, p->n_samples, p->seed);
    return p->dtype == NNF_FLOAT32 ? f32_any_epoch(p, kernels, poll) : f64_any_epoch(p, kernels, poll);
}

void nnf_perceptron_rescale(nnf_perceptron *p)
{
    if (p->dtype == NNF_FLOAT32)
        f32_rescale(p);
    else
        f64_rescale(p);
}
