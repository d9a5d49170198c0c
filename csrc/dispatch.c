/*
 * dispatch.c: which instruction sets this CPU and its operating system can run, and which one is in use. The only file
 * that asks the CPU or the environment.
 */
#include "internal.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Features as a bit set; an ISA is available when all bits it needs are there. */
enum { NNF_CPU_ANY = 0, NNF_CPU_AVX2 = 1, NNF_CPU_AVX512 = 2 };

#ifdef NNFAST_HAVE_X86
#include <cpuid.h>

/* XCR0: the register state that the operating system saves. Of macOS it never shows that of AVX-512. */
static unsigned os_state(void)
{
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static int cpu_features(void)
{
    unsigned a, b, c, d;
    const unsigned fma = 1u << 12, osxsave = 1u << 27;                                 /* leaf 1, ecx */
    const unsigned avx2 = 1u << 5;                                                     /* leaf 7, ebx */
    const unsigned avx512 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;                 /* F, DQ, BW, VL */
    const unsigned ymm_state = 0x6, zmm_state = 0xe6;                                  /* SSE, AVX; opmask, ZMM */

    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & (fma | osxsave)) != (fma | osxsave))
        return NNF_CPU_ANY;
    unsigned state = os_state();
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (b & avx2) == 0 || (state & ymm_state) != ymm_state)
        return NNF_CPU_ANY;
    bool wide = (b & avx512) == avx512 && (state & zmm_state) == zmm_state;
    return wide ? NNF_CPU_AVX2 | NNF_CPU_AVX512 : NNF_CPU_AVX2;
}
#else
static int cpu_features(void)
{
    return NNF_CPU_ANY;
}
#endif

typedef struct isa {
    const char *name;
    int needs;
    const nnf_isa_kernels *kernels;
} isa;

static const isa isas[] = {
#define NNF_ISA(name, cpu) {#name, cpu, &nnf_kernels_##name},
#include "isa.def"
#undef NNF_ISA
};

enum { N_ISAS = sizeof isas / sizeof isas[0] };

/* Index of the ISA in use; -1 before the first call. Two threads that race to set it write the same value. */
static atomic_int active = -1;

int nnf_isa_count(void)
{
    return N_ISAS;
}

const char *nnf_isa_name(int index)
{
    return index >= 0 && index < N_ISAS ? isas[index].name : NULL;
}

int nnf_isa_available(int index)
{
    return index >= 0 && index < N_ISAS && (isas[index].needs & ~cpu_features()) == 0;
}

nnf_status nnf_isa_select(const char *name)
{
    for (int i = 0; i < N_ISAS; i++) {
        if (strcmp(isas[i].name, name) == 0) {
            if (!nnf_isa_available(i))
                return NNF_NO_ISA;
            atomic_store(&active, i);
            return NNF_OK;
        }
    }
    return NNF_UNKNOWN_ISA;
}

nnf_status nnf_isa_init(void)
{
    if (atomic_load(&active) >= 0)
        return NNF_OK;
    const char *forced = getenv("NNFAST_ISA");
    if (forced != NULL && forced[0] != '\0')
        return nnf_isa_select(forced);
    int best = 0;
    while (!nnf_isa_available(best)) /* the last one, scalar, always is */
        best++;
    atomic_store(&active, best);
    return NNF_OK;
}

/* The ISA in use. With a wrong NNFAST_ISA, which nnf_isa_init reports, the scalar one. */
static const isa *current(void)
{
    int index = atomic_load_explicit(&active, memory_order_relaxed);
    if (index < 0)
        index = nnf_isa_init() == NNF_OK ? atomic_load(&active) : N_ISAS - 1;
    return &isas[index];
}

const char *nnf_isa_active(void)
{
    return current()->name;
}

const nnf_kernels *nnf_active_kernels(nnf_dtype dtype)
{
    return current()->kernels->of[dtype];
}
