"""Named lists of cells that one command runs, `novanda bench NAME`: the paper's tables and figures, and our own.

A study is a function from seeds and a budget to cells. Two budgets are told apart: "authors", every method as its
authors train it (NDA: the paper's 100 epochs), and "quick", what one core of a CPU does in a few minutes a cell: few
epochs, narrower networks where convolutions are costly, and, for the costliest scorers, every ninth novelty of the
test set. Whichever it was stands in every result line and in the tables.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal, Protocol

from novanda import datasets, methods
from novanda.benchmark.cells import Budget, Cell, Keepsake
from novanda.benchmark.sound_studies import esc10, esc10_choosing, table5
from novanda.errors import InputError
from novanda.method import Method
from novanda.methods import (
    ALOCC,
    CSI,
    DROCC,
    DSVDD,
    GPND,
    IIC,
    METHODS,
    NDA,
    OCGAN,
    OCSVM,
    PCA,
    VAE,
    AnoGAN,
    AutoEncoder,
    Dictionary,
    DualGAN,
    FrozenFeatures,
    Geometric,
    LatentAutoregression,
    NearestNeighbour,
    Novanda,
    RotationTranslation,
    RotNet,
)
from novanda.training_options import Training


class Study(Protocol):
    """A function from seeds and a budget, its own where none are given, to cells."""

    __name__: str

    def __call__(self, seeds: Sequence[int] = ..., budget: Budget = ...) -> list[Cell]:
        """The cells, in the order in which they are run."""
        ...


_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_FIVE = (("cifar10", "airplane"), ("cifar10", "automobile"), ("mnist", "0"), ("mnist", "1"), ("fashion_mnist", "0"))

# What "quick" means, method by method; PCA, nearest neighbour, OCSVM and the dictionary are quick as they are.
_QUICK: dict[type[Method], tuple[Method, Training]] = {
    Novanda: (Novanda(preset="quick"), Training(epochs=18)),
    NDA: (NDA(width=32), Training(epochs=20)),
    AutoEncoder: (AutoEncoder(), Training(epochs=10)),
    VAE: (VAE(), Training(epochs=20)),
    DSVDD: (DSVDD(), Training(epochs=25, learning_rate=1e-3)),
    RotNet: (RotNet(width=16), Training(epochs=3)),
    Geometric: (Geometric(widening=1, dirichlet_samples=200), Training(epochs=3)),
    DROCC: (DROCC(), Training(epochs=13)),
    RotationTranslation: (RotationTranslation(width=16), Training(epochs=6)),
    CSI: (CSI(width=16), Training(epochs=4)),
    IIC: (IIC(), Training(epochs=8)),
    LatentAutoregression: (LatentAutoregression(), Training(epochs=25)),
    ALOCC: (ALOCC(), Training(epochs=40)),
    OCGAN: (OCGAN(), Training(epochs=16)),
    DualGAN: (DualGAN(), Training(epochs=20)),
    GPND: (GPND(), Training(epochs=40)),
    AnoGAN: (AnoGAN(), Training(epochs=40)),
}
_COSTLY_SCORERS = (RotNet, Geometric, RotationTranslation, CSI)
_IN_SECONDS = (PCA, NearestNeighbour)
# The ablations at the quick budget: by the paper's SGD 0.002 the estimators have hardly begun to learn after so few
# epochs, and there would be nothing to compare; Adam at 2e-4 is READING.md's alternative.
_QUICK_ABLATION = Training(epochs=6, optimizer="adam", learning_rate=2e-4, weight_decay=0.0)


# ---------------------------------------------------------------------------------------------------------------
# The paper's tables and figures


def table1(seeds: Sequence[int] = (0,), budget: Budget = "quick") -> list[Cell]:
    """Table 1: the three terms of mutual information on or off, on CIFAR-10."""
    full = NDA()
    rows = [
        NDA(
            local_weight=local * full.local_weight,
            global_weight=whole * full.global_weight,
            prior_weight=prior * full.prior_weight,
        )
        for local, whole, prior in itertools.product((0, 1), repeat=3)
    ]
    return _ablation(rows, seeds, budget)


def table2(seeds: Sequence[int] = (0,), budget: Budget = "quick") -> list[Cell]:
    """Table 2: an estimator's input removed, the reconstruction loss, the start of the latents, on CIFAR-10."""
    rows = [
        NDA(),
        NDA(removed="z_A"),
        NDA(removed="z"),
        NDA(reconstruction_loss="none"),
        NDA(reconstruction_loss="mse"),
        NDA(latent_start="normal"),
        NDA(latent_start="contrastive"),
    ]
    return _ablation(rows, seeds, budget)


