/*
 * test_team.c: several callers at once, each with teams of its own: regions, products, predictions, and fits that are
 * asked to stop. What it checks are bits; what it is for is ThreadSanitizer, under which a read or write that no
 * barrier and no join orders is an error. So what threads hand to each other here lies in plain memory.
 */
#include "check.h"

#include <math.h>

#include "team.h"

enum { CALLERS = 4, TEAM = 3 };

/* A thread that calls the engine. It has no end that could be waited for, so its memory stays. */
typedef struct caller {
    void (*work)(void *item);
    void *item;
    nnf_gate start, done; /* each opened once a test */
    unsigned tests;
} caller;

static nnf_thread_result caller_main(void *argument)
{
    caller *c = argument;
    for (unsigned test = 0;; test++) {
        nnf_gate_wait(&c->start, test);
        c->work(c->item);
        nnf_gate_open(&c->done);
    }
    return 0;
}

/* Calls work(item) for so many items of `size` bytes at once, and waits for all. */
static void call_at_once(void (*work)(void *item), void *items, size_t size)
{
    static caller callers[CALLERS];
    for (int i = 0; i < CALLERS; i++) {
        caller *c = &callers[i];
        if (c->work == NULL) {
            *c = (caller){.start = NNF_GATE_INIT, .done = NNF_GATE_INIT};
            if (!nnf_start_thread(caller_main, c)) {
                printf("no thread\n");
                exit(1);
            }
        }
        c->work = work;
        c->item = (char *)items + (size_t)i * size;
    }
    for (int i = 0; i < CALLERS; i++)
        nnf_gate_open(&callers[i].start);
    for (int i = 0; i < CALLERS; i++)
        nnf_gate_wait(&callers[i].done, callers[i].tests++);
}

/* ---- regions ---- */

enum { REGIONS = 300, ROUNDS = 10 };

/* A region: in every round each thread leaves a number for the others, who read it after the barrier. */
typedef struct region {
    int asked, size, rounds;
    int left[TEAM + 1], read[TEAM + 1], inner[TEAM + 1];
    const void *first; /* the thread that is number 0 */
} region;

/* Its address tells one thread from another. */
static _Thread_local char self;

static void leave_and_read(void *context, nnf_team *team, int thread, int n_threads)
{
    region *r = context;
    if (thread == 0) {
        r->size = n_threads;
        r->first = &self;
    }
    for (int round = 0; round < r->rounds; round++) {
        r->left[thread] = round + thread;
        nnf_barrier(team);
        for (int other = 0; other < n_threads; other++)
            r->read[thread] += r->left[other] == round + other;
        nnf_barrier(team);
    }
}

/* A region inside a region. */
static void nest(void *context, nnf_team *team, int thread, int n_threads)
{
    region *r = context;
    region inside = {.asked = TEAM, .rounds = ROUNDS};
    nnf_parallel(inside.asked, leave_and_read, &inside);
    r->inner[thread] = inside.first == &self && inside.size >= 1 && inside.size <= TEAM;
    for (int t = 0; t < inside.size; t++)
        r->inner[thread] = r->inner[thread] && inside.read[t] == inside.size * ROUNDS;
    leave_and_read(context, team, thread, n_threads);
}

typedef struct regions {
    int run, wrong, larger;
} regions;

static void enter_regions(void *item)
{
    regions *all = item;
    for (int i = 0; i < REGIONS; i++) {
        const bool nested = i % 8 == 7;
        region r = {.asked = 1 + i % (TEAM + 1), .rounds = ROUNDS};
        nnf_parallel(r.asked, nested ? nest : leave_and_read, &r);
        bool right = r.first == &self && r.size >= 1 && r.size <= r.asked;
        for (int t = 0; t < TEAM + 1; t++)
            right = right && r.read[t] == (t < r.size ? r.size * ROUNDS : 0) && r.inner[t] == (nested && t < r.size);
        all->run++;
        all->wrong += !right;
        all->larger += r.size > 1;
    }
}

static void test_regions(void)
{
    regions all[CALLERS] = {0};
    call_at_once(enter_regions, all, sizeof *all);
    int larger = 0;
    for (int i = 0; i < CALLERS; i++) {
        check(all[i].run == REGIONS && all[i].wrong == 0, "%d of %d regions went wrong", all[i].wrong, all[i].run);
        larger += all[i].larger;
    }
    check(larger > 0 || nnf_max_threads() == 1, "some regions have more than one thread");
}

