/*
 * test_math.c: exp, log and the activations of every instruction set that this CPU has, against libm in a wider type.
 *
 *   test_math         two million values a type, spread over all exponents and dense where the functions change
 *   test_math slow    every float as well; about half an hour of one core
 *
 * Prints the largest error in ULP per function, type and instruction set. Those with an FMA must agree in every bit,
 * and each with what it gave on other machines.
 */
#include "check.h"

#include "internal.h"

#include <float.h>
#include <math.h>

enum { BLOCK = 4096, MAX_THREADS = 64 };
enum { SAMPLES = 1 << 21 };

static double neighbour(nnf_dtype dtype, double x, double towards)
{
    return dtype == NNF_FLOAT32 ? (double)nextafterf((float)x, (float)towards) : nextafter(x, towards);
}

static int same_bits(nnf_dtype dtype, const void *a, const void *b, int j)
{
    const size_t size = dtype == NNF_FLOAT32 ? sizeof(float) : sizeof(double), at = (size_t)j * size;
    const double x = get(dtype, a, j), y = get(dtype, b, j);
    return memcmp((const char *)a + at, (const char *)b + at, size) == 0 || (isnan(x) && isnan(y));
}

/* ---- the functions and their references ----------------------------------------------------------------------- */

static double logistic(double x)
{
    const double e = exp(-fabs(x));
    return (x < 0 ? e : 1.0) / (1.0 + e);
}

static long double logisticl(long double x)
{
    const long double e = expl(-fabsl(x));
    return (x < 0 ? e : 1.0L) / (1.0L + e);
}

/* The others, each in both types, since every float would take hours in long double. Written so that nothing is lost
 * to cancellation, underflow or infinity. */
static long double elul(long double x) { return x > 0 ? x : expm1l(x); }
static long double selul(long double x)
{
    return 1.0507009873554804934193349852946L * (x > 0 ? x : 1.6732632423543772848170429916717L * expm1l(x));
}
static long double gelul(long double x) { return isinf(x) ? fmaxl(x, 0) : x * erfcl(-x * sqrtl(0.5L)) / 2; }
static long double silul(long double x) { return x < -11000 ? 0 : x / (1 + expl(-x)); }
static long double mishl(long double x)
{
    const long double e = expl(x < 40 ? x : 40), n = e * (e + 2);
    return x < -11000 ? 0 : x * (n / (n + 2));
}
static long double softplusl(long double x) { return (x > 0 ? x : isnan(x) ? x : 0) + log1pl(expl(-fabsl(x))); }
static long double hard_sigmoidl(long double x) { return x < -3 ? 0 : x > 3 ? 1 : (x + 3) / 6; }
static long double softsignl(long double x) { return isinf(x) ? copysignl(1, x) : x / (1 + fabsl(x)); }

static double elu(double x) { return x > 0 ? x : expm1(x); }
static double selu(double x) { return 1.0507009873554805 * (x > 0 ? x : 1.6732632423543773 * expm1(x)); }
static double gelu(double x) { return isinf(x) ? fmax(x, 0) : x * erfc(-x * sqrt(0.5)) / 2; }
static double silu(double x) { return x < -700 ? 0 : x / (1 + exp(-x)); }
static double mish(double x)
{
    const double e = exp(x < 40 ? x : 40), n = e * (e + 2);
    return x < -700 ? 0 : x * (n / (n + 2));
}
static double softplus(double x) { return (x > 0 ? x : isnan(x) ? x : 0) + log1p(exp(-fabs(x))); }
static double hard_sigmoid(double x) { return x < -3 ? 0 : x > 3 ? 1 : (x + 3) / 6; }
static double softsign(double x) { return isinf(x) ? copysign(1, x) : x / (1 + fabs(x)); }

enum { LOG = -1 }; /* no activation: it has an entry of its own in the kernel table */

typedef struct function {
    const char *name;
    int activation;
    double (*reference)(double);
    long double (*wide_reference)(long double);
    double limit[2]; /* the promised largest error in ULP, by nnf_dtype */
    int bends;       /* 1: it falls somewhere, or has roundings that fall now and then */
} function;

