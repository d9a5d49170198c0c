# The declarations of csrc/nnfast.h that the binding uses. nnfast.h documents them.

from libc.stdint cimport int32_t, uint32_t, uint64_t

cdef extern from "nnfast.h" nogil:
    ctypedef Py_ssize_t nnf_index

    ctypedef enum nnf_status:
        NNF_OK
        NNF_NO_MEMORY
        NNF_TOO_LARGE
        NNF_BAD_ARGUMENT
        NNF_BAD_CONFIG
        NNF_UNKNOWN_ISA
        NNF_NO_ISA
        NNF_NOT_FINITE
        NNF_INTERRUPTED
    const char *nnf_status_message(nnf_status status)

    const char *nnf_compiler()

    int nnf_isa_count()
    const char *nnf_isa_name(int index)
    int nnf_isa_available(int index)
    nnf_status nnf_isa_init()
    const char *nnf_isa_active()
    nnf_status nnf_isa_select(const char *name)

    ctypedef enum nnf_dtype:
        NNF_FLOAT32
        NNF_FLOAT64
    ctypedef enum nnf_activation:
        NNF_N_ACTIVATIONS
    ctypedef enum nnf_part:
        NNF_PARAMETERS
        NNF_STATE_1
        NNF_STATE_2
        NNF_GRADIENTS
    const char *nnf_activation_name(int activation)
    const char *nnf_loss_name(int loss)
    const char *nnf_solver_name(int solver)
    int nnf_solver_states(int solver)
    double nnf_activation_argument(int activation)

    const char *nnf_threads_backend()
    int nnf_processors()
    int nnf_max_threads()
    void nnf_fail_allocation(nnf_index countdown)

    nnf_status nnf_matmul(nnf_dtype dtype, nnf_index m, nnf_index n, nnf_index k, void *C, nnf_index ldc,
                          const void *A, nnf_index rs_a, nnf_index cs_a,
                          const void *B, nnf_index rs_b, nnf_index cs_b, int n_threads)
    nnf_status nnf_activate(nnf_dtype dtype, nnf_activation activation, double argument, nnf_index n, void *out,
                            const void *x)
    nnf_status nnf_activate_grad(nnf_dtype dtype, nnf_activation activation, double argument, nnf_index n, void *out,
                                 const void *x)
    int nnf_all_finite(nnf_dtype dtype, nnf_index n, const void *x)
    void nnf_both_classes(nnf_dtype dtype, nnf_index n, void *out)
    nnf_status nnf_softmax(nnf_dtype dtype, nnf_index m, nnf_index n, void *out, const void *x)

    ctypedef struct nnf_loss_args:
        double huber_delta
        double tweedie_power
        double focal_gamma
        int n_levels
        const double *levels

    ctypedef struct nnf_config:
        nnf_dtype dtype
        int n_layers
        const nnf_index *sizes
        const int *activations
        const double *arguments
        int loss
        int solver
        double alpha
        double l1
        double clip_value
        double clip_norm
        double momentum
        double beta_1
        double beta_2
        double epsilon
        nnf_loss_args loss_args
        const double *dropout
        int n_groups
        const nnf_index *groups
        nnf_index max_batch
        int sparse
        int keep_gradients
        int n_threads

    ctypedef struct nnf_rows:
        nnf_index n
        const void *values
        nnf_index ld
        const nnf_index *indptr
        const int32_t *indices
        nnf_index n_stored

    ctypedef struct nnf_data:
        nnf_rows X
        const void *Y
        nnf_index ldy
        const double *weights

    ctypedef struct nnf_epoch:
        nnf_data data
        nnf_index n
        const nnf_index *order
        nnf_index batch
        const double *rates
        const double *gradient_rates
        const double *reaches
        const double *decays
        uint64_t noise
        int (*poll)() except -1 nogil

    ctypedef struct nnf_progress:
        double data
        double penalty
        double norms
        nnf_index rows
        nnf_index steps

    ctypedef struct nnf_network:
        pass

    # NNF_INTERRUPTED means that the poll function raised.
    nnf_status nnf_forward(const nnf_config *config, const void *const *params, const nnf_rows *X, int finite,
                           void *out, int (*poll)() except -1 nogil) except NNF_INTERRUPTED
    nnf_status nnf_network_create(const nnf_config *config, nnf_network **out)
    void nnf_network_close(nnf_network *network)
    void nnf_network_free(nnf_network *network)
    nnf_status nnf_network_load(nnf_network *network, nnf_part part, const void *const *arrays)
    nnf_status nnf_network_store(const nnf_network *network, nnf_part part, void *const *arrays)
    nnf_status nnf_network_forward(const nnf_network *network, const nnf_rows *X, void *out,
                                   int (*poll)() except -1 nogil) except NNF_INTERRUPTED
    nnf_status nnf_network_train_epoch(nnf_network *network, const nnf_epoch *epoch,
                                       nnf_progress *progress) except NNF_INTERRUPTED
    nnf_status nnf_network_gradients(nnf_network *network, const nnf_data *data, int (*poll)() except -1 nogil,
                                     nnf_progress *loss) except NNF_INTERRUPTED
    nnf_status nnf_network_step_forward(nnf_network *network, const nnf_epoch *batch, int learning, void *raw,
                                        double *penalty) except NNF_INTERRUPTED
    nnf_status nnf_network_step_backward(nnf_network *network, const nnf_epoch *batch, int learning,
                                         const void *gradient, nnf_progress *progress) except NNF_INTERRUPTED

    # ---- order of the rows ----

    ctypedef struct nnf_bit_source:
        pass

    void nnf_shuffle(nnf_index n, nnf_index *order, const nnf_bit_source *source)

    # ---- perceptron ----

    ctypedef enum nnf_penalty_kind:
        NNF_NO_PENALTY
        NNF_L1
        NNF_L2
        NNF_ELASTIC_NET

    ctypedef struct nnf_perceptron:
        nnf_dtype dtype
        nnf_index n_samples
        nnf_index n_features
        const void *x
        const int *indptr
        const int *indices
        const void *target
        const void *sample_weight
        const unsigned char *held_out
        int activation
        int penalty
        double alpha
        double l1_ratio
        double eta0
        double intercept_rate
        double weight_negative
        double weight_positive
        int shuffle
        uint32_t seed
        int track_loss
        int track_norms
        int *order
        void *weights
        void *l1_applied
        double l1_due
        double intercept
        double scale
        double square_norm
        double l1_norm
        double *weight_sum
        double intercept_sum
        double scale_sum
        nnf_index n_unaveraged
        nnf_index n_averaged
        double loss_sum
        double objective_sum
        int finite

    nnf_status nnf_perceptron_epoch(nnf_perceptron *perceptron, int (*poll)() except -1 nogil) except NNF_INTERRUPTED
    void nnf_perceptron_rescale(nnf_perceptron *perceptron)
