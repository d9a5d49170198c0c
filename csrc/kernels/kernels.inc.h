/*
 * kernels.inc.h: turns one vector header into the kernel table of an ISA. An isa_<name>.c file includes its
 * simd_<name>.h, defines NNF_TABLE, and includes this. The five templates are read once for float, once for double; in
 * them
 *
 *   T, VT, MT, IT   the element type, its vector, lane mask and integer vector     (float: float, f32_v, f32_m, f32_i)
 *   V(op)           the function or name `op` of this type                         (V(add) is f32_add)
 *   LANES           elements of a vector
 */
#include "../kernels.h"

#include <float.h>
#include <stdbool.h>
#include <string.h>

_Static_assert((int)NNF_FEW_COLUMNS <= (int)F64_LANES * NNF_TILE_VECTORS, "few columns are of one panel");
_Static_assert(F32_LANES * NNF_TILE_VECTORS * NNF_BLOCK_ROWS * sizeof(float) <= NNF_BLOCK_BYTES, "a block has 48 rows");
_Static_assert(NNF_FEW_BLOCK * NNF_FEW_COLUMNS * sizeof(double) <= NNF_BLOCK_BYTES, "a block has few columns");

#define KERNEL_TABLE                                       \
    {                                                      \
        .size = sizeof(T),                                 \
        .lanes = LANES,                                    \
        .panel = LANES * NNF_TILE_VECTORS,                 \
        .slice_rows = V(slice_rows),                       \
        .slice_columns = V(slice_columns),                 \
        .gemm = V(gemm),                                   \
        .gemm_few = V(gemm_few),                           \
        .sparse_gradient = V(sparse_gradient),             \
        .activate = V(activate),                           \
        .derive = V(derive),                               \
        .activate_with_slope = V(activate_with_slope),     \
        .dropout = V(dropout),                             \
        .log = V(log_array),                               \
        .finite = V(finite),                               \
        .both_classes = V(both_classes),                   \
        .softmax = V(softmax),                             \
        .ordered = V(ordered),                             \
        .output = V(output),                               \
        .scale = V(scale),                                 \
        .column_sums = V(column_sums),                     \
        .column_norms = V(column_norms),                   \
        .row_norm = V(row_norm),                           \
        .sum = V(sum),                                     \
        .widen_add = V(widen_add),                         \
        .narrow = V(narrow),                               \
        .copy = V(copy),                                   \
        .transpose = V(transpose_block),                   \
        .update = V(update),                               \
    }

#define T float
#define VT f32_v
#define MT f32_m
#define IT f32_i
#define V(op) f32_##op
#define LANES F32_LANES
#define NNF_F32 1
#define EPSILON FLT_EPSILON
#define SMALLEST_NORMAL FLT_MIN
#include "activation.inc.h"
#include "rowops.inc.h"
#include "dropout.inc.h"
#include "gemm_ukr.inc.h"
#include "update.inc.h"
static const nnf_kernels f32_kernels = KERNEL_TABLE;
#undef T
#undef VT
#undef MT
#undef IT
#undef V
#undef LANES
#undef NNF_F32
#undef EPSILON
#undef SMALLEST_NORMAL

#define T double
#define VT f64_v
#define MT f64_m
#define IT f64_i
#define V(op) f64_##op
#define LANES F64_LANES
#define NNF_F32 0
#define EPSILON DBL_EPSILON
#define SMALLEST_NORMAL DBL_MIN
#include "activation.inc.h"
#include "rowops.inc.h"
#include "dropout.inc.h"
#include "gemm_ukr.inc.h"
#include "update.inc.h"
static const nnf_kernels f64_kernels = KERNEL_TABLE;

const nnf_isa_kernels NNF_TABLE = {{&f32_kernels, &f64_kernels}};
