/*
 * check.h: what the C tests share: counting, the instruction sets of this CPU, elements of either type behind a void
 * pointer, random numbers, and fenced memory, in which one step too far is found. To be included first.
 */
#ifndef NNF_TESTS_CHECK_H
#define NNF_TESTS_CHECK_H

#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */

#include "kernels.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef _WIN32
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#else
#include <sys/mman.h>
#endif

/* ---- counting ------------------------------------------------------------------------------------------------- */

static long passed, failed;

/* Counts a case; says what failed, the first hundred times. */
__attribute__((format(printf, 2, 3))) static inline void check(int condition, const char *format, ...)
{
    if (condition) {
        passed++;
        return;
    }
    if (failed++ < 100) {
        va_list arguments;
        va_start(arguments, format);
        printf("FAILED ");
        vprintf(format, arguments);
        printf("\n");
        va_end(arguments);
    }
}

/* The last line of a test program, and its exit status: a program that met no case fails. */
static inline int report(void)
{
    printf("%ld passed, %ld failed\n", passed, failed);
    return failed > 0 || passed == 0;
}

/* ---- the instruction sets of this CPU ------------------------------------------------------------------------- */

enum { MAX_ISAS = 4 };

typedef struct isa {
    const char *name;
    const nnf_isa_kernels *kernels;
    int has_fma;
} isa;

static isa isas[MAX_ISAS];
static int n_isas;

static inline void find_isas(void)
{
    int index = 0;
#define NNF_ISA(isa_name, cpu)                                                                                   \
    if (nnf_isa_available(index++))                                                                              \
        isas[n_isas++] = (isa){#isa_name, &nnf_kernels_##isa_name, strcmp(#isa_name, "scalar") != 0};
#include "isa.def"
#undef NNF_ISA
    check(n_isas > 0 && strcmp(isas[n_isas - 1].name, "scalar") == 0, "the scalar kernels are always there");
}

/* ---- elements ------------------------------------------------------------------------------------------------- */

static inline double get(nnf_dtype dtype, const void *array, nnf_index j)
{
    return dtype == NNF_FLOAT32 ? (double)((const float *)array)[j] : ((const double *)array)[j];
}

static inline void put(nnf_dtype dtype, void *array, nnf_index j, double value)
{
    if (dtype == NNF_FLOAT32)
        ((float *)array)[j] = (float)value;
    else
        ((double *)array)[j] = value;
}

static inline double rounded(nnf_dtype dtype, double value)
{
    return dtype == NNF_FLOAT32 ? (double)(float)value : value;
}

static inline double epsilon(nnf_dtype dtype)
{
    return dtype == NNF_FLOAT32 ? 0x1p-23 : 0x1p-52;
}

static inline int bits_of(nnf_dtype dtype)
{
    return dtype == NNF_FLOAT32 ? 32 : 64;
}

/* ---- random numbers: splitmix64, the same everywhere ---------------------------------------------------------- */

static uint64_t random_state;

static inline uint64_t random_bits(void)
{
    uint64_t x = random_state += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* -4 .. 4: sums of a thousand products are exact in float. */
static inline double random_integer(void)
{
    return (double)(random_bits() % 9) - 4;
}

/* Between -1 and 1, exact in float. */
static inline double random_number(void)
{
    return (double)(random_bits() >> 40) * 0x1p-23 - 1;
}

static inline void fill(nnf_dtype dtype, void *array, nnf_index n, double (*next)(void))
{
    for (nnf_index j = 0; j < n; j++)
        put(dtype, array, j, next());
}

/* ---- the bits of results, as one number: FNV-1a ---------------------------------------------------------------- */

#define DIGEST_OF_NOTHING 0xcbf29ce484222325u

static uint64_t digest;

static inline void tell(const void *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        digest = (digest ^ ((const unsigned char *)data)[i]) * 0x100000001b3u;
}

/* ---- fenced memory -------------------------------------------------------------------------------------------- */

/* Zeros, which take memory where they are touched; NULL when the machine does not promise so many. */
static inline void *zero_pages(size_t bytes)
{
#ifdef _WIN32
    return VirtualAlloc(NULL, bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
#else
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
#endif
}

/* From now on pages may be neither read nor written; whether that could be had. */
static inline int forbid(void *pages, size_t bytes)
{
#ifdef _WIN32
    DWORD before;
    return VirtualProtect(pages, bytes, PAGE_NOACCESS, &before) != 0;
#else
    return mprotect(pages, bytes, PROT_NONE) == 0;
#endif
}

/* Arrays end where a page begins that may be neither read nor written, and start behind bytes that are looked at later.
 * They are thus aligned to one element only. A slot holds one array at a time. No machine has larger pages. */
enum { N_SLOTS = 9, SLOT_BYTES = 1 << 22, FRONT_BYTES = 256, PAGE_BYTES = 1 << 16, GUARD_BYTE = 0xa5 };

static unsigned char *slots[N_SLOTS];
static size_t used[N_SLOTS];

static inline void *fenced(int slot, nnf_dtype dtype, nnf_index elements)
{
    const size_t bytes = (size_t)elements * (dtype == NNF_FLOAT32 ? sizeof(float) : sizeof(double));
    if (slots[slot] == NULL) {
        slots[slot] = zero_pages(SLOT_BYTES + PAGE_BYTES);
        if (slots[slot] == NULL || !forbid(slots[slot] + SLOT_BYTES, PAGE_BYTES)) {
            printf("no memory\n");
            exit(1);
        }
    }
    if (bytes + FRONT_BYTES > SLOT_BYTES) {
        printf("an array of %zu bytes is too large for a slot\n", bytes);
        exit(1);
    }
    used[slot] = bytes;
    memset(slots[slot] + SLOT_BYTES - bytes - FRONT_BYTES, GUARD_BYTE, bytes + FRONT_BYTES);
    return slots[slot] + SLOT_BYTES - bytes;
}

/* Nothing was written before the array. */
static inline int intact_before(int slot)
{
    const unsigned char *front = slots[slot] + SLOT_BYTES - used[slot] - FRONT_BYTES;
    for (int i = 0; i < FRONT_BYTES; i++)
        if (front[i] != GUARD_BYTE)
            return 0;
    return 1;
}

/* Elements [begin, end) of an array were not written since fenced(). */
static inline int untouched(nnf_dtype dtype, const void *array, nnf_index begin, nnf_index end)
{
    const nnf_index size = dtype == NNF_FLOAT32 ? (nnf_index)sizeof(float) : (nnf_index)sizeof(double);
    const unsigned char *bytes = array;
    for (nnf_index i = begin * size; i < end * size; i++)
        if (bytes[i] != GUARD_BYTE)
            return 0;
    return 1;
}

#endif
