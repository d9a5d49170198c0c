"""The MLP estimators as transformers: the values of a hidden layer as features for whatever comes after."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from sklearn.utils._set_output import _wrap_data_with_container
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

from nnfast._checks import check_rows
from nnfast._layers import hidden_activations
from nnfast._outputs import forward
from nnfast._rows import Array


class HiddenLayers:
    """`transform`, and the names of what it gives.

    To be inherited before TransformerMixin, which wraps the output in a frame, where `set_output` says so, for classes
    that define `transform` themselves; this one wraps it with the names of the layer.
    """

    activation: Any
    n_jobs: int | None
    coefs_: list[Array]
    intercepts_: list[Array]
    _named_layer = -1

    def transform(self, X, layer=-1):
        """The values of a hidden layer.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The input data.

        layer : int, default=-1
            Which of the hidden layers: 0 is the first after the input, -1 the last before the output.

        Returns
        -------
        values : ndarray of shape (n_samples, units of the layer)
            After the activation, in the wider dtype of X and of the weights; a frame of pandas or polars where
            ``set_output`` asks for one.

        Raises
        ------
        ValueError
            There is no such layer.
        """
        check_is_fitted(self, "coefs_")
        layer = self._hidden_layer(layer)
        rows = check_rows(self, X)
        activations = hidden_activations(self.activation, len(self.coefs_) - 1)
        end = layer + 1
        values = forward(rows, self.coefs_[:end], self.intercepts_[:end], activations[:end], self.n_jobs)
        named = copy.copy(self)
        named._named_layer = layer
        return _wrap_data_with_container("transform", values, X, named)

    def get_feature_names_out(self, input_features=None):
        """Names of the features that ``transform`` gives of the last hidden layer.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Checked against ``feature_names_in_``; not used otherwise.

        Returns
        -------
        names : ndarray of str
            The name of the class in lower case and the number of the unit: 'mlpclassifier0', 'mlpclassifier1', ...
        """
        check_is_fitted(self, "coefs_")
        _check_feature_names_in(self, input_features, generate_names=False)
        n_units = len(self.intercepts_[self._hidden_layer(self._named_layer)])
        return np.array([f"{type(self).__name__.lower()}{unit}" for unit in range(n_units)], dtype=object)

    def _hidden_layer(self, layer: int) -> int:
        n_hidden = len(self.coefs_) - 1
        if not -n_hidden <= layer < n_hidden:
            raise ValueError(f"layer must be from {-n_hidden} to {n_hidden - 1}: there are {n_hidden} hidden layers")
        return layer % n_hidden