def negatives(seeds: Sequence[int] = (0,), budget: Budget = "quick") -> list[Cell]:
    """What the paper's tables lack: {no term, prior, local + global, all} x {augmented, shuffled, no negatives}.

    Without local and global terms nothing is compared with negatives, so the first two have one cell each.
    """
    rows = [NDA(local_weight=0.0, global_weight=0.0, prior_weight=0.0), NDA(local_weight=0.0, global_weight=0.0)]
    kinds: tuple[Literal["augmented", "shuffled", "none"], ...] = ("augmented", "shuffled", "none")
    rows += [NDA(prior_weight=0.0, negatives=kind) for kind in kinds]
    rows += [NDA(negatives=kind) for kind in kinds]
    return _ablation(rows, seeds, budget)


def table3(seeds: Sequence[int] = (0,), budget: Budget = "quick") -> list[Cell]:
    """Table 3: CIFAR-10, each class against the rest (protocol 2), every method."""
    return [
        _one_vs_rest("cifar10", name, method, training, seed, thin=budget == "quick")
        for method, training in _every_method("cifar10", budget)
        for name in _CIFAR10
        for seed in seeds
    ]


def table4(seeds: Sequence[int] = (0,), budget: Budget = "quick") -> list[Cell]:
    """Table 4: MNIST, Fashion-MNIST and COIL-20 by protocol 1 and by protocol 2 (COIL: blocks of angles).

    At the quick budget the first fold stands for all five, but for the methods that fit in seconds.
    """
    cells = []
    for data_set in ("mnist", "fashion_mnist", "coil20"):
        for method, training in _every_method(data_set, budget):
            folds = range(1, 6 if budget == "authors" or isinstance(method, _IN_SECONDS) else 2)
            protocols = [f"fold_{number}" for number in folds]
            for name in datasets.get(data_set).classes:
                if data_set == "coil20":
                    made = [_cell(data_set, name, p, method, training) for p in [*protocols, "angle_blocks"]]
                else:
                    made = [_cell(data_set, name, p, method, training) for p in protocols]
                    made.append(_one_vs_rest(data_set, name, method, training, thin=budget == "quick"))
                cells += [replace(cell, seed=seed) for cell in made for seed in seeds]
    return cells


def figure4(seeds: Sequence[int] = (0,), budget: Budget = "quick") -> list[Cell]:
    """Figure 4: t-SNE of z for the frog class, with the estimators of mutual information and without."""
    rows = [NDA(), NDA(local_weight=0.0, global_weight=0.0, prior_weight=0.0)]
    cells = _ablation(rows, seeds, budget, names=("frog",), keep=("embedding",))
    return [replace(c, training=replace(c.training, epochs=20)) for c in cells] if budget == "quick" else cells


def figure6(seeds: Sequence[int] = (0, 1, 2), budget: Budget = "quick") -> list[Cell]:
    """Figure 6: loss and AUROC after every epoch, on CIFAR-10 airplane: NDA and the three rivals of the paper's figure.

    Sixty epochs where it has to be quick: in fewer, what converges at the 40th, as the paper says of OCGAN, could not
    be told from what was still moving when training ended (`novanda.benchmark.convergence`).
    """
    training = Training(epochs=60 if budget == "quick" else 100)
    rows: list[Method] = [NDA(width=32) if budget == "quick" else NDA(), OCGAN(), ALOCC(), DualGAN()]
    return [
        replace(_cell("cifar10", "airplane", "one_vs_rest_thinned", method, training, seed), keep=("curve",))
        for seed in seeds
        for method in rows
    ]


def gallery(seeds: Sequence[int] = (0,), budget: Budget = "quick") -> list[Cell]:
    """Contact sheets: the most and the least novel test images by every method, on MNIST 8 and CIFAR-10 airplane."""
    return [
        replace(_one_vs_rest(data_set, name, method, training, seed, thin=True), keep=("examples",))
        for data_set, name in (("mnist", "8"), ("cifar10", "airplane"))
        for method, training in _every_method(data_set, budget)
        for seed in seeds
    ]


# ---------------------------------------------------------------------------------------------------------------
# Our own


def flagship(seeds: Sequence[int] = (0, 1), budget: Budget = "quick") -> list[Cell]:
    """Our own method, one configuration for CIFAR-10, Fashion-MNIST, MNIST and COIL-20; `quick`; false alarms.

    Each has the preset that is named in its line; the budget "authors" adds `thorough`, which is for a GPU.
    """
    quick = _QUICK[Novanda]
    cells = [_one_vs_rest("cifar10", name, Novanda(), seed=seed) for seed in seeds for name in _CIFAR10]
    cells += [_one_vs_rest("cifar10", name, *quick, seed) for seed in seeds for name in _CIFAR10]
    cells += [replace(c, calibration_fraction=0.2) for c in cells if c.method == quick[0] and c.seed == seeds[0]]
    for data_set in ("fashion_mnist", "mnist"):
        classes = datasets.get(data_set).classes
        cells += [_one_vs_rest(data_set, name, *quick, seed) for seed in seeds for name in classes]
        cells += [_one_vs_rest(data_set, name, Novanda(), seed=seed) for seed in seeds[:1] for name in classes]
    cells += [_cell("coil20", n, "angle_blocks", *quick, s) for s in seeds for n in datasets.get("coil20").classes]
    if budget == "authors":
        cells += [_one_vs_rest("cifar10", name, Novanda(preset="thorough"), seed=seeds[0]) for name in _CIFAR10]
    return cells