/* ---- products ---- */

enum { ORDER = 128 }; /* 4.2 MFLOP: three threads */

static float A[ORDER * ORDER], B[ORDER * ORDER], expected[ORDER * ORDER];

static nnf_status multiply(float *C, int n_threads)
{
    return nnf_matmul(NNF_FLOAT32, ORDER, ORDER, ORDER, C, ORDER, A, ORDER, 1, B, ORDER, 1, n_threads);
}

static void multiply_often(void *item)
{
    int *same = item;
    float *C = nnf_alloc(sizeof expected);
    for (int i = 0; i < 20 && C != NULL; i++)
        *same += multiply(C, TEAM) == NNF_OK && memcmp(C, expected, sizeof expected) == 0;
    nnf_free(C);
}

static void test_products(void)
{
    fill(NNF_FLOAT32, A, ORDER * ORDER, random_number);
    fill(NNF_FLOAT32, B, ORDER * ORDER, random_number);
    check(multiply(expected, 1) == NNF_OK, "a product by one thread");
    int same[CALLERS] = {0};
    call_at_once(multiply_often, same, sizeof *same);
    for (int i = 0; i < CALLERS; i++)
        check(same[i] == 20, "%d of 20 products have the bits of one thread", same[i]);
}

/* ---- predictions of few rows, whose threads share columns ---- */

enum { MOST = 40, WIDE = 400, OUTPUTS = 3 };

static float few_rows[MOST * WIDE], wide_W[WIDE * WIDE], last_W[WIDE * OUTPUTS], wide_b[WIDE];
static float expected_outputs[MOST * OUTPUTS];

static nnf_status predict(float *out, nnf_index n, int finite, int n_threads)
{
    static const nnf_index wide[] = {WIDE, WIDE, WIDE, OUTPUTS};
    static const int functions[] = {NNF_RELU, NNF_TANH, NNF_LOGISTIC};
    const nnf_config config = {
        .dtype = NNF_FLOAT32, .n_layers = 3, .sizes = wide, .activations = functions, .n_threads = n_threads,
    };
    const void *const parameters[] = {wide_W, wide_W, last_W, wide_b, wide_b, wide_b};
    const nnf_rows rows = {.n = n, .values = few_rows, .ld = WIDE};
    return nnf_forward(&config, parameters, &rows, finite, out, NULL);
}

/* Five rows meet the weights in place, 40 packed ones. */
static void predict_often(void *item)
{
    int *same = item;
    float out[MOST * OUTPUTS];
    for (int i = 0; i < 20; i++) {
        const nnf_index n = i % 2 == 0 ? 5 : MOST;
        *same += predict(out, n, 1, 2 + i / 2 % 2) == NNF_OK
                 && memcmp(out, expected_outputs, (size_t)n * OUTPUTS * sizeof *out) == 0;
    }
}

static void test_few_rows(void)
{
    fill(NNF_FLOAT32, few_rows, MOST * WIDE, random_number);
    fill(NNF_FLOAT32, wide_W, WIDE * WIDE, random_number);
    fill(NNF_FLOAT32, last_W, WIDE * OUTPUTS, random_number);
    fill(NNF_FLOAT32, wide_b, WIDE, random_number);
    check(predict(expected_outputs, MOST, 1, 1) == NNF_OK, "few rows by one thread");
    int same[CALLERS] = {0};
    call_at_once(predict_often, same, sizeof *same);
    for (int i = 0; i < CALLERS; i++)
        check(same[i] == 20, "%d of 20 predictions have the bits of one thread", same[i]);

    float out[MOST * OUTPUTS];
    few_rows[MOST * WIDE - 1] = INFINITY;
    check(predict(out, MOST, 1, TEAM) == NNF_NOT_FINITE, "what is not finite is found");
    check(predict(out, MOST, 0, TEAM) == NNF_OK, "or not looked for");
}

/* ---- fits ---- */

enum { ROWS = 2048, BATCH = 64, N_IN = 64, N_HIDDEN = 96, N_OUT = 8, MOST_BATCHES = 1 << 15, INTERRUPTIONS = 2 };

static float X[ROWS * N_IN], Y[ROWS * N_OUT];
static float W_0[N_IN * N_HIDDEN], W_1[N_HIDDEN * N_OUT], b_0[N_HIDDEN], b_1[N_OUT];
static nnf_index order[MOST_BATCHES * BATCH]; /* all rows, again and again */
static double rates[MOST_BATCHES];
static const nnf_index sizes[] = {N_IN, N_HIDDEN, N_OUT}; /* 2.6 MFLOP a step: two threads */
static const int activations[] = {NNF_RELU, NNF_IDENTITY};

