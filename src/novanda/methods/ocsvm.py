"""The one-class support vector machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from sklearn.svm import OneClassSVM
from torch import Tensor, nn

from novanda.errors import InputError
from novanda.method import Method, Reference, require
from novanda.samples import KINDS, Kind, Normals


@dataclass(frozen=True, kw_only=True)
class OCSVM(Method):
    """One-class SVM with a Gaussian kernel on pixels or features (Schoelkopf et al., 2001), fitted by scikit-learn.

    The published row of Table 3 chose nu and gamma by *test* AUROC; here both are fixed beforehand. Fitting takes all
    samples in memory and time between N^2 and N^3: subsample beyond some ten thousand.
    Score: rho - sum_i a_i exp(-gamma ||x - x_i||^2) over the support vectors x_i.

    When to use it: on tables of up to some thousand rows, scaled alike, where a smooth boundary is wanted; on
    pixels the nearest neighbour is as good and needs no kernel.

    Attributes:
        nu: upper bound on the share of training samples outside, in (0, 1); at 1 the offset is undefined.
        gamma: kernel width: "scale" is 1 / (F var(X)), "auto" 1 / F, or a number above 0; F values in a sample.
    """

    name: ClassVar[str] = "ocsvm"
    title: ClassVar[str] = "OCSVM"
    kinds: ClassVar[frozenset[Kind]] = frozenset(KINDS)

    nu: float = 0.5
    gamma: float | Literal["scale", "auto"] = "scale"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.nu < 1, self, "nu", "in (0, 1)")
        require(isinstance(self.gamma, str) or self.gamma > 0, self, "gamma", "'scale', 'auto' or a number above 0")

    def reference(self, model: nn.Module, normals: Normals) -> dict[str, Tensor]:
        """Support vectors (V, F), their coefficients (V,), the kernel's gamma and the offset rho."""
        samples = torch.cat([batch.cpu().flatten(1) for batch in normals.batches()]).double().numpy()
        if not np.ptp(samples, axis=0).any():
            raise InputError("all training samples are identical: a one-class SVM has nothing to enclose")
        machine = OneClassSVM(kernel="rbf", nu=self.nu, gamma=self.gamma)
        # Nothing here is random, but left to itself it would draw from NumPy's global generator, which is the user's.
        machine.random_state = 0
        machine.fit(samples)
        return {
            "support": torch.from_numpy(machine.support_vectors_.astype(np.float32)),
            "coefficients": torch.from_numpy(machine.dual_coef_[0]),
            "gamma": torch.tensor(machine._gamma, dtype=torch.float64),
            "rho": torch.tensor(-machine.intercept_[0], dtype=torch.float64),
        }

    def novelty(self, model: nn.Module, reference: Reference, images: Tensor) -> dict[str, Tensor]:
        """rho - sum_i a_i K(x_i, x): minus the machine's decision function; higher = more novel."""
        # Coefficients sum to nu N while scores differ in the fourth digit: float32 would not carry that.
        samples, support = images.flatten(1).double(), reference["support"].double()
        if torch.compiler.is_exporting():
            # torch.cdist takes another way for few samples than for many, and a graph can hold one: this one.
            products = torch.addmm(support.square().sum(1), samples, support.T, alpha=-2.0)
            squares = (products + samples.square().sum(1, keepdim=True)).clamp_min(0)
        else:
            squares = torch.cdist(samples, support).square()
        kernel = torch.exp(-reference["gamma"] * squares)
        return {"margin": reference["rho"] - kernel @ reference["coefficients"]}
