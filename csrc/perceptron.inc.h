/*
 * perceptron.inc.h: one epoch of the perceptron for the element type T. perceptron.c reads it for float and for double.
 *
 * The weight vector is stored as scale * weights: the L2 penalty then costs one product a sample, not one a weight.
 * Functions marked NNF_INLINE take `sparse` and `averaged` as constants: a dense row costs no look-up of its column
 * numbers, and training without an average nothing for the sake of it.
 *
 * The sum of the weight vectors over the samples is weight_sum + scale_sum * weights, scale_sum being the sum of their
 * scales (after Bottou, Stochastic Gradient Descent Tricks, 2012). A weight that stands still costs nothing then, and
 * one that changes by d takes scale_sum * d from its weight_sum.
 */

/* The stored features of one sample. */
typedef struct V(row) {
    const T *value;   /* (n) */
    const int *index; /* (n) their columns; not read when dense */
    nnf_index n;
} V(row);

NNF_INLINE V(row) V(row_of)(const nnf_perceptron *p, nnf_index sample, bool sparse)
{
    nnf_index first = sparse ? p->indptr[sample] : sample * p->n_features;
    return (V(row)){
        .value = (const T *)p->x + first,
        .index = sparse ? p->indices + first : NULL,
        .n = sparse ? p->indptr[sample + 1] - first : p->n_features,
    };
}

/* sum + the products of features begin, begin + 1, ...: each rounded to T, then added in order in float64. */
NNF_INLINE double V(add_products)(double sum, const T *w, const V(row) *x, nnf_index begin, bool sparse)
{
    for (nnf_index j = begin; j < x->n; j++)
        sum += (double)(w[sparse ? x->index[j] : j] * x->value[j]);
    return sum;
}

/* The same for AHEAD samples side by side, each sum in its own order. */
NNF_INLINE void V(sums)(double *sum, const T *w, const V(row) *x, bool sparse)
{
    nnf_index common = x[0].n;
    double s[AHEAD] = {0};
    for (int k = 1; k < AHEAD; k++)
        common = nnf_min(common, x[k].n);
    for (nnf_index j = 0; j < common; j++) {
        NNF_UNROLL
        for (int k = 0; k < AHEAD; k++)
            s[k] += (double)(w[sparse ? x[k].index[j] : j] * x[k].value[j]);
    }
    for (int k = 0; k < AHEAD; k++)
        sum[k] = V(add_products)(s[k], w, &x[k], common, sparse);
}

/* weight_sum += scale_sum * weights; scale_sum = 0. Returns whether the sums are finite. */
static bool V(settle)(nnf_perceptron *p)
{
    const T *w = p->weights;
    double *sum = p->weight_sum, scale_sum = p->scale_sum;
    bool finite = isfinite(p->intercept_sum) != 0;
    for (nnf_index i = 0; i < p->n_features; i++) {
        sum[i] += scale_sum * (double)w[i];
        finite &= isfinite(sum[i]) != 0;
    }
    p->scale_sum = 0;
    return finite;
}

static void V(rescale)(nnf_perceptron *p)
{
    if (p->scale_sum != 0)
        V(settle)(p);
    T *w = p->weights;
    T scale = (T)p->scale;
    for (nnf_index i = 0; i < p->n_features; i++)
        w[i] *= scale;
    p->scale = 1;
}

/* Before weights += factor x: weight_sum changes so that the sum of the weights so far does not. */
static void V(keep_sum)(nnf_perceptron *p, const V(row) *x, double factor, bool sparse)
{
    const T *w = p->weights;
    double *sum = p->weight_sum, scale_sum = p->scale_sum;
    for (nnf_index j = 0; j < x->n; j++) {
        nnf_index i = sparse ? x->index[j] : j;
        T after = (T)((double)w[i] + (double)x->value[j] * factor);
        sum[i] -= scale_sum * ((double)after - (double)w[i]);
    }
}

