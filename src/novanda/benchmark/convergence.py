"""When a curve over epochs has converged, and how much it still moves after that: one rule, fixed beforehand.

For values v_1 to v_n (a loss, or an AUROC), one an epoch:

1. s_t is the median of v_(t-2) to v_(t+2), of what there is of them at the ends: one wild epoch moves nothing.
2. The *way* is the largest s minus the smallest: how far the curve has travelled in all, up or down.
3. The *level* is the median of the last quarter of the epochs.
4. The curve has *converged* at the first epoch from which on every s_t lies within 5 % of the way from the level. If
   that epoch lies in the last quarter itself, the curve was still moving when training ended, and has not converged.
5. The *fluctuation* is the mean of |v_t - v_(t-1)| over the epochs after that one, and the *largest step* their
   maximum. Both use the values as they are, not their medians.
6. The *departure* of an epoch is |v_t - (v_(t-1) + v_(t+1)) / 2|, how far it leaps out from between its neighbours. Its
   mean and maximum are those over the second half of the epochs but the last, converged or not: a steady drift is none,
   so that the unrest of curves that still move can be compared. (It came later than the rest, when most curves of
   Figure 6 had not converged.)

Curves of fewer than 12 epochs are too short for it. The rule reads a curve after the fact: it decides nothing, and no
epoch is chosen by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from novanda.errors import InputError

FEWEST_EPOCHS = 12
HALF_WINDOW = 2
BAND = 0.05


@dataclass(frozen=True)
class Convergence:
    """What the rule says of one curve.

    Attributes:
        epoch: of convergence, counted from 1; None where the curve was still moving, or is too short to tell.
        way, level: as in the rule, in the curve's own unit; None for a curve that is too short.
        fluctuation, largest_step: after that epoch, in the curve's own unit; None where there is no such epoch.
        departure, largest_departure: mean and maximum over the second half, in the curve's own unit; None for a curve
            that is too short.
    """

    epoch: int | None
    way: float | None = None
    level: float | None = None
    fluctuation: float | None = None
    largest_step: float | None = None
    departure: float | None = None
    largest_departure: float | None = None

    def __str__(self) -> str:
        if self.way is None:
            return f"fewer than {FEWEST_EPOCHS} epochs"
        if self.epoch is None or self.fluctuation is None or self.largest_step is None:
            return "still moving at the end"
        share = f" ({self.fluctuation / self.way:.1%} of its way)" if self.way else ""
        return f"converged at epoch {self.epoch}; then ±{self.fluctuation:.2g} an epoch{share}"


def convergence(values: Sequence[float]) -> Convergence:
    """The rule of this file applied to one value per epoch.

    Raises:
        InputError: a value is not finite.
    """
    curve = np.asarray(values, dtype=np.float64)
    if curve.ndim != 1 or not np.isfinite(curve).all():
        raise InputError("expected one finite number per epoch; leave out what failed")
    count = len(curve)
    if count < FEWEST_EPOCHS:
        return Convergence(None)
    smooth = np.array([np.median(curve[max(0, t - HALF_WINDOW) : t + HALF_WINDOW + 1]) for t in range(count)])
    quarter = count - count // 4  # the first place of the last quarter
    level, way = float(np.median(curve[quarter:])), float(smooth.max() - smooth.min())
    outside = np.flatnonzero(np.abs(smooth - level) > BAND * way)
    place = int(outside[-1]) + 1 if len(outside) else 0
    departures = np.abs(np.diff(curve, 2))[count // 2 - 1 :] / 2
    found = Convergence(None, way, level, departure=float(departures.mean()), largest_departure=float(departures.max()))
    if place >= quarter:
        return found
    steps = np.abs(np.diff(curve[place:]))
    return replace(found, epoch=place + 1, fluctuation=float(steps.mean()), largest_step=float(steps.max()))
