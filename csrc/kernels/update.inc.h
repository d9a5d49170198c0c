/*
 * update.inc.h: the optimizers, each on a block of weights: one rule and one row in solver.def each.
 *
 * The gradient of the mean loss is g = (dw + alpha w) / rows; dw, its sum over the rows of the batch, comes straight
 * from the product X^T delta. Weights are read before they are written: the penalty acts on the weights before the
 * update. The step starts from (1 - decay) w: Loshchilov and Hutter 2019, algorithm 2, in PyTorch's form, where decay
 * is the learning rate, without bias corrections, times weight_decay. No decay is a factor of 1, which changes no bit.
 *
 * The L1 penalty is no part of g, whose sign would only make weights rattle around 0. After the step they are drawn
 * towards 0 by l1 times the reach of the rule, and stay there when that is more than is left (forward-backward
 * splitting: Duchi and Singer 2009). The reach is how far a gradient of 1 since the first step would move the weight in
 * this one: so the penalty moves a weight as a gradient of l1 would, with running means that have only begun, too.
 * With an optimizer that scales each weight by itself it is each weight's own.
 */

typedef struct V(constants) {
    VT rate, gradient_rate, reach, momentum, beta_1, beta_2, rest_1, rest_2, epsilon, l1;
} V(constants);

/* The weight after a step that starts from w. s1 and s2 are its states, `reach` is asked for with an L1 penalty. */
typedef VT V(rule)(const V(constants) *s, VT w, VT g, VT *s1, VT *s2, VT *reach);

/* Moments below the smallest normal number become 0: a unit that has died would otherwise leave subnormal moments for
 * ever, and some CPUs work on those many times slower. */
NNF_INLINE VT V(flush)(VT x)
{
    return V(zero_where)(V(lt)(V(abs)(x), V(set1)(SMALLEST_NORMAL)), x);
}

/* Of means of squares, which have no sign to take off: Adam takes 6 % less time so (Zen 3). One below 0, which no
 * training leaves, becomes 0. */
NNF_INLINE VT V(flush_square)(VT x)
{
    return V(zero_where)(V(lt)(x, V(set1)(SMALLEST_NORMAL)), x);
}

/* x, towards 0 by `by` >= 0 and not beyond. NaN stays. */
NNF_INLINE VT V(shrink)(VT x, VT by)
{
    return V(zero_where)(V(lt)(V(abs)(x), by), V(sub)(x, V(copysign)(by, x)));
}

/* x within +-limit; NaN where x is infinite or NaN: that training diverges is not hidden. */
NNF_INLINE VT V(clamp)(VT x, VT limit)
{
    return V(select)(V(lt)(limit, V(abs)(x)), V(add)(V(copysign)(limit, x), V(sub)(x, x)), x);
}

/* -1, 0 or 1, or NaN as above. */
NNF_INLINE VT V(sign)(VT x)
{
    return V(select)(V(lt)(V(zero)(), V(abs)(x)), V(add)(V(copysign)(V(set1)(1), x), V(sub)(x, x)), x);
}

NNF_INLINE VT V(sgd)(const V(constants) *s, VT w, VT g, VT *s1, VT *s2, VT *reach)
{
    (void)s1, (void)s2;
    *reach = s->reach;
    return V(nfma)(s->rate, g, w);
}

NNF_INLINE VT V(momentum)(const V(constants) *s, VT w, VT g, VT *s1, VT *s2, VT *reach)
{
    (void)s2;
    *s1 = V(flush)(V(nfma)(s->rate, g, V(mul)(s->momentum, *s1)));
    *reach = s->reach;
    return V(add)(w, *s1);
}

NNF_INLINE VT V(nesterov)(const V(constants) *s, VT w, VT g, VT *s1, VT *s2, VT *reach)
{
    (void)s2;
    *s1 = V(flush)(V(nfma)(s->rate, g, V(mul)(s->momentum, *s1)));
    *reach = s->reach;
    return V(add)(w, V(nfma)(s->rate, g, V(mul)(s->momentum, *s1)));
}