static const function functions[] = {
    {"exp", NNF_EXP, exp, expl, {2.5, 4}, 0},
    {"log", LOG, log, logl, {2, 4}, 0},
    {"tanh", NNF_TANH, tanh, tanhl, {2.5, 4}, 0},
    {"logistic", NNF_LOGISTIC, logistic, logisticl, {3, 4}, 0},
    {"elu", NNF_ELU, elu, elul, {2.5, 4}, 0},
    {"selu", NNF_SELU, selu, selul, {2.5, 4}, 0},
    {"gelu", NNF_GELU, gelu, gelul, {6.5, 6.5}, 1},
    {"silu", NNF_SILU, silu, silul, {4, 4}, 1},
    {"mish", NNF_MISH, mish, mishl, {4, 4}, 1},
    {"softplus", NNF_SOFTPLUS, softplus, softplusl, {2.5, 4}, 1},
    {"hard_sigmoid", NNF_HARD_SIGMOID, hard_sigmoid, hard_sigmoidl, {1.5, 1.5}, 0},
    {"softsign", NNF_SOFTSIGN, softsign, softsignl, {1.5, 1.5}, 1},
};

enum { N_FUNCTIONS = sizeof functions / sizeof functions[0] };

static void apply(const isa *on, nnf_dtype dtype, const function *f, int n, void *out, const void *x)
{
    const nnf_kernels *kernels = on->kernels->of[dtype];
    if (f->activation == LOG)
        kernels->log(n, out, x);
    else
        kernels->activate(f->activation, nnf_activation_argument(f->activation), 1, n, out, x, n);
}

/* Error of `got` in ULP of the exact value; infinity counts as the power of two that follows the largest number. A
 * correctly rounded result counts as half a ULP. */
static double ulp_error(nnf_dtype dtype, double got, long double exact)
{
    const int digits = dtype == NNF_FLOAT32 ? 24 : 53, highest = dtype == NNF_FLOAT32 ? 128 : 1024;
    const int lowest = 3 - highest; /* exponent of the smallest normal number, as frexp counts */
    const double nearest = dtype == NNF_FLOAT32 ? (double)(float)exact : (double)exact;
    int exponent;

    if (got == nearest || (isnan(got) && isnan(exact)))
        return 0.5;
    if (isnan(got) || isnan(exact) || isinf(exact))
        return INFINITY;
    frexpl(exact, &exponent);
    const long double end = ldexpl(1.0L, highest);
    const long double value = isinf(got) ? copysignl(end, (long double)got) : (long double)got;
    return (double)(fabsl(value - exact) / ldexpl(1.0L, (exponent > lowest ? exponent : lowest) - digits));
}

/* ---- many values, in threads ---------------------------------------------------------------------------------- */

/* The largest error over the values of one run, and the values where instruction sets with an FMA differ. */
typedef struct findings {
    double error[MAX_ISAS][N_FUNCTIONS], where[MAX_ISAS][N_FUNCTIONS];
    long different[N_FUNCTIONS];
} findings;

static void measure_block(nnf_dtype dtype, int n, const void *x, findings *r)
{
    static _Thread_local double out[MAX_ISAS][BLOCK];
    for (int f = 0; f < N_FUNCTIONS; f++) {
        int first_fma = -1;
        for (int i = 0; i < n_isas; i++) {
            apply(&isas[i], dtype, &functions[f], n, out[i], x);
            if (isas[i].has_fma && first_fma < 0)
                first_fma = i;
        }
        for (int j = 0; j < n; j++) {
            const double value = get(dtype, x, j);
            const long double exact = dtype == NNF_FLOAT32 ? (long double)functions[f].reference(value)
                                                           : functions[f].wide_reference((long double)value);
            for (int i = 0; i < n_isas; i++) {
                const double error = ulp_error(dtype, get(dtype, out[i], j), exact);
                if (error > r->error[i][f]) {
                    r->error[i][f] = error;
                    r->where[i][f] = value;
                }
                if (isas[i].has_fma && !same_bits(dtype, out[i], out[first_fma], j))
                    r->different[f]++;
            }
        }
    }
}

