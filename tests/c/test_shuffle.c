/*
 * test_shuffle.c: the draws of nnf_shuffle, with a source of bits that gives the words of a script: how they are cut,
 * which are refused, of which width they are, and how many are drawn. That the permutations are NumPy's is tested from
 * Python (tests/test_shuffle.py).
 */
#include "check.h"

#include <setjmp.h>

/* Words to give, and what was asked for. A question beyond the end of the script ends the shuffle. */
typedef struct script {
    const uint64_t *words;
    int n_words, n_wide, n_asked;
    jmp_buf end;
} script;

static uint64_t next(script *s)
{
    if (s->n_asked == s->n_words)
        longjmp(s->end, 1);
    return s->words[s->n_asked++];
}

static uint64_t next_uint64(void *state)
{
    ((script *)state)->n_wide++;
    return next(state);
}

static uint32_t next_uint32(void *state)
{
    return (uint32_t)next(state);
}

/* Shuffles with these words; returns whether there were enough of them. */
static int shuffle(nnf_index n, nnf_index *order, script *s)
{
    const nnf_bit_source source = {.state = s, .next_uint64 = next_uint64, .next_uint32 = next_uint32};
    if (setjmp(s->end) != 0)
        return 0;
    nnf_shuffle(n, order, &source);
    return 1;
}

/* The words, the permutation of 0 .. n - 1 that they make; all the words are drawn, and none of 64 bits. */
static void test_script(nnf_index n, int n_words, const uint64_t *words, const nnf_index *expected)
{
    nnf_index *order = fenced(0, NNF_FLOAT64, n); /* 8 bytes each */
    script s = {.words = words, .n_words = n_words};
    for (nnf_index i = 0; i < n; i++)
        order[i] = i;
    check(shuffle(n, order, &s), "%td elements: no more than %d draws", n, n_words);
    check(s.n_asked == n_words && s.n_wide == 0, "%td elements: %d draws", n, s.n_asked);
    for (nnf_index i = 0; i < n; i++)
        check(order[i] == expected[i], "%td elements: place %td has %td", n, i, order[i]);
    check(intact_before(0), "%td elements: nothing is written before them", n);
}

static void test_scripts(void)
{
    const uint64_t ones = UINT32_MAX;
    const nnf_index same[] = {0, 1, 2, 3, 4};
    test_script(0, 0, NULL, same);
    test_script(1, 0, NULL, same);
    /* 2: one bit, never refused. */
    test_script(2, 1, (const uint64_t[]){ones - 1}, (const nnf_index[]){1, 0});
    test_script(2, 1, (const uint64_t[]){ones}, same);
    /* 3: two bits for element 2, of which 3 is refused; one for element 1. */
    test_script(3, 2, (const uint64_t[]){2, 1}, same);
    test_script(3, 4, (const uint64_t[]){3, ones, ones - 3, 0}, (const nnf_index[]){1, 2, 0});
    /* 4: two bits for elements 3 and 2; only the latter refuses 3. */
    test_script(4, 3, (const uint64_t[]){3, 2, 1}, same);
    test_script(4, 4, (const uint64_t[]){4 + 1, 3, 8 + 1, 2}, (const nnf_index[]){2, 0, 3, 1});
    /* 5: three bits for element 4, which refuses 5, 6 and 7. */
    test_script(5, 7, (const uint64_t[]){5, 6, 7, 4, 3, 2, 1}, same);
    test_script(5, 4, (const uint64_t[]){0, 0, 0, 0}, (const nnf_index[]){1, 2, 3, 4, 0});
}

/* Elements beyond the reach of 32 bits. Only the pages that the script names are touched. */
static void test_wide(void)
{
    const nnf_index n = ((nnf_index)1 << 32) + 2;
    nnf_index *order = zero_pages((size_t)n * sizeof(nnf_index));
    if (order == NULL) {
        printf("not run, this machine does not promise 32 GiB: the shuffle of very many\n");
        return;
    }
    const nnf_index top = n - 1;
    order[0] = 1, order[7] = 2, order[top] = 3, order[top - 1] = 4, order[top - 2] = 5;
    /* top is 2^32 + 1 and refuses 2^32 + 2; 33 bits count. Then 32 of them, where every word is valid. */
    const uint64_t words[] = {(1ull << 32) + 2, (1ull << 33) + 7, 1ull << 34, 0};
    script s = {.words = words, .n_words = 4};
    check(!shuffle(n, order, &s) && s.n_asked == 4, "the shuffle of very many ends with the script");
    check(s.n_wide == 3, "%d words of 64 bits", s.n_wide);
    check(order[top] == 2 && order[7] == 3, "the refused word is drawn again, with 33 bits");
    check(order[top - 1] == 1, "the last one with 33 bits");
    check(order[top - 2] == 4 && order[0] == 5, "the first one with 32 bits");
}

int main(void)
{
    test_scripts();
    test_wide();
    return report();
}
