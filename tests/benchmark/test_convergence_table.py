"""Figure 6 in figures: epochs of convergence and departures, of curves made by hand."""

from __future__ import annotations

from typing import Any

from made_up import run

from novanda.benchmark.runs import Run
from novanda.benchmark.tables.convergence import figure6
from novanda.methods import NDA, OCGAN, PCA
from novanda.training import Training

DROP = [10.0] * 4 + [2.0] * 12  # converges at epoch 5 and stands still, see test_convergence.py
WOBBLE = [10.0] * 4 + [2.0, 2.4] * 6  # the same, with steps of 0.4 on a way of 10 - 2
RISE = [0.5] * 4 + [0.7] * 12


def _run(method: Any, terms: dict[str, list[float]], auroc: list[float], seed: int = 0) -> Run:
    count = len(auroc)
    return run(
        method,
        seed=seed,
        training=Training(epochs=count),
        history=[{"seconds": 1.0, **{name: values[t] for name, values in terms.items()}} for t in range(count)],
        curve=[{"epoch": t + 1, "auroc": {"mse": value}} for t, value in enumerate(auroc)],
    )


def _rows(runs: list[Run]) -> list[tuple[str, ...]]:
    return [tuple(entry.text for entry in (row[1], *row[3:])) for row in figure6(runs).rows]


def test_loss_reconstruction_and_auroc_have_a_row_each_over_the_seeds() -> None:
    still = [float(value) for value in range(16, 0, -1)]
    runs = [
        _run(NDA(), {"laplacian": DROP, "latent": [1.0] * 16}, RISE),
        _run(NDA(), {"laplacian": WOBBLE, "latent": [1.0] * 16}, RISE, seed=1),
        _run(NDA(), {"laplacian": still, "latent": [1.0] * 16}, RISE, seed=2),
    ]
    loss, error, auroc = _rows(runs)
    assert loss[:4] == (NDA.title, "3 seeds", "loss", "5, 5, still moving")
    assert error[:4] == (NDA.title, "3 seeds", "reconstruction error", "5, 5, still moving")
    # The epochs of the second lie 0.4 off the middle between their neighbours, on a way of 8; of the others on it.
    assert error[4:] == ("1.7%", "5.0%", f"{(2.0 + 2.4 + 1.0) / 3:.3g}")
    assert loss[-1] == f"{(3.0 + 3.4 + 2.0) / 3:.3g}"
    assert auroc[2:] == ("AUROC", "5, 5, 5", "0.0%", "0.0%", "0.700")


def test_what_has_no_curve_no_reconstruction_or_no_place_in_the_figure_is_left_out() -> None:
    assert not _rows([run(NDA()), _run(PCA(), {}, RISE), _run(OCGAN(), {"visual": DROP[:6]}, RISE[:6])])
    adversarial = _run(OCGAN(), {"auto-encoder.visual": DROP}, RISE)
    assert [row[2] for row in _rows([adversarial])] == ["loss", "AUROC"]
    whole = _run(OCGAN(), {"auto-encoder.visual": DROP, "auto-encoder.squared error": RISE}, RISE)
    assert _rows([whole])[1][2:4] == ("reconstruction error", "5")


def test_the_longest_training_comes_first() -> None:
    short = _run(NDA(), {"laplacian": DROP[:12]}, RISE[:12])
    long = _run(OCGAN(), {"auto-encoder.squared error": DROP}, RISE)
    assert [row[0] for row in _rows([short, long])] == [OCGAN.title] * 3 + [NDA.title] * 3
