"""Named lists of cells that one command runs: `novanda bench NAME`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from novanda.benchmark.cells import Cell
from novanda.method import Method
from novanda.methods import METHODS, NDA, OCSVM, PCA, AutoEncoder, NearestNeighbour, RotNet
from novanda.training import Training

_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_FIVE = (("cifar10", "airplane"), ("cifar10", "automobile"), ("mnist", "0"), ("mnist", "1"), ("fashion_mnist", "0"))


def core() -> list[Cell]:
    """What the README's table shows: NDA at the paper's settings beside its floors, RotNet, COIL-20, false alarms."""
    cells = [_one_vs_rest(data_set, name, method) for data_set, name in _FIVE for method in _floors(data_set)]
    cells += [_one_vs_rest("cifar10", name, method) for name in _CIFAR10[2:] for method in (PCA(), NearestNeighbour())]
    cells += [_coil(method) for method in _every_method()]
    cells += [_one_vs_rest("cifar10", "automobile", RotNet())]
    cells += [_one_vs_rest(data_set, name, NDA()) for data_set, name in _FIVE]
    return [*cells, *false_alarms()]


def false_alarms() -> list[Cell]:
    """Every method with a fifth of the cars held out: are unseen normals flagged as often as asked?

    The guarantee holds for a detector of any quality, so the trained ones get a few epochs only.
    """
    budget = {NDA: Training(epochs=5), RotNet: Training(epochs=1), AutoEncoder: Training(epochs=5)}
    return [
        Cell(
            data_set="cifar10",
            normal_class="automobile",
            protocol="one_vs_rest_thinned",
            method=method,
            training=budget.get(type(method), Training()),
            calibration_fraction=0.2,
        )
        for method in _every_method()
    ]


def norms() -> list[Cell]:
    """NDA for 2 epochs with Eqs. 1 and 2 as literal sums and as means: which of them SGD 0.002 survives."""
    norms: tuple[Literal["sum", "mean"], ...] = ("sum", "mean")
    return [
        Cell(
            data_set=data_set,
            normal_class=name,
            protocol="one_vs_rest_thinned",
            method=NDA(pyramid_weighting=pyramid, latent_reduction=latent),
            training=Training(epochs=2),
            image_size=32,
        )
        for data_set, name in (("cifar10", "airplane"), ("mnist", "0"))
        for pyramid in norms
        for latent in norms
    ]


STUDIES: dict[str, Callable[[], list[Cell]]] = {"core": core, "false_alarms": false_alarms, "norms": norms}


def _every_method() -> list[Method]:
    return [method() for method in METHODS]


def _floors(data_set: str) -> list[Method]:
    return [PCA(components=64 if data_set == "cifar10" else 32), NearestNeighbour(), OCSVM()]


def _one_vs_rest(data_set: str, name: str, method: Method) -> Cell:
    # The grey sets are 28 x 28: networks get them resized to 32, methods that take any shape as they are.
    size = 32 if method.sides is not None and data_set != "cifar10" else None
    return Cell(data_set=data_set, normal_class=name, protocol="one_vs_rest", method=method, image_size=size)


def _coil(method: Method) -> Cell:
    return Cell(data_set="coil20", normal_class="obj1", protocol="angle_blocks", method=method, image_size=32)
