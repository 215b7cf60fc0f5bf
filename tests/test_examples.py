"""Training images kept with a detector: which are nearest, against scikit-learn, and what is kept of their values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from novanda.errors import ModelFileError
from novanda.examples import Examples, as_bytes, kept
from novanda.methods import PCA
from novanda.samples import Normals, SampleSpec
from novanda.sources import ArraySource

GENERATOR = torch.Generator().manual_seed(0)


def test_8_bit_values_come_back_exactly() -> None:
    raw = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(as_bytes(SampleSpec("image", 1, 16, 16).scale(raw)), raw)


def test_other_ranges_are_spread_over_8_bits_and_cut_off() -> None:
    spec = SampleSpec("image", 1, 1, 4, low=0.0, high=1.0)
    raw = torch.tensor([0.0, 0.5, 1.0, 7.0]).view(1, 1, 1, 4)
    assert as_bytes(spec.scale(raw)).flatten().tolist() == [0, 128, 255, 255]
    assert as_bytes(spec.scale(-raw)).flatten().tolist() == [0, 0, 0, 0]


def examples(features: bool) -> Examples:
    images = torch.randint(0, 256, (30, 2, 5, 4), generator=GENERATOR, dtype=torch.uint8)
    return Examples(
        images, torch.randn(30, 7, generator=GENERATOR) if features else None, tuple(f"{n}.png" for n in range(30))
    )


@pytest.mark.parametrize("features", [True, False])
def test_the_nearest_are_scikit_learns(features: bool) -> None:
    kept = examples(features)
    samples = torch.rand(6, 2, 5, 4, generator=GENERATOR) * 2 - 1
    seen = torch.randn(6, 7, generator=GENERATOR) if features else None
    places, distances = kept.nearest(samples, seen, 4)
    bank = kept.features if kept.features is not None else kept.images.flatten(1).float() / 127.5 - 1
    expected = (
        NearestNeighbors(n_neighbors=4).fit(bank.numpy()).kneighbors(samples.flatten(1) if seen is None else seen)
    )
    np.testing.assert_array_equal(places.numpy(), expected[1])
    np.testing.assert_allclose(distances.numpy(), expected[0], rtol=1e-5)
    assert kept.nearest(samples, seen, 100)[0].shape == (6, 30)


def test_a_kept_image_is_at_distance_nil() -> None:
    kept = examples(features=False)
    places, distances = kept.nearest(kept.images[3:5].float() / 127.5 - 1, None, 1)
    assert places.flatten().tolist() == [3, 4]
    assert distances.flatten().tolist() == [0, 0]


def test_features_of_another_width_are_refused() -> None:
    with pytest.raises(ModelFileError, match="have 7 features; the method sees 6"):
        examples(features=True).nearest(torch.zeros(1, 2, 5, 4), torch.zeros(1, 6), 1)


@pytest.mark.parametrize("features", [True, False])
def test_there_and_back(features: bool) -> None:
    kept = examples(features)
    spec = SampleSpec("flow", 2, 5, 4)
    assert Examples.from_file(kept.to_json(), kept.tensors(), spec) == kept
    assert kept != Examples(kept.images, kept.features, kept.identifiers[::-1])
    assert kept != Examples(255 - kept.images, kept.features, kept.identifiers)
    with pytest.raises(ModelFileError, match="must be images"):
        Examples.from_file(kept.to_json(), kept.tensors(), SampleSpec("flow", 2, 4, 5))


def test_what_is_kept_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("novanda.examples._MOST_VALUES", 5 * 8 * 8 + 1)
    source = ArraySource(np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8))

    def bank(count: int, learned: int) -> int:
        found = kept(
            PCA(), torch.nn.Module(), reference, source, np.arange(learned), count,
            device=torch.device("cpu"), generator=np.random.default_rng(0),
        )  # fmt: skip
        return 0 if found is None else len(found)

    reference = PCA(components=2).reference(torch.nn.Module(), Normals(source))
    assert bank(100, 40) == 5
    assert bank(3, 40) == 3
    assert bank(100, 4) == 4
    assert bank(0, 40) == 0
