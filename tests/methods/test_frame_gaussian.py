"""The Gaussian of frames against SciPy's Mahalanobis distance and scikit-learn's covariance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import EmpiricalCovariance

from novanda.detector import Detector
from novanda.errors import InputError
from novanda.methods import FrameGaussian


def pictures(seed: int, count: int) -> np.ndarray:
    """Correlated bands, (N, 1, 12, 30) float32 from about -1 to 1."""
    generator = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(12, 12)) / 8
    frames = generator.normal(size=(count, 30, 12)) @ mixing
    made: np.ndarray = frames.transpose(0, 2, 1)[:, None].astype(np.float32)
    return made


@pytest.mark.parametrize(("share", "counted"), [(0.1, 3), (0.5, 15), (0.001, 1), (1.0, 30)])
def test_distances_are_scipys(share: float, counted: int) -> None:
    normals, fresh = pictures(0, 40), pictures(1, 6)
    fresh[3, 0, :, 7] += 2
    detector = Detector(FrameGaussian(share=share, ridge=0.05), calibration_fraction=0).fit(normals, kind="spectrogram")
    found = detector.novelty_scores(fresh)
    # Arrays are brought to the range from -1 to 1 by the normals' own; the ridge is in those units.
    normals, fresh = (detector.spec_.scale(torch.from_numpy(each)).numpy() for each in (normals, fresh))
    frames = normals[:, 0].transpose(0, 2, 1).reshape(-1, 12).astype(np.float64)
    fitted = EmpiricalCovariance().fit(frames)
    precision = np.linalg.inv(fitted.covariance_ + 0.05**2 * np.eye(12))
    for number, picture in enumerate(fresh[:, 0]):
        distances = [mahalanobis(frame, fitted.location_, precision) ** 2 / 12 for frame in picture.T]
        assert found["furthest_frames"][number] == pytest.approx(np.mean(sorted(distances)[-counted:]), rel=1e-4)
        assert found["all_frames"][number] == pytest.approx(np.mean(distances), rel=1e-4)
    assert found["furthest_frames"].argmax() == 3, "one odd frame of thirty"


def test_bands_that_never_change_are_no_reason_to_fail() -> None:
    normals = pictures(0, 10)
    normals[:, :, 4] = 0.5
    method = FrameGaussian()
    detector = Detector(method, calibration_fraction=0).fit(normals, kind="spectrogram")
    changed = normals[:2].copy()
    changed[1] = changed[0]
    changed[1, :, 4] += 0.2
    first, second = detector.novelty_score(changed)
    assert np.isfinite(first)
    moved = 2 * 0.2 / (detector.spec_.high - detector.spec_.low)
    ridges = moved / method.ridge
    assert second - first > 0.9 * ridges**2 / 12, "the band alone, with no more deviation than the ridge"


@pytest.mark.parametrize(("field", "value"), [("share", 0.0), ("share", 1.5), ("ridge", 0.0)])
def test_bad_settings_are_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(InputError, match=f"FrameGaussian.{field} must be"):
        FrameGaussian(**{field: value})  # type: ignore[arg-type]  # what the test is about