/* Kingma and Ba 2015, section 2; `rate` holds both bias corrections, epsilon is added outside them, as in
 * scikit-learn. */
NNF_INLINE VT V(adam)(const V(constants) *s, VT w, VT g, VT *s1, VT *s2, VT *reach)
{
    *s1 = V(flush)(V(fma)(s->beta_1, *s1, V(mul)(s->rest_1, g)));
    *s2 = V(flush_square)(V(fma)(s->beta_2, *s2, V(mul)(s->rest_2, V(mul)(g, g))));
    VT size = V(add)(V(sqrt)(*s2), s->epsilon);
    *reach = V(div)(s->reach, size);
    return V(sub)(w, V(div)(V(mul)(s->rate, *s1), size));
}

/* Dozat 2016, algorithm 8: Adam whose step takes the running mean as it will be after the next gradient. Both rates
 * hold the bias corrections; epsilon is added outside them, as above. */
NNF_INLINE VT V(nadam)(const V(constants) *s, VT w, VT g, VT *s1, VT *s2, VT *reach)
{
    *s1 = V(flush)(V(fma)(s->beta_1, *s1, V(mul)(s->rest_1, g)));
    *s2 = V(flush_square)(V(fma)(s->beta_2, *s2, V(mul)(s->rest_2, V(mul)(g, g))));
    VT size = V(add)(V(sqrt)(*s2), s->epsilon);
    *reach = V(div)(s->reach, size);
    return V(sub)(w, V(div)(V(fma)(s->rate, *s1, V(mul)(s->gradient_rate, g)), size));
}

/* Tieleman and Hinton 2012, lecture 6e. */
NNF_INLINE VT V(rmsprop)(const V(constants) *s, VT w, VT g, VT *s1, VT *s2, VT *reach)
{
    (void)s2;
    *s1 = V(flush_square)(V(fma)(s->beta_2, *s1, V(mul)(s->rest_2, V(mul)(g, g))));
    VT size = V(add)(V(sqrt)(*s1), s->epsilon);
    *reach = V(div)(s->reach, size);
    return V(sub)(w, V(div)(V(mul)(s->rate, g), size));
}

/* Duchi, Hazan and Singer 2011, with diagonal matrices. */
NNF_INLINE VT V(adagrad)(const V(constants) *s, VT w, VT g, VT *s1, VT *s2, VT *reach)
{
    (void)s2;
    *s1 = V(flush_square)(V(fma)(g, g, *s1));
    VT size = V(add)(V(sqrt)(*s1), s->epsilon);
    *reach = V(div)(s->reach, size);
    return V(sub)(w, V(div)(V(mul)(s->rate, g), size));
}

/* Riedmiller and Braun 1993, as Igel and Huesken 2000 mended it (iRprop-): a sign that has changed counts as none. s1
 * is the last sign, s2 the size of the step in units of the rate. Only signs count, so the L1 penalty has to be part of
 * the gradient; at 0, where that has no slope, what is left of g, and a weight that would pass 0 stops there (Andrew
 * and Gao 2007). */
NNF_INLINE VT V(rprop)(const V(constants) *s, VT w, VT g, VT *s1, VT *s2, VT *reach)
{
    const VT zero = V(zero)(), least = V(set1)((T)1e-4), most = V(set1)((T)5e3); /* 1e-6 and 50 of PyTorch's 0.01 */
    VT slope = V(select)(V(eq)(w, zero), V(shrink)(g, s->l1), V(add)(g, V(copysign)(s->l1, w)));
    VT sign = V(sign)(slope), agreement = V(mul)(sign, *s1);
    VT size = V(select)(V(eq)(*s2, zero), V(set1)(1), *s2);
    VT larger = V(mul)(size, V(set1)((T)1.2)), smaller = V(mul)(size, V(set1)((T)0.5));
    larger = V(select)(V(lt)(larger, most), larger, most);
    size = V(select)(V(lt)(zero, agreement), larger,
                     V(select)(V(lt)(agreement, zero), V(max)(smaller, least), size));
    *s1 = V(zero_where)(V(lt)(agreement, zero), sign);
    *s2 = size;
    *reach = zero;
    VT next = V(nfma)(V(mul)(s->rate, size), *s1, w);
    VT crossing = V(mul)(V(mul)(V(sign)(next), V(sign)(w)), s->l1);
    return V(zero_where)(V(lt)(crossing, zero), next);
}