static uint64_t scramble(uint64_t x) /* the finalizer of splitmix64 */
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* Value number i: any bit pattern, |x| between 2^-30 and 2^10, or even in [-750, 750] or [-20, 20]. */
static void put_sample(nnf_dtype dtype, void *x, int j, uint64_t i)
{
    const uint64_t bits = scramble(i * 0x9e3779b97f4a7c15u);
    const double unit = ldexp((double)(bits >> 11), -53);
    switch (i % 4) {
    case 0:
        if (dtype == NNF_FLOAT32)
            memcpy((float *)x + j, &(uint32_t){(uint32_t)(bits >> 32)}, sizeof(float));
        else
            memcpy((double *)x + j, &bits, sizeof(double));
        break;
    case 1:
        put(dtype, x, j, ldexp((bits & 1 ? 1 : -1) * (1 + unit), (int)(bits >> 1) % 41 - 30));
        break;
    case 2:
        put(dtype, x, j, 1500 * unit - 750);
        break;
    default:
        put(dtype, x, j, 40 * unit - 20);
    }
}

typedef struct job {
    nnf_dtype dtype;
    bool all; /* value number i is the float with the bits i */
    nnf_index count;
    findings found[MAX_THREADS];
} job;

static void measure_share(void *context, nnf_team *team, int thread, int n_threads)
{
    (void)team;
#if defined(_WIN32) && defined(__x86_64__)
    __asm__ volatile("fninit"); /* a thread of Windows begins with long doubles rounded to 53 bits */
#endif
    job *work = context;
    double x[BLOCK];
    const nnf_range share = nnf_share(work->count, 1, thread, n_threads);
    for (nnf_index i = share.begin; i < share.end; i += BLOCK) {
        const int n = (int)nnf_min(share.end - i, BLOCK);
        for (int j = 0; j < n; j++) {
            if (work->all)
                memcpy((float *)x + j, &(uint32_t){(uint32_t)(i + j)}, sizeof(float));
            else
                put_sample(work->dtype, x, j, (uint64_t)(i + j));
        }
        measure_block(work->dtype, n, x, &work->found[thread]);
    }
}

/* Whether libm knows these values (mpmath) to 58 bits. It does not where a long double is a double (macOS on arm64,
 * Microsoft's compilers), nor do all of its functions in musl on arm64: their error would count as ours. */
static bool is_reference_wide(void)
{
    static const struct {
        long double (*function)(long double);
        double x;
        long double y;
    } known[] = {
        {expl, -0x1.09c2166a0fd50p+1, 0.125401388014360450695226663920528291L},
        {expm1l, -0x1.09c2166a0fd50p+1, -0.874598611985639549304773336079471709L},
        {logl, 0.75, -0.287682072451780927439219005993827432L},
        {log1pl, 0.125, 0.117783035656383454538794109470521705L},
        {tanhl, 0.75, 0.635148952387287319214434357312496495L},
        {erfcl, 26.25, 1.19107677067262300403120588306171872e-301L},
    };
    bool wide = LDBL_MANT_DIG > DBL_MANT_DIG;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        wide = wide && fabsl(known[i].function(known[i].x) / known[i].y - 1) <= 0x1p-58L;
    return wide;
}

static void judge(const char *title, nnf_dtype dtype, const findings *r)
{
    const bool exact = dtype == NNF_FLOAT32 || is_reference_wide();
    printf("%s\n%10s", title, "");
    for (int i = 0; i < n_isas; i++)
        printf("%12s", isas[i].name);
    printf("%12s\n", "promised");
    for (int f = 0; f < N_FUNCTIONS; f++) {
        printf("%10s", functions[f].name);
        for (int i = 0; i < n_isas; i++)
            printf("%12.3f", r->error[i][f]);
        printf("%12.1f\n", functions[f].limit[dtype]);
        for (int i = 0; i < n_isas; i++)
            check(!exact || r->error[i][f] <= functions[f].limit[dtype], "%s: %s, %s: %g ULP at x = %a", title,
                  functions[f].name, isas[i].name, r->error[i][f], r->where[i][f]);
        check(r->different[f] == 0, "%s: %s: %ld values differ between instruction sets with an FMA", title,
              functions[f].name, r->different[f]);
    }
    if (!exact)
        printf("not judged, but by their bits: %s; the references have no more digits than a double here\n", title);
}