typedef struct fit {
    int n_threads, epochs, interruptions;
    nnf_index n_batches; /* of an epoch */
    nnf_status status;
    nnf_progress progress;
    float outputs[ROWS * N_OUT];
} fit;

static int always(void)
{
    return 1;
}

/* Training for so many epochs, or, if none are given, until it was asked to stop often enough. */
static void train(void *item)
{
    fit *f = item;
    const bool interrupted = f->epochs == 0;
    const nnf_config config = {
        .dtype = NNF_FLOAT32, .n_layers = 2, .sizes = sizes, .activations = activations, .loss = NNF_SQUARED_ERROR,
        .solver = NNF_SGD, .max_batch = BATCH, .n_threads = f->n_threads,
    };
    const void *const parameters[] = {W_0, W_1, b_0, b_1};
    const nnf_rows rows = {.n = ROWS, .values = X, .ld = N_IN};
    const nnf_epoch epoch = {
        .data = {.X = rows, .Y = Y, .ldy = N_OUT}, .n = f->n_batches * BATCH, .order = order, .batch = BATCH,
        .rates = rates, .poll = interrupted ? always : NULL,
    };
    nnf_network *network = NULL;
    f->status = nnf_network_create(&config, &network);
    if (f->status == NNF_OK)
        f->status = nnf_network_load(network, NNF_PARAMETERS, parameters);
    for (int done = 0; f->status == NNF_OK; done++) {
        if (interrupted ? f->interruptions >= INTERRUPTIONS || done == 100 : done == f->epochs)
            break;
        f->progress = (nnf_progress){0};
        while ((f->status = nnf_network_train_epoch(network, &epoch, &f->progress)) == NNF_INTERRUPTED)
            f->interruptions++;
        if (interrupted)
            f->epochs++;
    }
    if (f->status == NNF_OK)
        f->status = nnf_network_forward(network, &rows, f->outputs, NULL);
    nnf_network_free(network);
}

static void test_fits(void)
{
    fill(NNF_FLOAT32, X, ROWS * N_IN, random_number);
    fill(NNF_FLOAT32, Y, ROWS * N_OUT, random_number);
    fill(NNF_FLOAT32, W_0, N_IN * N_HIDDEN, random_number);
    fill(NNF_FLOAT32, W_1, N_HIDDEN * N_OUT, random_number);
    for (nnf_index i = 0; i < MOST_BATCHES * BATCH; i++)
        order[i] = i % ROWS;
    for (int i = 0; i < MOST_BATCHES; i++)
        rates[i] = 1e-3;
    /* The question whether to stop comes every 50 ms. An epoch of 0.3 s, of 0.1 s for three threads, hears it. */
    static fit fits[CALLERS], alone;
    alone = (fit){.n_threads = 1, .epochs = 2, .n_batches = ROWS / BATCH};
    const double begin = nnf_seconds();
    train(&alone);
    const double batches = 0.3 / (nnf_seconds() - begin) * (2.0 * (double)ROWS / (double)BATCH);
    const nnf_index n_batches = batches < (double)MOST_BATCHES ? 1 + (nnf_index)batches : MOST_BATCHES;
    for (int i = 0; i < CALLERS; i++)
        fits[i] = (fit){.n_threads = 1 + i % TEAM, .n_batches = n_batches};
    call_at_once(train, fits, sizeof *fits);
    for (int i = 0; i < CALLERS; i++) {
        const fit *f = &fits[i];
        alone = (fit){.n_threads = 1, .epochs = f->epochs, .n_batches = n_batches};
        train(&alone);
        check(f->status == NNF_OK && alone.status == NNF_OK, "fits of %d epochs of %td batches end well", f->epochs,
              n_batches);
        check(f->interruptions >= INTERRUPTIONS && alone.interruptions == 0, "%d times stopped", f->interruptions);
        check(memcmp(&f->progress, &alone.progress, sizeof alone.progress) == 0
                  && memcmp(f->outputs, alone.outputs, sizeof alone.outputs) == 0,
              "a fit by %d threads, stopped %d times, has the bits of one that was never", f->n_threads,
              f->interruptions);
    }
}

int main(void)
{
    test_regions();
    test_products();
    test_few_rows();
    test_fits();
    return report();
}
