/*
 * tables.c: the names and messages behind the enums of nnfast.h, and the name of the compiler.
 */
#include "nnfast.h"

#include <math.h>

static const char *const messages[] = {
    [NNF_OK] = "success",
    [NNF_NO_MEMORY] = "not enough memory",
    [NNF_TOO_LARGE] = "the arrays would be larger than the address space",
    [NNF_BAD_ARGUMENT] = "a size, stride or index is out of range",
    [NNF_BAD_CONFIG] = "the network description is inconsistent",
    [NNF_UNKNOWN_ISA] = "no such instruction set in this build",
    [NNF_NO_ISA] = "this CPU does not have the instruction set",
    [NNF_NOT_FINITE] = "an input is NaN or infinite",
    [NNF_INTERRUPTED] = "interrupted",
};

static const char *const activations[] = {
#define NNF_ROW(NAME, name, slope) [NNF_##NAME] = #name,
#include "activation.def"
#undef NNF_ROW
    [NNF_SOFTMAX] = "softmax",
    [NNF_ORDERED] = "ordered",
};

static const double arguments[NNF_N_ACTIVATIONS] = {
#define NNF_ROW(NAME, name, slope) [NNF_##NAME] = NAN,
#define NNF_ARGUMENT_ROW(NAME, name, slope, value) [NNF_##NAME] = (value),
#include "activation.def"
#undef NNF_ROW
};

static const char *const losses[] = {
#define NNF_ROW(NAME, name, LINK) [NNF_##NAME] = #name,
#include "loss.def"
#undef NNF_ROW
};

static const char *const solvers[] = {
#define NNF_ROW(NAME, name, states) [NNF_##NAME] = #name,
#include "solver.def"
#undef NNF_ROW
};

static const int solver_states[NNF_N_SOLVERS] = {
#define NNF_ROW(NAME, name, states) [NNF_##NAME] = (states),
#include "solver.def"
#undef NNF_ROW
};

#define ROWS(table) ((int)(sizeof(table) / sizeof(table)[0]))

static const char *row(const char *const *table, int n_rows, int index)
{
    return index >= 0 && index < n_rows ? table[index] : NULL;
}

const char *nnf_status_message(nnf_status status)
{
    const char *message = row(messages, ROWS(messages), (int)status);
    return message != NULL ? message : "unknown status";
}

const char *nnf_activation_name(int activation)
{
    return row(activations, ROWS(activations), activation);
}

const char *nnf_loss_name(int loss)
{
    return row(losses, ROWS(losses), loss);
}

const char *nnf_solver_name(int solver)
{
    return row(solvers, ROWS(solvers), solver);
}

int nnf_solver_states(int solver)
{
    return solver >= 0 && solver < NNF_N_SOLVERS ? solver_states[solver] : 0;
}

double nnf_activation_argument(int activation)
{
    return activation >= 0 && activation < NNF_N_ACTIVATIONS ? arguments[activation] : NAN;
}

const char *nnf_compiler(void)
{
#ifdef __clang__
    return "clang " __clang_version__;
#else
    return "gcc " __VERSION__;
#endif
}
