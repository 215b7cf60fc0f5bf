"""Finished cells as a report reads them: result lines of one or more folders, checked, with the arrays beside them."""

from __future__ import annotations

import json
import math
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from novanda import datasets, methods, metrics
from novanda.benchmark.results import read_results
from novanda.errors import DataError
from novanda.method import Method

_SAME = 1e-6  # two AUROCs of the same scores differ by rounding alone
_KEY = re.compile(r"[0-9A-Za-z_-]{1,64}")  # it names files: no way out of the folder


@dataclass(frozen=True)
class Run:
    """One result line and the folder it lies in.

    Attributes:
        folder: holds results.jsonl, scores/ and kept/.
        line: what `run_cell` returned, or what a failed cell left.
    """

    folder: Path
    line: Mapping[str, Any]

    @property
    def key(self) -> str:
        """The cell's key."""
        return str(self.line["key"])

    @property
    def cell(self) -> Mapping[str, Any]:
        """The cell's specification."""
        cell: Mapping[str, Any] = self.line["cell"]
        return cell

    @property
    def method(self) -> Mapping[str, Any]:
        """The method's name and all its settings."""
        method: Mapping[str, Any] = self.cell["method"]
        return method

    @property
    def data_set(self) -> str:
        """The data set's name."""
        return str(self.cell["data_set"])

    @property
    def normal_class(self) -> str:
        """By the name that its data set gives it, whatever alias or number the cell was given."""
        known, name = datasets.named(self.data_set), str(self.cell["normal_class"])
        if known is None:
            return name
        try:
            return known.classes[known.label(name)]
        except DataError:  # a class that this version does not know
            return name

    @property
    def error(self) -> str | None:
        """Why the cell failed; None where it did not."""
        return str(self.line["error"]) if "error" in self.line else None

    @property
    def auroc(self) -> float:
        """By the headline score; only of a cell that did not fail."""
        return float(self.line["auroc"][self.score])

    @property
    def score(self) -> str:
        """The name of the headline score."""
        return str(self.line["score"])

    @property
    def trained(self) -> bool:
        """Whether the method learns by gradient, so that epochs and optimizer mean something."""
        kind = method_named(str(self.method["name"]))
        return kind is None or kind.stages is not Method.stages

    @cached_property
    def losses(self) -> list[tuple[int, float]]:
        """(epoch, sum of the loss terms) of the last stage: the epochs at the end that have the same terms."""
        history = self.line.get("history") or []
        terms = [{name: value for name, value in epoch.items() if name != "seconds"} for epoch in history]
        return [
            (number, math.fsum(each.values()))
            for number, each in enumerate(terms, 1)
            if each and all(later.keys() == each.keys() for later in terms[number:])
        ]

    def aurocs(self) -> list[tuple[int, float]]:
        """(epoch, AUROC by the headline score), where the cell measured it after each epoch."""
        curve = self.line.get("curve") or []
        return [(point["epoch"], point["auroc"][self.score]) for point in curve]

    def scores(self) -> tuple[np.ndarray, np.ndarray]:
        """Headline scores of the test normals (N,) and of the novel samples (M,), higher = more novel.

        Raises:
            DataError: the file of raw scores is missing, damaged, or that of another run.
        """
        found = self._arrays("scores", ("novel", self.score))
        novel, values = found["novel"], found[self.score]
        if novel.dtype != bool or novel.ndim != 1 or values.shape != novel.shape or values.dtype.kind != "f":
            raise DataError(f"{self._file('scores')} holds no scores (N,) beside novel (N,); run the cell again")
        normal, other = values[~novel], values[novel]
        again = metrics.auroc(normal, other)
        if abs(again - self.auroc) > _SAME:
            raise DataError(
                f"{self._file('scores')} gives an AUROC of {again:.4f} where the result line says {self.auroc:.4f}: "
                "they are not of one run; run the cell again"
            )
        return normal, other

    def raw_scores(self, *names: str) -> dict[str, np.ndarray]:
        """The named arrays of raw scores, one value a test sample; "novel" says what each is. DataError as `scores`."""
        return self._arrays("scores", names)

    @property
    def recipe(self) -> str:
        """What says how it was trained, as JSON: the method, its training, how much was held out, size or form."""
        names = ("method", "training", "calibration_fraction", "image_size", "recording")
        return json.dumps([self.cell.get(name) for name in names], sort_keys=True)

    @property
    def on_gpu(self) -> bool:
        """Whether it was trained on a GPU, so that its seconds are no CPU's."""
        return str((self.line.get("machine") or {}).get("device", "")).startswith("cuda")

    def kept(self, *names: str) -> dict[str, np.ndarray]:
        """The named arrays that the cell was asked to keep. DataError where they are missing or damaged."""
        return self._arrays("kept", names)

    def _file(self, kind: str) -> Path:
        return self.folder / kind / f"{self.key}.npz"

    def _arrays(self, kind: str, names: Sequence[str]) -> dict[str, np.ndarray]:
        path = self._file(kind)
        try:
            # Opened here, because np.load leaves a file that it can not read open.
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in names}
            if any(array.dtype.kind not in "biuf" for array in arrays.values()):
                raise ValueError("expected numbers")
            return arrays
        except FileNotFoundError as error:
            raise DataError(f"{path} is missing") from error
        except (OSError, KeyError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(f"{path} holds no readable {' and '.join(names)}: {error}") from error


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Every result line of the folders, in a fixed order; of one cell in two places the one that did not fail.

    Raises:
        DataError: a folder without result lines, or a line that `novanda bench` can not have written.
    """
    found: dict[str, Run] = {}
    for folder in folders:
        path = folder / "results.jsonl"
        if not path.is_file():
            raise DataError(f"{path} is missing; give a folder that `novanda bench` wrote its results to")
        for key, line in read_results(path).items():
            run = Run(folder, line)
            _check(run, path)
            if key not in found or run.error is None:
                found[key] = run
    if not found:
        shown = ", ".join(map(str, folders))
        raise DataError(f"no finished cell in {shown}; wait for `novanda bench` to finish one, or give another folder")
    return sorted(found.values(), key=_place)


def _check(run: Run, path: Path) -> None:
    """DataError unless the line has what tables and figures are made of."""
    try:
        shown = json.dumps(run.line.get("key"))
        _expect(isinstance(run.line["key"], str) and _KEY.fullmatch(run.key), "a key of letters and digits")
        for part, kind in (
            ("data_set", str),
            ("normal_class", str),
            ("protocol", str),
            ("method", dict),
            ("seed", int),
        ):
            _expect(isinstance(run.cell[part], kind), f"cell.{part} of kind {kind.__name__}")
        _expect(isinstance(run.method["name"], str), "cell.method.name")
        _expect(isinstance(run.cell["training"], dict), "cell.training")
        if run.error is None:
            _expect(isinstance(run.line["auroc"], dict) and run.line["auroc"], "auroc by score")
            measured = [run.auroc, *run.line["auroc"].values(), *(value for _, value in run.aurocs())]
            _expect(all(isinstance(v, float | int) and 0 <= v <= 1 for v in measured), "AUROCs from 0 to 1")
            _expect(all(math.isfinite(value) for _, value in run.losses), "finite losses")
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(
            f"{path}: the line of key {shown[:80]} is none that `novanda bench` wrote ({error!r}); mend or delete it"
        ) from error


def _expect(holds: object, what: str) -> None:
    if not holds:
        raise ValueError(f"expected {what}")


def _place(run: Run) -> tuple[Any, ...]:
    """Where a run stands among all: data sets, classes and methods in the order that novanda names them."""
    names = [method.name for method in methods.METHODS]
    name = str(run.method["name"])
    return (
        data_set_place(run.data_set),
        class_place(run.data_set, run.normal_class),
        names.index(name) if name in names else len(names),
        run.cell["protocol"],
        run.cell["seed"],
        run.key,
    )


def core_seconds(line: Mapping[str, Any], part: str) -> tuple[float, bool]:
    """Seconds of one core that a result line spent on a part, "fit" or "score", and whether they are an upper bound.

    The processor's own time where the line has it; where not, the clock's for each thread, which other work may share.
    """
    busy = (line.get("cpu_seconds") or {}).get(part)
    if busy is not None:
        return float(busy), False
    return float(line[f"{part}_seconds"]) * int((line.get("machine") or {}).get("threads") or 1), True


def method_named(name: str) -> type[Method] | None:
    """The method of this name, or None for one that this version has not."""
    return next((method for method in methods.METHODS if method.name == name), None)


def data_set_title(name: str) -> str:
    """How text calls a data set."""
    known = datasets.named(name)
    return name if known is None else known.title


def data_set_place(name: str) -> tuple[int, str]:
    """A data set's place among all."""
    names = [*(each.name for each in datasets.DATASETS), *(each.name for each in datasets.SOUND_SETS)]
    return (names.index(name) if name in names else len(names), name)


def class_place(data_set: str, normal_class: str) -> tuple[int, str]:
    """A class's place in its data set."""
    known = datasets.named(data_set)
    if known is None or normal_class not in known.classes:
        return (10**6, normal_class)
    return (known.classes.index(normal_class), normal_class)
