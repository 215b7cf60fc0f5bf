"""Error and occlusion maps against plain loops, and the scale that normals set for them."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from novanda import heat
from novanda.detector import Detector
from novanda.errors import ModelFileError
from novanda.heat import HeatScale, heat_kind, heat_maps, measured
from novanda.method import Method, Reference
from novanda.methods import PCA, AutoEncoder, NearestNeighbour
from novanda.samples import KINDS, Kind, Normals
from novanda.sources import ArraySource


@dataclasses.dataclass(frozen=True, kw_only=True)
class Brightest(Method):
    """Novelty is the brightest value; it draws nothing."""

    name: ClassVar[str] = "brightest"
    title: ClassVar[str] = "Brightest"
    kinds: ClassVar[frozenset[Kind]] = frozenset(KINDS)
    most: ClassVar[list[int]] = []

    def novelty(self, model: nn.Module, reference: Reference, images: Tensor) -> dict[str, Tensor]:
        self.most.append(images.numel())
        return {"brightest": images.flatten(1).amax(1)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Black(Method):
    """Expects nothing but black."""

    name: ClassVar[str] = "black"
    title: ClassVar[str] = "Black"
    kinds: ClassVar[frozenset[Kind]] = frozenset(KINDS)

    def novelty(self, model: nn.Module, reference: Reference, images: Tensor) -> dict[str, Tensor]:
        return {"mean": (images + 1).flatten(1).mean(1)}

    def reconstruct(self, model: nn.Module, reference: Reference, images: Tensor) -> Tensor:
        return torch.full_like(images, -1.0)


def mapped(method: Method, images: Tensor) -> np.ndarray:
    with torch.inference_mode():
        return heat_maps(method, nn.Module(), {}, images).numpy()


def test_errors_are_absolute_differences_averaged_over_channels() -> None:
    images = torch.rand(3, 2, 9, 11, generator=torch.Generator().manual_seed(0)) * 2 - 1
    found = mapped(Black(), images)
    assert found.shape == (3, 9, 11)
    for sample in range(3):
        for row in range(9):
            for column in range(11):
                expected = sum(abs(float(images[sample, channel, row, column]) + 1) for channel in range(2)) / 2
                assert found[sample, row, column] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("shape", [(1, 32, 32), (3, 16, 48), (1, 1, 64), (2, 5, 9)])
def test_occlusion_is_hottest_where_the_novelty_is(shape: tuple[int, int, int]) -> None:
    channels, height, width = shape
    images = torch.full((4, *shape), -1.0)
    generator = np.random.default_rng(0)
    places = [(int(generator.integers(height)), int(generator.integers(width))) for _ in range(4)]
    for image, (row, column) in zip(images, places, strict=True):
        image[channels - 1, row, column] = 1.0
    found = mapped(Brightest(), images)
    assert found.shape == (4, height, width)
    assert (found >= 0).all()
    for sample, (row, column) in zip(found, places, strict=True):
        assert sample[row, column] > 0.8 * sample.max() > 0
        # A region reaches an eighth of the side beyond its middle, and the map half a step more.
        far = np.ones((height, width), dtype=bool)
        reach_down, reach_across = -(-height * 3 // 8), -(-width * 3 // 8)
        far[
            max(0, row - reach_down) : row + reach_down + 1, max(0, column - reach_across) : column + reach_across + 1
        ] = 0
        assert not sample[far].any()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lopsided(Method):
    """Novelty is a weighted sum of squares, some weights negative: hiding a region can make a sample more novel."""

    name: ClassVar[str] = "lopsided"
    title: ClassVar[str] = "Lopsided"
    kinds: ClassVar[frozenset[Kind]] = frozenset(KINDS)

    def novelty(self, model: nn.Module, reference: Reference, images: Tensor) -> dict[str, Tensor]:
        return {
            "sum": (images.square() * torch.linspace(-1, 1, images[0].numel()).view(images[0].shape)).sum((1, 2, 3))
        }


def stretched(grid: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear interpolation between the middles of a grid's cells, by rows and then by columns."""
    rows = (np.arange(height) + 0.5) * len(grid) / height - 0.5
    columns = (np.arange(width) + 0.5) * grid.shape[1] / width - 0.5
    tall = np.stack([np.interp(rows, np.arange(len(grid)), column) for column in grid.T], 1)
    return np.stack([np.interp(columns, np.arange(grid.shape[1]), row) for row in tall])