def compared(seeds: Sequence[int] = (0,), budget: Budget = "quick") -> list[Cell]:
    """Every method on six classes that differ: three of CIFAR-10, two digits, one garment."""
    return [
        _one_vs_rest(data_set, name, method, training, seed, thin=budget == "quick")
        for data_set, name in (
            *(("cifar10", name) for name in ("automobile", "airplane", "deer")),
            *(("mnist", name) for name in ("1", "8")),
            ("fashion_mnist", datasets.get("fashion_mnist").classes[0]),
        )
        for method, training in _every_method(data_set, budget)
        for seed in seeds
    ]


def core(seeds: Sequence[int] = (0,), budget: Budget = "quick") -> list[Cell]:
    """The README's tables: NDA at the paper's settings beside its floors, RotNet, COIL-20, false alarms.

    Each method has the budget that its table names, whichever is asked for.
    """
    cells = [_one_vs_rest(data_set, name, method) for data_set, name in _FIVE for method in _floors(data_set)]
    cells += [_one_vs_rest("cifar10", name, method) for name in _CIFAR10[2:] for method in (PCA(), NearestNeighbour())]
    cells += [_cell("coil20", "obj1", "angle_blocks", method) for method in _core_methods()]
    cells += [_one_vs_rest("cifar10", "automobile", RotNet())]
    cells += [_one_vs_rest(data_set, name, NDA()) for data_set, name in _FIVE]
    return [replace(cell, seed=seed) for cell in cells for seed in seeds] + false_alarms(seeds)


def false_alarms(seeds: Sequence[int] = (0,), budget: Budget = "quick") -> list[Cell]:
    """Every method with a fifth of the cars held out: are unseen normals flagged as often as asked?

    The guarantee holds for a detector of any quality, so the trained ones get a few epochs only.
    """
    epochs: dict[type[Method], int] = {NDA: 5, RotNet: 1, AutoEncoder: 5, VAE: 5, DSVDD: 5, Geometric: 1}
    epochs |= {DROCC: 3, RotationTranslation: 1, CSI: 1, IIC: 2, LatentAutoregression: 5}
    epochs |= {Novanda: 2, ALOCC: 5, OCGAN: 2, DualGAN: 2, GPND: 5, AnoGAN: 5}
    own: dict[type[Method], Method] = {kind: _QUICK[kind][0] for kind in (Geometric, RotationTranslation, CSI)}
    return [
        Cell(
            data_set="cifar10",
            normal_class="automobile",
            protocol="one_vs_rest_thinned",
            method=own.get(kind, kind()),
            training=Training(epochs=epochs.get(kind)),
            seed=seed,
            calibration_fraction=0.2,
        )
        for kind in METHODS
        if "image" in kind.kinds
        for seed in seeds
    ]


def norms(seeds: Sequence[int] = (0,), budget: Budget = "quick") -> list[Cell]:
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
            seed=seed,
        )
        for data_set, name in (("cifar10", "airplane"), ("mnist", "0"))
        for pyramid in norms
        for latent in norms
        for seed in seeds
    ]


STUDIES: dict[str, Study] = {
    study.__name__: study
    for study in (
        table1,
        table2,
        negatives,
        table3,
        table4,
        table5,
        figure4,
        figure6,
        gallery,
        flagship,
        compared,
        core,
        false_alarms,
        norms,
        esc10,
        esc10_choosing,
    )
}


