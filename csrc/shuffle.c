/*
 * shuffle.c: puts the rows of an epoch in random order, with the swaps and the draws of NumPy's RandomState.shuffle.
 */
#include "nnfast.h"

#include <stdbool.h>

/* Fisher and Yates, from the back: element i changes places with one that is drawn from 0 .. i. A draw is a word cut to
 * as many bits as i has, and is repeated while it is larger than i. So a quarter of the words and more come to nothing,
 * which no CPU can predict: such a word swaps element i with itself, and the same i is drawn for again. */
void nnf_shuffle(nnf_index n, nnf_index *order, const nnf_bit_source *source)
{
    nnf_index i = n - 1;
    nnf_index mask = 0;
    while (mask < i)
        mask = 2 * mask + 1;
    for (; mask > 0; mask >>= 1) {
        const bool wide = (uint64_t)mask > UINT32_MAX;
        while (i > mask >> 1) {
            const uint64_t word = wide ? source->next_uint64(source->state) : source->next_uint32(source->state);
            const nnf_index drawn = (nnf_index)(word & (uint64_t)mask);
            const bool valid = drawn <= i;
            const nnf_index j = valid ? drawn : i;
            const nnf_index moved = order[i];
            order[i] = order[j];
            order[j] = moved;
            i -= valid;
        }
    }
}
