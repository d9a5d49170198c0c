/*
 * memory.c: the one allocator of the engine, and arenas laid out in it.
 */
#define _DEFAULT_SOURCE /* madvise */
#include "internal.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Allocations left until one fails; negative: none will. Set by tests. */
static _Atomic nnf_index countdown = -1;

void nnf_fail_allocation(nnf_index allocations)
{
    atomic_store(&countdown, allocations);
}

static bool fails_now(void)
{
    nnf_index left = atomic_load(&countdown);
    while (left >= 0) {
        if (atomic_compare_exchange_weak(&countdown, &left, left - 1))
            return left == 0;
    }
    return false;
}

/* Rows of wide matrices lie pages apart, more pages than a CPU keeps addresses of. Large allocations ask for pages of
 * this size (Linux): 2 % of a step of 1024-2048-2048-10. */
static const size_t huge_page = (size_t)2 << 20;

void *nnf_alloc(size_t bytes)
{
    if (bytes > SIZE_MAX / 2 || fails_now())
        return NULL;
    const bool large = bytes >= 2 * huge_page;
    const size_t unit = large ? huge_page : NNF_ALIGN;
    const size_t rounded = (bytes + unit) / unit * unit; /* never 0: aligned_alloc(…, 0) may return NULL */
    void *memory = aligned_alloc(unit, rounded);
    if (memory == NULL)
        return NULL;
#ifdef MADV_HUGEPAGE
    if (large)
        madvise(memory, rounded, MADV_HUGEPAGE); /* whether it is heeded does not matter */
#endif
    memset(memory, 0, rounded);
    return memory;
}

void nnf_free(void *memory)
{
    free(memory);
}

void *nnf_take(nnf_arena *arena, nnf_index rows, nnf_index columns, size_t size)
{
    size_t r = (size_t)rows, c = (size_t)columns;
    size_t limit = SIZE_MAX / 2 - arena->used - NNF_ALIGN;
    if (arena->overflow || (c != 0 && r > limit / c) || (r * c != 0 && size > limit / (r * c))) {
        arena->overflow = true;
        return NULL;
    }
    void *piece = arena->base == NULL ? NULL : arena->base + arena->used;
    arena->used += (r * c * size + NNF_ALIGN - 1) / NNF_ALIGN * NNF_ALIGN;
    return piece;
}