static void measure(const char *title, nnf_dtype dtype, bool all, nnf_index count)
{
    static job work;
    findings total = {0};
    work = (job){.dtype = dtype, .all = all, .count = count};
    nnf_parallel((int)nnf_min(nnf_processors(), MAX_THREADS), measure_share, &work);
    for (int t = 0; t < MAX_THREADS; t++) {
        for (int f = 0; f < N_FUNCTIONS; f++) {
            total.different[f] += work.found[t].different[f];
            for (int i = 0; i < n_isas; i++) {
                if (work.found[t].error[i][f] > total.error[i][f]) {
                    total.error[i][f] = work.found[t].error[i][f];
                    total.where[i][f] = work.found[t].where[i][f];
                }
            }
        }
    }
    judge(title, dtype, &total);
}

/* ---- around the places where the code or the result changes ------------------------------------------------------ */

/* e^x: 0, the clamps, the largest subnormal and the largest number; tanh: 1 and the clamp; odd multiples of ln 2 / 2,
 * where the exponent n changes; logistic: 1; log: the ends of its significand, and 1. */
static const double turning_points[2][16] = {
    {-103.97208, -104, -87.33654, 88.72284, 89, 9.010913, 10, -10, 0.3465736, 1.0397208, -0.3465736, 17.32868,
     -17.32868, 0.70710678, 1.41421356, 1},
    {-745.1332191019412, -746, -708.3964185322641, 709.782712893384, 710, 19.061547465398494, 20, -20,
     0.34657359027997264, 1.0397207708399179, -0.34657359027997264, 36.7368005696771, -36.7368005696771,
     0.7071067811865476, 1.4142135623730951, 1},
};

/* Most functions never decrease; errors and bits are judged as well. */
static void test_turning_points(nnf_dtype dtype)
{
    enum { POINTS = sizeof turning_points[0] / sizeof turning_points[0][0] };
    static double x[BLOCK], out[BLOCK];
    findings found = {0};

    for (int p = 0; p < POINTS; p++) {
        double value = turning_points[dtype][p];
        for (int j = 0; j < BLOCK / 2; j++)
            value = neighbour(dtype, value, -INFINITY);
        for (int j = 0; j < BLOCK; j++, value = neighbour(dtype, value, INFINITY))
            put(dtype, x, j, value);
        measure_block(dtype, BLOCK, x, &found);
        for (int i = 0; i < n_isas; i++) {
            for (int f = 0; f < N_FUNCTIONS; f++) {
                int falls = 0;
                apply(&isas[i], dtype, &functions[f], BLOCK, out, x);
                for (int j = 1; j < BLOCK; j++)
                    falls += get(dtype, out, j) < get(dtype, out, j - 1);
                check(falls == 0 || functions[f].bends, "%s, %s, float%d: falls %d times near %a", functions[f].name,
                      isas[i].name, bits_of(dtype), falls, turning_points[dtype][p]);
            }
        }
    }
    judge(dtype == NNF_FLOAT32 ? "float32, turning points" : "float64, turning points", dtype, &found);
}

/* ---- exact values ------------------------------------------------------------------------------------------------ */

typedef struct value {
    int activation;
    double x, y;
} value;

