/*
 * memory.c: the one allocator of the engine, and arenas laid out in it.
 */
#define _DEFAULT_SOURCE /* madvise */
#include "internal.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

#if defined(_WIN32)
#include <malloc.h>
#elif defined(__linux__)
#include <sys/mman.h>
#endif

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

static void *allocate(size_t bytes)
{
    const bool large = bytes >= 2 * huge_page;
    const size_t unit = large ? huge_page : NNF_ALIGN;
    const size_t rounded = (bytes + unit) / unit * unit; /* never 0: aligned_alloc(…, 0) may return NULL */
#ifdef _WIN32 /* has no aligned_alloc: its free could not tell where such a block begins */
    return _aligned_malloc(rounded, unit);
#else
    void *memory = aligned_alloc(unit, rounded);
#ifdef MADV_HUGEPAGE
    if (large && memory != NULL)
        (void)madvise(memory, rounded, MADV_HUGEPAGE); /* whether it is heeded does not matter */
#endif
    return memory;
#endif
}

void *nnf_alloc(size_t bytes)
{
    return bytes > SIZE_MAX / 2 || fails_now() ? NULL : allocate(bytes);
}

void nnf_free(void *memory)
{
#ifdef _WIN32
    _aligned_free(memory);
#else
    free(memory);
#endif
}

/* A block of scratch: its size, then, NNF_ALIGN bytes on, what the caller gets. */
typedef struct scratch {
    size_t bytes;
} scratch;

static _Atomic(scratch *) spare = NULL;

void *nnf_scratch_take(size_t bytes)
{
    if (bytes > SIZE_MAX / 2 || fails_now())
        return NULL;
    scratch *block = atomic_exchange(&spare, NULL);
    if (block == NULL || block->bytes < bytes) {
        nnf_free(block);
        block = allocate(bytes + NNF_ALIGN);
        if (block == NULL)
            return NULL;
        block->bytes = bytes;
    }
    return (char *)block + NNF_ALIGN;
}

void nnf_scratch_give(void *memory)
{
    scratch *block = (scratch *)(void *)((char *)memory - NNF_ALIGN);
    nnf_free(block->bytes > NNF_SPARE_BYTES ? block : atomic_exchange(&spare, block));
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
