/*
 * test_perceptron.c: epochs of the perceptron rule in fenced memory, bit for bit against the rule written down plainly,
 * sizes around the samples that are summed side by side; and that a long epoch can be stopped. What penalties,
 * validation and the delta rule do is tested from Python (tests/test_perceptron.py).
 */
#include "check.h"

#include <math.h>

enum { MAX_SAMPLES = 11, MAX_FEATURES = 40 };

static void zero(nnf_dtype dtype, void *array, nnf_index n)
{
    for (nnf_index i = 0; i < n; i++)
        put(dtype, array, i, 0);
}

/* One epoch in the order 0, 1, 2, ... on dense rows: w (n_features) and the intercept, which is returned. Adds to
 * sum (n_features + 1) the weights and the intercept after each sample but the first *n_unaveraged. */
static double plain_epoch(const nnf_perceptron *p, const void *x, void *w, double intercept, double *sum,
                          int *n_unaveraged)
{
    for (nnf_index i = 0; i < p->n_samples; i++) {
        double product = 0, y = get(p->dtype, p->target, i);
        for (nnf_index j = 0; j < p->n_features; j++)
            product += rounded(p->dtype, get(p->dtype, w, j) * get(p->dtype, x, i * p->n_features + j));
        if (p->held_out[i])
            continue;
        if ((rounded(p->dtype, product) + intercept) * y <= 0) {
            double step = p->eta0 * y * get(p->dtype, p->sample_weight, i);
            for (nnf_index j = 0; j < p->n_features; j++) {
                double change = get(p->dtype, x, i * p->n_features + j) * rounded(p->dtype, step);
                put(p->dtype, w, j, get(p->dtype, w, j) + change);
            }
            intercept += step;
        }
        if (--*n_unaveraged >= 0)
            continue;
        for (nnf_index j = 0; j < p->n_features; j++)
            sum[j] += get(p->dtype, w, j);
        sum[p->n_features] += intercept;
    }
    return intercept;
}

static void test_epochs(nnf_dtype dtype, nnf_index n, nnf_index features)
{
    void *x = fenced(0, dtype, n * features), *y = fenced(1, dtype, n), *sample_weight = fenced(2, dtype, n);
    void *dense = fenced(3, dtype, features), *sparse = fenced(4, dtype, features), *plain = fenced(5, dtype, features);
    int *indices = fenced(6, NNF_FLOAT32, n * features), *indptr = fenced(7, NNF_FLOAT32, n + 1); /* 4 bytes each */
    int dense_order[MAX_SAMPLES], sparse_order[MAX_SAMPLES];
    unsigned char held_out[MAX_SAMPLES];
    fill(dtype, x, n * features, random_number);
    zero(dtype, dense, features);
    zero(dtype, sparse, features);
    zero(dtype, plain, features);
    for (nnf_index i = 0; i < n; i++) {
        put(dtype, y, i, random_bits() % 2 ? 1 : -1);
        put(dtype, sample_weight, i, 0.25 + (double)(random_bits() % 4));
        dense_order[i] = sparse_order[i] = (int)i;
        held_out[i] = random_bits() % 5 == 0;
    }
    for (nnf_index i = 0; i < n * features; i++)
        indices[i] = (int)(i % features);
    for (nnf_index i = 0; i <= n; i++)
        indptr[i] = (int)(i * features);

    nnf_perceptron p = {.dtype = dtype, .n_samples = n, .n_features = features, .x = x, .target = y,
                        .sample_weight = sample_weight, .held_out = held_out, .activation = NNF_STEP, .eta0 = 0.3,
                        .intercept_rate = 1, .weight_negative = 1, .weight_positive = 1, .order = dense_order,
                        .weights = dense, .scale = 1};
    nnf_perceptron s = p;
    s.indptr = indptr;
    s.indices = indices;
    s.order = sparse_order;
    s.weights = sparse;

    /* The dense neuron averages from the first sample on or a later one, the sparse one not at all. */
    double *weight_sum = fenced(8, NNF_FLOAT64, features), plain_sum[MAX_FEATURES + 1] = {0};
    int n_unaveraged = (int)(n % 3), n_trained = 0;
    zero(NNF_FLOAT64, weight_sum, features);
    p.weight_sum = weight_sum;
    p.n_unaveraged = n_unaveraged;
    for (nnf_index i = 0; i < n; i++)
        n_trained += 6 * !held_out[i];

    double intercept = 0;
    for (int epoch = 0; epoch < 6; epoch++) {
        intercept = plain_epoch(&p, x, plain, intercept, plain_sum, &n_unaveraged);
        int ok = nnf_perceptron_epoch(&p, NULL) == NNF_OK && nnf_perceptron_epoch(&s, NULL) == NNF_OK;
        check(ok && p.finite && s.finite, "an epoch of %td rows of %td", n, features);
        check(p.intercept == intercept && s.intercept == intercept, "the intercept, %td rows of %td", n, features);
        for (nnf_index j = 0; j < features; j++) {
            double expected = get(dtype, plain, j);
            check(get(dtype, dense, j) == expected && get(dtype, sparse, j) == expected,
                  "weight %td of float%d, %td rows of %td", j, bits_of(dtype), n, features);
            /* 66 additions to sums of 66 weights below 1e3: 66 * 66 * 1e3 * 2^-53 = 5e-10. */
            check(fabs(weight_sum[j] - plain_sum[j]) <= 1e-9, "sum of weight %td of float%d, %td rows of %td", j,
                  bits_of(dtype), n, features);
        }
        check(p.intercept_sum == plain_sum[features], "sum of the intercepts, %td rows of %td", n, features);
    }
    nnf_index expected = n_trained - (nnf_index)(n % 3);
    check(p.n_averaged == (expected > 0 ? expected : 0), "samples averaged, %td rows of %td", n, features);
    for (int slot = 0; slot < 9; slot++)
        check(intact_before(slot), "nothing is written before array %d", slot);
}