def chosen(
    cells: Sequence[Cell],
    *,
    method_names: Iterable[str] = (),
    class_names: Iterable[str] = (),
    data_sets: Iterable[str] = (),
    epochs: int | None = None,
) -> list[Cell]:
    """Those of a study's cells whose method, class and data set are among the named; nothing named is all of them.

    Args:
        class_names: names or aliases, such as "car"; of whichever data set has a class of that name.
        epochs: in place of the budget's, for the methods that are trained by epochs.

    Raises:
        InputError: a name that none of the cells has; the message lists those that they have.
    """
    wanted_methods = {methods.get(name).name for name in method_names}
    _known(wanted_methods, {cell.method.name for cell in cells}, "method")
    wanted_sets = set(data_sets)
    _known(wanted_sets, {cell.data_set for cell in cells}, "data set")
    wanted_classes: set[str] = set()
    for name in class_names:
        real = {_real_name(cell.data_set, name) or "" for cell in cells} - {""}
        wanted_classes |= real or {name}
    _known(wanted_classes, {cell.normal_class for cell in cells}, "class")
    kept = [
        cell
        for cell in cells
        if cell.method.name in (wanted_methods or {cell.method.name})
        and cell.data_set in (wanted_sets or {cell.data_set})
        and cell.normal_class in (wanted_classes or {cell.normal_class})
    ]
    if epochs is None:
        return kept
    return [replace(c, training=replace(c.training, epochs=epochs)) if c.learns else c for c in kept]


def _known(wanted: set[str], known: set[str], what: str) -> None:
    unknown = sorted(wanted - known)
    if unknown:
        there = ", ".join(sorted(known))
        raise InputError(f"no cell of this study has {unknown[0]!r} as its {what}; there are: {there}")


def _real_name(data_set: str, name: str) -> str | None:
    found = datasets.named(data_set)
    assert found is not None  # a cell's
    wanted = {alias.lower(): real for alias, real in found.aliases.items()}.get(name.lower(), name).lower()
    return next((real for real in found.classes if real.lower() == wanted), None)


# ---------------------------------------------------------------------------------------------------------------
# Parts


def _every_method(data_set: str, budget: Budget) -> list[tuple[Method, Training]]:
    """Every method that takes this data set's kind, with its training, cheapest first."""
    kind = datasets.get(data_set).kind
    # Frozen features are worth what the network that is brought is worth: their rows belong to a table of their own.
    taken = [method for method in METHODS if kind in method.kinds and method is not FrozenFeatures]
    floors: dict[type[Method], Method] = {type(method): method for method in _floors(data_set)}
    pairs = [
        _QUICK[each] if budget == "quick" and each in _QUICK else (floors.get(each, each()), Training())
        for each in taken
    ]
    if data_set != "cifar10" and budget == "quick":
        pairs = [(m, replace(t, epochs=_other_epochs(t, data_set)) if type(m) in _QUICK else t) for m, t in pairs]
    order = {
        each: place for place, each in enumerate((PCA, NearestNeighbour, OCSVM, Dictionary, VAE, DSVDD, AutoEncoder))
    }
    return sorted(pairs, key=lambda pair: order.get(type(pair[0]), len(order)))


def _other_epochs(training: Training, data_set: str) -> int:
    """Half of CIFAR-10's, for these sets are simpler and have many more classes; ten times that on COIL."""
    assert training.epochs is not None
    # With a handful of views of one object an epoch is a single step: it is the steps that should be as many.
    return max(1, training.epochs // 2) * (10 if data_set == "coil20" else 1)


def _ablation(
    rows: Sequence[NDA],
    seeds: Sequence[int],
    budget: Budget,
    names: Sequence[str] = _CIFAR10,
    keep: tuple[Keepsake, ...] = (),
) -> list[Cell]:
    protocol = "one_vs_rest_thinned" if budget == "quick" else "one_vs_rest"
    training = _QUICK_ABLATION if budget == "quick" else Training()
    made = [replace(row, width=32) if budget == "quick" else row for row in rows]
    return [
        replace(_cell("cifar10", name, protocol, method, training, seed), keep=keep)
        for name in names
        for seed in seeds
        for method in made
    ]


def _core_methods() -> list[Method]:
    """Those that the Core issue compares."""
    return [NDA(), PCA(), NearestNeighbour(), OCSVM(), AutoEncoder(), RotNet()]


def _floors(data_set: str) -> list[Method]:
    return [PCA(components=64 if data_set in ("cifar10", "coil20") else 32), NearestNeighbour(), OCSVM()]


def _one_vs_rest(
    data_set: str,
    name: str,
    method: Method,
    training: Training = Training(),
    seed: int = 0,
    thin: bool = False,
) -> Cell:
    costly = thin and isinstance(method, _COSTLY_SCORERS)
    return _cell(data_set, name, "one_vs_rest_thinned" if costly else "one_vs_rest", method, training, seed)


def _cell(
    data_set: str,
    name: str,
    protocol: str,
    method: Method,
    training: Training = Training(),
    seed: int = 0,
) -> Cell:
    # The grey sets are 28 x 28: networks get them resized to 32, methods that take any shape as they are. COIL's 128
    # pixels are brought to 32 for all.
    resized = data_set == "coil20" or (method.sides is not None and data_set != "cifar10")
    return Cell(
        data_set=data_set,
        normal_class=name,
        protocol=protocol,
        method=method,
        training=training,
        seed=seed,
        image_size=32 if resized else None,
    )
