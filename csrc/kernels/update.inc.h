/*
 * update.inc.h: the optimizers, each on a block of weights. One function and one case a solver.
 *
 * The gradient of the mean loss is g = (dw + alpha w) / rows; dw, its sum over the rows of the batch, comes straight
 * from the product X^T delta. Weights are read before they are written: the penalty acts on the weights before the
 * update. The step starts from (1 - decay) w: Loshchilov and Hutter 2019, algorithm 2, in PyTorch's form, where decay
 * is the learning rate, without Adam's bias corrections, times weight_decay. No decay is a factor of 1, which changes
 * no bit.
 */

typedef struct V(constants) {
    VT alpha, inv_rows, rate, momentum, beta_1, beta_2, rest_1, rest_2, epsilon, keep;
} V(constants);

/* Moments below the smallest normal number become 0: a unit that has died would otherwise leave subnormal moments for
 * ever, and some CPUs work on those many times slower. */
NNF_INLINE VT V(flush)(VT x)
{
    return V(select)(V(lt)(V(abs)(x), V(set1)(SMALLEST_NORMAL)), V(zero)(), x);
}

NNF_INLINE VT V(sgd)(const V(constants) *s, VT w, VT g, VT *s1, VT *s2)
{
    (void)s1, (void)s2;
    return V(nfma)(s->rate, g, w);
}

NNF_INLINE VT V(momentum)(const V(constants) *s, VT w, VT g, VT *s1, VT *s2)
{
    (void)s2;
    *s1 = V(flush)(V(nfma)(s->rate, g, V(mul)(s->momentum, *s1)));
    return V(add)(w, *s1);
}

NNF_INLINE VT V(nesterov)(const V(constants) *s, VT w, VT g, VT *s1, VT *s2)
{
    (void)s2;
    *s1 = V(flush)(V(nfma)(s->rate, g, V(mul)(s->momentum, *s1)));
    return V(add)(w, V(nfma)(s->rate, g, V(mul)(s->momentum, *s1)));
}

/* Kingma and Ba 2015, section 2; `rate` holds both bias corrections, epsilon is added outside them, as in
 * scikit-learn. */
NNF_INLINE VT V(adam)(const V(constants) *s, VT w, VT g, VT *s1, VT *s2)
{
    *s1 = V(flush)(V(fma)(s->beta_1, *s1, V(mul)(s->rest_1, g)));
    *s2 = V(flush)(V(fma)(s->beta_2, *s2, V(mul)(s->rest_2, V(mul)(g, g))));
    VT direction = V(div)(V(mul)(s->rate, *s1), V(add)(V(sqrt)(*s2), s->epsilon));
    return V(sub)(w, direction);
}

/* No step: the gradient itself, into s1. */
NNF_INLINE VT V(gradient)(const V(constants) *s, VT w, VT g, VT *s1, VT *s2)
{
    (void)s, (void)s2;
    *s1 = g;
    return w;
}

#define SOLVER(NAME, name, n_states)                                                             \
    case NAME:                                                                                   \
        for (nnf_index i = 0; i < rows; i++)                                                     \
            for (nnf_index j = i * ld; j < i * ld + n; j += LANES, dw += LANES) {                \
                VT vw = V(load)(w + j);                                                          \
                VT vs1 = (n_states) > 0 ? V(load)(s1 + j) : V(zero)();                           \
                VT vs2 = (n_states) > 1 ? V(load)(s2 + j) : V(zero)();                           \
                VT vg = V(mul)(V(fma)(s.alpha, vw, V(load)(dw)), s.inv_rows);                    \
                V(store)(w + j, V(name)(&s, V(mul)(s.keep, vw), vg, &vs1, &vs2));                \
                if ((n_states) > 0)                                                              \
                    V(store)(s1 + j, vs1);                                                       \
                if ((n_states) > 1)                                                              \
                    V(store)(s2 + j, vs2);                                                       \
            }                                                                                    \
        break;
static void V(update)(int solver, const nnf_update *u)
{
    const V(constants) s = {
        .alpha = V(set1)((T)u->alpha),
        .inv_rows = V(set1)((T)u->inv_rows),
        .rate = V(set1)((T)u->rate),
        .momentum = V(set1)((T)u->momentum),
        .beta_1 = V(set1)((T)u->beta_1),
        .beta_2 = V(set1)((T)u->beta_2),
        .rest_1 = V(set1)((T)(1 - u->beta_1)),
        .rest_2 = V(set1)((T)(1 - u->beta_2)),
        .epsilon = V(set1)((T)u->epsilon),
        .keep = V(set1)((T)(1 - u->decay)),
    };
    const nnf_index joined = u->ld == u->n, rows = joined ? 1 : u->rows, n = joined ? u->rows * u->n : u->n, ld = u->ld;
    T *w = (T *)u->w, *s1 = (T *)u->s1, *s2 = (T *)u->s2;
    const T *dw = (const T *)u->dw;
    switch (solver) {
        SOLVER(NNF_SGD, sgd, 0)
        SOLVER(NNF_MOMENTUM, momentum, 1)
        SOLVER(NNF_NESTEROV, nesterov, 1)
        SOLVER(NNF_ADAM, adam, 2)
        SOLVER(NNF_GRADIENT, gradient, 1)
    default:
        break;
    }
}
#undef SOLVER