static const value exact_values[] = {
    {NNF_EXP, 0.0, 1},           {NNF_EXP, -0.0, 1},         {NNF_EXP, INFINITY, INFINITY},
    {NNF_EXP, -INFINITY, 0},     {NNF_EXP, NAN, NAN},        {NNF_EXP, 1e30, INFINITY},
    {NNF_EXP, -1e30, 0},         {LOG, 1, 0},                {LOG, 0.0, -INFINITY},
    {LOG, -0.0, -INFINITY},      {LOG, INFINITY, INFINITY},  {LOG, -INFINITY, NAN},
    {LOG, -1, NAN},              {LOG, -1e-40, NAN},         {LOG, NAN, NAN},
    {NNF_TANH, 0.0, 0.0},        {NNF_TANH, -0.0, -0.0},     {NNF_TANH, INFINITY, 1},
    {NNF_TANH, -INFINITY, -1},   {NNF_TANH, NAN, NAN},       {NNF_TANH, 1e30, 1},
    {NNF_TANH, 0x1p-140, 0x1p-140},                          {NNF_TANH, -0x1p-149, -0x1p-149},
    {NNF_LOGISTIC, 0.0, 0.5},    {NNF_LOGISTIC, -0.0, 0.5},  {NNF_LOGISTIC, INFINITY, 1},
    {NNF_LOGISTIC, -INFINITY, 0},                            {NNF_LOGISTIC, NAN, NAN},
    {NNF_IDENTITY, -0.0, -0.0},  {NNF_IDENTITY, NAN, NAN},   {NNF_IDENTITY, 3, 3},
    {NNF_RELU, 2, 2},            {NNF_RELU, -2, 0},          {NNF_RELU, 0.0, 0.0},
    {NNF_RELU, -0.0, 0.0},       {NNF_RELU, NAN, NAN},       {NNF_RELU, INFINITY, INFINITY},
    {NNF_RELU, -INFINITY, 0},    {NNF_LEAKY_RELU, 2, 2},     {NNF_LEAKY_RELU, NAN, NAN},
    {NNF_LEAKY_RELU, 0.0, 0.0},  {NNF_LEAKY_RELU, INFINITY, INFINITY},
    {NNF_LEAKY_RELU, -INFINITY, -INFINITY},                  {NNF_STEP, 2, 1},
    {NNF_STEP, 0x1p-149, 1},     {NNF_STEP, 0.0, 0},         {NNF_STEP, -2, 0},
    {NNF_STEP, NAN, NAN},        {NNF_STEP, INFINITY, 1},    {NNF_STEP, -INFINITY, 0},
};

/* The slope at a point whose value is y. */
static const value slopes[] = {
    {NNF_IDENTITY, -3, 1},   {NNF_LOGISTIC, 0.5, 0.25}, {NNF_LOGISTIC, 0.25, 0.1875}, {NNF_LOGISTIC, 1, 0},
    {NNF_TANH, 0, 1},        {NNF_TANH, -0.5, 0.75},    {NNF_TANH, 1, 0},             {NNF_RELU, 0, 0},
    {NNF_RELU, 0x1p-149, 1}, {NNF_RELU, 3, 1},          {NNF_RELU, INFINITY, 1},      {NNF_LEAKY_RELU, 3, 1},
    {NNF_LEAKY_RELU, 0, 0.01},                          {NNF_LEAKY_RELU, -3, 0.01},   {NNF_LEAKY_RELU, -0.0, 0.01},
    {NNF_STEP, 1, 0},        {NNF_STEP, 0, 0},          {NNF_EXP, 2.5, 2.5},          {NNF_EXP, 0, 0},
};

static void test_exact_values(const isa *on, nnf_dtype dtype)
{
    const nnf_kernels *kernels = on->kernels->of[dtype];
    double x, y, out, one;
    put(dtype, &one, 0, 1);
    for (size_t i = 0; i < sizeof exact_values / sizeof exact_values[0]; i++) {
        const value *v = &exact_values[i];
        put(dtype, &x, 0, v->x);
        put(dtype, &y, 0, v->y);
        apply(on, dtype, &(function){.activation = v->activation}, 1, &out, &x);
        check(same_bits(dtype, &out, &y, 0), "%s, float%d: f(%a) is %a, not %a", on->name, bits_of(dtype), v->x,
              get(dtype, &out, 0), v->y);
    }
    for (size_t i = 0; i < sizeof slopes / sizeof slopes[0]; i++) {
        put(dtype, &x, 0, slopes[i].x);
        put(dtype, &y, 0, slopes[i].y);
        const double argument = nnf_activation_argument(slopes[i].activation);
        kernels->derive(slopes[i].activation, argument, 1, 1, &out, &one, 1, &x, 1);
        check(same_bits(dtype, &out, &y, 0), "%s, float%d: slope where f is %a: %a, not %a", on->name, bits_of(dtype),
              slopes[i].x, get(dtype, &out, 0), slopes[i].y);
    }
}