/* weights += step x / scale. The norms afterwards count the weights that x touches, as scikit-learn's do. */
NNF_INLINE void V(add_row)(nnf_perceptron *p, const V(row) *x, double step, bool sparse, bool averaged)
{
    T *w = p->weights;
    T scale = (T)p->scale;
    double factor = (double)((T)step / scale);
    if (averaged && p->scale_sum != 0)
        V(keep_sum)(p, x, factor, sparse);
    if (!p->track_norms) {
        for (nnf_index j = 0; j < x->n; j++) {
            nnf_index i = sparse ? x->index[j] : j;
            w[i] = (T)((double)w[i] + (double)x->value[j] * factor);
        }
        return;
    }
    double squares = 0, magnitudes = 0;
    for (nnf_index j = 0; j < x->n; j++) {
        nnf_index i = sparse ? x->index[j] : j;
        w[i] = (T)((double)w[i] + (double)x->value[j] * factor);
        squares += (double)(w[i] * w[i]);
        magnitudes += fabs((double)w[i]);
    }
    p->square_norm = squares * (double)(scale * scale);
    p->l1_norm = magnitudes * (double)scale;
}

/* The cumulative L1 penalty of Tsuruoka, Tsujii and Ananiadou (ACL 2009): each weight that x touches catches up with
 * the penalty that every weight should have had by now, but never crosses zero. */
NNF_INLINE void V(catch_up_l1)(nnf_perceptron *p, const V(row) *x, bool sparse, bool averaged)
{
    T *w = p->weights, *applied = p->l1_applied;
    double scale = p->scale, due = p->l1_due;
    for (nnf_index j = 0; j < x->n; j++) {
        nnf_index i = sparse ? x->index[j] : j;
        double before = (double)w[i], q = (double)applied[i];
        double after = before;
        if (scale * before > 0) {
            after = before - (due + q) / scale;
            after = after > 0 ? after : 0;
        } else if (scale * before < 0) {
            after = before + (due - q) / scale;
            after = after < 0 ? after : 0;
        }
        w[i] = (T)after;
        if (averaged && p->scale_sum != 0)
            p->weight_sum[i] -= p->scale_sum * ((double)w[i] - before);
        applied[i] = (T)(q + scale * ((double)w[i] - before));
    }
}

/* The loss at one sample, and the step along x that lowers it (without the sample's weight). */
typedef struct V(response) {
    double loss, step;
} V(response);

NNF_INLINE V(response) V(respond)(const nnf_perceptron *p, const nnf_kernels *kernels, double z, T target)
{
    if (p->activation == NNF_STEP) {
        double margin = z * (double)target;
        bool wrong = margin <= 0;
        return (V(response)){.loss = wrong ? -margin : 0, .step = wrong ? p->eta0 * (double)target : 0};
    }
    T in = (T)z, out, slope;
    kernels->activate_with_slope(p->activation, nnf_activation_argument(p->activation), 1, 1, &out, &slope, &in, 1);
    T error = out - target, slope_error = error * slope;
    return (V(response)){.loss = 0.5 * (double)error * (double)error, .step = -p->eta0 * (double)slope_error};
}

/* alpha ((1 - l1_ratio) / 2 |w|_2^2 + l1_ratio |w|_1), the norms in T. */
NNF_INLINE double V(penalty)(const nnf_perceptron *p)
{
    T norm = (T)sqrt(p->square_norm);
    return p->alpha * ((1 - p->l1_ratio) * 0.5 * (double)(norm * norm) + p->l1_ratio * (double)(T)p->l1_norm);
}

/* Counts the weights as they are now. */
static void V(add_to_average)(nnf_perceptron *p)
{
    if (p->n_unaveraged > 0) {
        p->n_unaveraged--;
        return;
    }
    p->n_averaged++;
    p->scale_sum += p->scale;
    p->intercept_sum += p->intercept;
    if (p->scale_sum > MOST_CANCELLED * (double)p->n_averaged * p->scale)
        V(settle)(p);
}