/* No step: the gradient itself, into s1. At 0 the L1 penalty has no slope. */
NNF_INLINE VT V(gradient)(const V(constants) *s, VT w, VT g, VT *s1, VT *s2, VT *reach)
{
    (void)s2;
    *s1 = V(fma)(V(sign)(w), s->l1, g);
    *reach = V(zero)();
    return w;
}

/* One step of a rule with so many states; `plain`: without clipping and L1 penalty. All three are constants, so each
 * use of it is a loop of its own, which holds the constants it needs. */
NNF_INLINE void V(each_weight)(V(rule) *rule, int n_states, int plain, const nnf_update *u)
{
    const V(constants) s = {
        .rate = V(set1)((T)u->rate),
        .gradient_rate = V(set1)((T)u->gradient_rate),
        .reach = V(set1)((T)u->reach),
        .momentum = V(set1)((T)u->momentum),
        .beta_1 = V(set1)((T)u->beta_1),
        .beta_2 = V(set1)((T)u->beta_2),
        .rest_1 = V(set1)((T)(1 - u->beta_1)),
        .rest_2 = V(set1)((T)(1 - u->beta_2)),
        .epsilon = V(set1)((T)u->epsilon),
        .l1 = V(set1)((T)u->l1),
    };
    const VT alpha = V(set1)((T)u->alpha), inv_rows = V(set1)((T)u->inv_rows), keep = V(set1)((T)(1 - u->decay));
    const VT limit = V(set1)((T)(u->clip > 0 ? u->clip : INFINITY));
    const bool joined = u->ld == u->n && u->ld_dw == u->n;
    const nnf_index rows = joined ? 1 : u->rows, n = joined ? u->rows * u->n : u->n, ld = u->ld;
    T *w = (T *)u->w, *s1 = (T *)u->s1, *s2 = (T *)u->s2;
    const T *dw = (const T *)u->dw;
    for (nnf_index i = 0; i < rows; i++, dw += u->ld_dw - n)
        for (nnf_index j = i * ld; j < i * ld + n; j += LANES, dw += LANES) {
            VT vw = V(load)(w + j), reach;
            VT vs1 = n_states > 0 ? V(load)(s1 + j) : V(zero)();
            VT vs2 = n_states > 1 ? V(load)(s2 + j) : V(zero)();
            VT vg = V(mul)(V(fma)(alpha, vw, V(load)(dw)), inv_rows);
            if (!plain)
                vg = V(clamp)(vg, limit);
            VT next = rule(&s, V(mul)(keep, vw), vg, &vs1, &vs2, &reach);
            if (!plain && rule != V(gradient)) /* which leaves -0 as it is, too */
                next = V(shrink)(next, V(mul)(reach, s.l1));
            V(store)(w + j, next);
            if (n_states > 0)
                V(store)(s1 + j, vs1);
            if (n_states > 1)
                V(store)(s2 + j, vs2);
        }
}

static void V(update)(int solver, const nnf_update *u)
{
    const bool plain = !(u->clip > 0) && u->l1 == 0;
    switch (solver) {
#define NNF_ROW(NAME, name, n_states)                \
    case NNF_##NAME:                                 \
        if (plain)                                   \
            V(each_weight)(V(name), n_states, 1, u); \
        else                                         \
            V(each_weight)(V(name), n_states, 0, u); \
        break;
#include "../solver.def"
        NNF_ROW(GRADIENT, gradient, 1)
#undef NNF_ROW
    default:
        break;
    }
}