/* Every length up to three vectors: the bits of an element do not depend on where it stands, and nothing beyond is
 * touched. */
static void test_lengths(const isa *on, nnf_dtype dtype)
{
    enum { LONGEST = 50 };
    const double guard = -12345;
    double x[LONGEST + 1], out[LONGEST + 1], alone;
    for (int f = 0; f < N_FUNCTIONS; f++) {
        for (int n = 1; n <= LONGEST; n++) {
            int wrong = 0;
            for (int j = 0; j < LONGEST + 1; j++) {
                put_sample(dtype, x, j, (uint64_t)(4 * j * LONGEST + 4 * n + 3));
                put(dtype, out, j, guard);
            }
            apply(on, dtype, &functions[f], n, out, x);
            for (int j = 0; j < n; j++) {
                double one;
                put(dtype, &one, 0, get(dtype, x, j));
                apply(on, dtype, &functions[f], 1, &alone, &one);
                put(dtype, &one, 0, get(dtype, out, j));
                wrong += !same_bits(dtype, &one, &alone, 0);
            }
            for (int j = n; j < LONGEST + 1; j++)
                wrong += get(dtype, out, j) != guard;
            check(wrong == 0, "%s, %s, float%d: %d wrong elements of %d", functions[f].name, on->name, bits_of(dtype),
                  wrong, n);
        }
    }
}

/* ---- the same bits everywhere ------------------------------------------------------------------------------------ */

/* All functions at the first samples, by element type, without and with FMA: the same for every processor, compiler and
 * C library, so that errors measured on one machine hold on all. */
static const uint64_t value_digests[2][2] = {
    {0x3cc4bbbe8dae877du, 0xc1eab7873e6d3af3u},
    {0x51792332d07b73b6u, 0x715aec6b73fc986au},
};

static void test_bits(const isa *on, nnf_dtype dtype)
{
    enum { N = 1 << 16 };
    static double x[N], out[N];
    for (int j = 0; j < N; j++)
        put_sample(dtype, x, j, (uint64_t)j);
    digest = DIGEST_OF_NOTHING;
    for (int f = 0; f < N_FUNCTIONS; f++) {
        apply(on, dtype, &functions[f], N, out, x);
        for (int j = 0; j < N; j++) {
            const double y = get(dtype, out, j), told = isnan(y) ? 0 : y; /* the bits of a NaN are the processor's */
            tell(&told, sizeof told);
        }
    }
    check(digest == value_digests[dtype][on->has_fma], "%s, float%d: the bits have changed: 0x%llxu", on->name,
          bits_of(dtype), (unsigned long long)digest);
}

int main(int argc, char **argv)
{
    const int slow = argc > 1 && strcmp(argv[1], "slow") == 0;
    find_isas();
    printf("Largest errors in ULP.\n");
    for (int d = 0; d < 2; d++) {
        const nnf_dtype dtype = (nnf_dtype)d;
        measure(d == 0 ? "float32, samples" : "float64, samples", dtype, false, SAMPLES);
        test_turning_points(dtype);
        for (int i = 0; i < n_isas; i++) {
            test_exact_values(&isas[i], dtype);
            test_lengths(&isas[i], dtype);
            test_bits(&isas[i], dtype);
        }
    }
    if (slow)
        measure("float32, every value", NNF_FLOAT32, true, (nnf_index)1 << 32);
    return report();
}
