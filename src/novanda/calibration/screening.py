"""Screening a batch: which of many samples to look at, so that few of them are false discoveries.

Benjamini and Hochberg, "Controlling the false discovery rate", J. R. Stat. Soc. B 57 (1995). Conformal p-values that
share one calibration depend on each other positively, in the sense that the procedure allows (Bates et al., Annals of
Statistics 2023, Theorem 2). Letter: m samples in the batch.
"""

from __future__ import annotations

import numpy as np

from novanda.errors import InputError


def adjusted_p_values(p_values: np.ndarray) -> np.ndarray:
    """For each sample the lowest false-discovery rate at which it is a discovery: (m,) to (m,) float64, at most 1.

    Raises:
        InputError: not a row of numbers from 0 to 1.
    """
    given = np.asarray(p_values)
    if given.ndim != 1 or given.dtype.kind not in "fiu" or not ((given >= 0) & (given <= 1)).all():
        raise InputError(f"expected p-values (m,), each from 0 to 1; got shape {given.shape} of {given.dtype}")
    order = np.argsort(given, kind="stable")
    count = len(given)
    scaled = given[order].astype(np.float64) * count / np.arange(1, count + 1)
    adjusted = np.empty(count)
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return adjusted


def discoveries(p_values: np.ndarray, rate: float) -> np.ndarray:
    """Which samples of a batch to call novel at a false-discovery rate: (m,) to (m,) bool.

    The expected share of normals among the samples called novel (0 where none is) is at most `rate` times the share of
    normals in the batch, if the normals among them are exchangeable with the calibration's and the novel samples are
    independent of both. With n calibration normals no p-value is below 1 / (n + 1): at least m / (rate * (n + 1))
    samples must stand out together for any to be called.

    Raises:
        InputError: the rate is not strictly between 0 and 1, or `p_values` are none.
    """
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < 1:
        raise InputError(
            f"a false-discovery rate is a number strictly between 0 and 1; got {rate!r}; give for instance 0.1"
        )
    # p * m / k of a p-value that is exactly rate * k / m may come out one rounding above the rate.
    found: np.ndarray = adjusted_p_values(p_values) <= rate * (1 + 8 * np.finfo(np.float64).eps)
    return found
