"""From scores of held-out normals to decisions: p-values and thresholds, screening of batches, a check for drift."""

from novanda.calibration.conformal import Calibration, required
from novanda.calibration.drift import Drift, drift
from novanda.calibration.screening import adjusted_p_values, discoveries

__all__ = ["Calibration", "Drift", "adjusted_p_values", "discoveries", "drift", "required"]