static int n_polls;

static int stop(void)
{
    n_polls++;
    return 1;
}

/* Rows of zeros: pages that are only read take no memory. */
static void test_stop(void)
{
    const nnf_index n = 3, features = 1 << 23;
    float *x = calloc((size_t)(n * features), sizeof(float)), *w = calloc((size_t)features, sizeof(float));
    const float y[3] = {1, 1, 1}, sample_weight[3] = {1, 1, 1};
    const unsigned char held_out[3] = {1, 1, 1};
    int order[3] = {0, 1, 2};
    if (x == NULL || w == NULL) {
        check(0, "memory for a long epoch");
    } else {
        nnf_perceptron p = {.dtype = NNF_FLOAT32, .n_samples = n, .n_features = features, .x = x, .target = y,
                            .sample_weight = sample_weight, .held_out = held_out, .activation = NNF_STEP, .eta0 = 1,
                            .order = order, .weights = w, .scale = 1};
        check(nnf_perceptron_epoch(&p, stop) == NNF_INTERRUPTED && n_polls == 1, "poll stops a long epoch");
        p.n_samples = 1;
        check(nnf_perceptron_epoch(&p, stop) == NNF_OK && n_polls == 1, "a short epoch does not poll");
        check(nnf_perceptron_epoch(&p, NULL) == NNF_OK, "an epoch without poll");
    }
    free(x);
    free(w);
}

static void test_arguments(void)
{
    const double x = 1, one = 1;
    double w = 0;
    int order = 0;
    const nnf_perceptron good = {.dtype = NNF_FLOAT64, .n_samples = 1, .n_features = 1, .x = &x, .target = &one,
                                 .sample_weight = &one, .activation = NNF_STEP, .eta0 = 1, .order = &order,
                                 .weights = &w, .scale = 1};
    nnf_perceptron p = good;
    check(nnf_perceptron_epoch(&p, NULL) == NNF_OK, "good arguments");
    p = good, p.n_samples = 0;
    check(nnf_perceptron_epoch(&p, NULL) == NNF_BAD_ARGUMENT, "no samples");
    p = good, p.n_features = (nnf_index)1 << 31;
    check(nnf_perceptron_epoch(&p, NULL) == NNF_BAD_ARGUMENT, "column numbers beyond int");
    p = good, p.activation = NNF_SOFTMAX;
    check(nnf_perceptron_epoch(&p, NULL) == NNF_BAD_ARGUMENT, "no elementwise activation");
    p = good, p.penalty = NNF_ELASTIC_NET;
    check(nnf_perceptron_epoch(&p, NULL) == NNF_BAD_ARGUMENT, "L1 without its vector");
}

int main(void)
{
    const nnf_index features[] = {1, 2, 3, 4, 5, 7, 8, 9, 16, 17, MAX_FEATURES};
    for (int dtype = 0; dtype < 2; dtype++)
        for (nnf_index n = 1; n <= MAX_SAMPLES; n++)
            for (size_t f = 0; f < sizeof features / sizeof features[0]; f++)
                test_epochs((nnf_dtype)dtype, n, features[f]);
    test_stop();
    test_arguments();
    return report();
}