/* Learns from one sample, whose sum of products is given. Returns whether the stored weights changed. */
NNF_INLINE bool V(learn)(nnf_perceptron *p, const nnf_kernels *kernels, nnf_index sample, const V(row) *x, double sum,
                         bool sparse, bool averaged)
{
    T target = ((const T *)p->target)[sample];
    V(response) r = V(respond)(p, kernels, (double)(T)(sum * p->scale) + p->intercept, target);
    if (p->track_loss) {
        p->loss_sum += r.loss;
        p->objective_sum += r.loss;
        if (p->penalty != NNF_NO_PENALTY)
            p->objective_sum += V(penalty)(p);
    }
    T class_weight = (T)(target > 0 ? p->weight_positive : p->weight_negative);
    double step = r.step * (double)(class_weight * ((const T *)p->sample_weight)[sample]);
    bool changed = false;

    if ((p->penalty & NNF_L2) != 0) {
        double rest = 1 - (1 - p->l1_ratio) * p->eta0 * p->alpha;
        T shrink = (T)(rest > 0 ? rest : 0);
        p->scale *= (double)shrink;
        p->square_norm *= (double)(shrink * shrink);
        p->l1_norm *= (double)shrink;
        if (p->scale < SMALLEST_SCALE) {
            V(rescale)(p);
            changed = true;
        }
    }
    if (step != 0) {
        V(add_row)(p, x, step, sparse, averaged);
        if (p->intercept_rate != 0)
            p->intercept += step * p->intercept_rate;
        changed = true;
    }
    if ((p->penalty & NNF_L1) != 0) {
        p->l1_due += p->l1_ratio * p->eta0 * p->alpha;
        V(catch_up_l1)(p, x, sparse, averaged);
        changed = true;
    }
    if (averaged)
        V(add_to_average)(p);
    return changed;
}

static bool V(all_finite)(const T *w, nnf_index n)
{
    bool finite = true;
    for (nnf_index i = 0; i < n; i++)
        finite &= isfinite(w[i]) != 0;
    return finite;
}

/* Most samples are classified correctly and change nothing. So the sums of AHEAD samples are taken at once; after a
 * change the ones not yet used are thrown away and taken again. */
NNF_INLINE nnf_status V(epoch)(nnf_perceptron *p, const nnf_kernels *kernels, bool sparse, bool averaged,
                               int (*poll)(void))
{
    bool every_sample_changes = p->activation != NNF_STEP || (p->penalty & NNF_L1) != 0;
    nnf_index ahead = every_sample_changes ? 1 : AHEAD;
    nnf_index features = 0;
    p->loss_sum = 0;
    p->objective_sum = 0;

    for (nnf_index i = 0; i < p->n_samples;) {
        V(row) x[AHEAD];
        double sum[AHEAD];
        nnf_index n = nnf_min(ahead, p->n_samples - i);
        for (nnf_index k = 0; k < n; k++)
            x[k] = V(row_of)(p, p->order[i + k], sparse);
        if (n == AHEAD)
            V(sums)(sum, p->weights, x, sparse);
        else
            for (nnf_index k = 0; k < n; k++)
                sum[k] = V(add_products)(0, p->weights, &x[k], 0, sparse);

        bool changed = false;
        for (nnf_index k = 0; k < n && !changed; k++, i++) {
            nnf_index sample = p->order[i];
            features += x[k].n;
            if (p->held_out == NULL || !p->held_out[sample])
                changed = V(learn)(p, kernels, sample, &x[k], sum[k], sparse, averaged);
        }
        if (features >= POLL_FEATURES) {
            features = 0;
            if (poll != NULL && poll() != 0)
                return NNF_INTERRUPTED;
        }
    }
    p->finite = isfinite(p->intercept) && V(all_finite)(p->weights, p->n_features);
    if (averaged)
        p->finite &= V(settle)(p);
    return NNF_OK;
}

static nnf_status V(any_epoch)(nnf_perceptron *p, const nnf_kernels *kernels, int (*poll)(void))
{
    if (p->indptr != NULL)
        return p->weight_sum != NULL ? V(epoch)(p, kernels, true, true, poll) : V(epoch)(p, kernels, true, false, poll);
    return p->weight_sum != NULL ? V(epoch)(p, kernels, false, true, poll) : V(epoch)(p, kernels, false, false, poll);
}