def test_occlusion_against_a_plain_loop() -> None:
    height, width = 24, 32
    images = torch.rand(2, 2, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1
    found = mapped(Lopsided(), images)
    weights = np.linspace(-1, 1, images[0].numel()).reshape(2, height, width)
    for image, heat_map in zip(images.double().numpy(), found, strict=True):
        # What is shown in a hidden region: means over a 4 x 4 grid, stretched.
        means = image.reshape(2, 4, height // 4, 4, width // 4).mean((2, 4))
        blurred = np.stack([stretched(channel, height, width) for channel in means])
        drops = np.empty((8, 8))
        for i in range(8):
            for j in range(8):
                shown = image.copy()
                # Pixels whose middles lie no farther from the middle of cell (i, j) than the next cell's does.
                rows = [r for r in range(height) if abs(r + 0.5 - 3 * (i + 0.5)) <= 3]
                columns = [c for c in range(width) if abs(c + 0.5 - 4 * (j + 0.5)) <= 4]
                for r in rows:
                    shown[:, r, columns] = blurred[:, r, columns]
                drops[i, j] = max(0.0, float((weights * image**2).sum() - (weights * shown**2).sum()))
        assert (drops == 0).any()
        assert (drops > 0).any()
        np.testing.assert_allclose(heat_map, stretched(drops, height, width), rtol=1e-3, atol=1e-4)


def test_regions_cover_every_pixel() -> None:
    for height, width in ((32, 32), (1, 40), (7, 3), (100, 64)):
        regions = heat._regions(torch.zeros(1, 1, height, width))
        assert len(regions) == min(8, height) * min(8, width)
        assert regions.any(0).all()
        assert regions.flatten(1).any(1).all()


def test_occlusion_holds_a_bounded_number_of_samples_at_once() -> None:
    Brightest.most.clear()
    mapped(Brightest(), torch.rand(2, 1, 600, 700))
    assert max(Brightest.most) <= 2**22
    assert len(Brightest.most) > 10


@pytest.mark.parametrize("method", [PCA(components=4), AutoEncoder(width=4, latent_dim=4)], ids=lambda m: m.name)
def test_the_scale_is_the_quantile_of_held_out_errors(method: Method) -> None:
    images = np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3), dtype=np.uint8)
    quick = dataclasses.replace(method.training, epochs=1, device="cpu")
    detector = Detector(method, quick, calibration_fraction=0.5, false_alarm_rate=0.1).fit(images)
    held_out = np.sort(np.random.default_rng([0, 1]).permutation(60)[:30])  # as `fit` draws them
    drawn = detector.reconstruct(images[held_out])
    assert drawn is not None
    errors = np.abs(drawn - images[held_out].transpose(0, 3, 1, 2)).mean(1) / 127.5
    assert detector.heat_ is not None
    assert detector.heat_.value == pytest.approx(np.quantile(errors, 0.99), rel=1e-4)
    assert (detector.heat_.kind, detector.heat_.normals, detector.heat_.held_out) == ("error", 30, True)
    bare = Detector(method, quick, calibration_fraction=0).fit(images).heat_
    assert bare is not None
    assert not bare.held_out


def test_a_bounded_number_of_normals_is_looked_at() -> None:
    class Counted(ArraySource):
        seen = 0

        def read(self, positions: Any) -> np.ndarray:
            self.seen += len(positions)
            return super().read(positions)

    images = np.random.default_rng(0).integers(0, 256, (900, 8, 8), dtype=np.uint8)
    for method, most in ((Black(), 256), (Brightest(), 32)):
        source = Counted(images)
        scale = measured(method, nn.Module(), {}, Normals(source), held_out=True, generator=np.random.default_rng(0))
        assert source.seen == scale.normals == most


def test_normals_without_any_heat_leave_a_scale_above_nil() -> None:
    black = ArraySource(np.stack([np.zeros((8, 8), np.uint8)] * 4))
    for method in (Black(), Brightest()):
        scale = measured(method, nn.Module(), {}, Normals(black), held_out=True, generator=np.random.default_rng(0))
        assert 0 < scale.value <= 1e-5
        assert HeatScale.from_json(scale.to_json(), method) == scale


@dataclasses.dataclass(frozen=True, kw_only=True)
class Astray(Black):
    """Gives no number for the samples whose first value is bright."""

    def reconstruct(self, model: nn.Module, reference: Reference, images: Tensor) -> Tensor:
        lost = torch.where(images[:, :1, :1, :1] > 0, torch.nan, -1.0)
        return lost.expand_as(images)


def test_what_is_no_number_leaves_the_scale_finite() -> None:
    images = np.zeros((6, 8, 8), np.uint8)
    images[:, 4, 4] = 255
    for bright in (3, 6):
        images[:bright, 0, 0] = 255
        normals = Normals(ArraySource(images))
        scale = measured(Astray(), nn.Module(), {}, normals, held_out=True, generator=np.random.default_rng(0))
        assert scale.value == pytest.approx(2.0 if bright == 3 else 1.0)


def test_kinds() -> None:
    assert heat_kind(PCA()) == "error"
    assert heat_kind(NearestNeighbour()) == "occlusion"
    with pytest.raises(ModelFileError, match="heat scale"):
        HeatScale.from_json(HeatScale("error", 1.0, 3, True).to_json(), NearestNeighbour())
