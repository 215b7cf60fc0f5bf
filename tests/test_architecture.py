"""The rules of the house: imports point down, methods have one parent, nothing unpickles, only the CLI prints."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from novanda.method import Method
from novanda.methods import METHODS

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "novanda"
TESTS = Path(__file__).resolve().parent

# Ground floor first. Rooms on one floor may not import each other; inside a room (a folder) anything goes.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors",),
    ("recordings",),
    ("samples",),
    ("training_options",),
    ("losses", "augment", "networks", "metrics", "calibration", "checkpoint"),
    ("latents", "patches", "neighbours"),
    ("symmetry", "shift_ensemble"),
    ("method",),
    ("heat", "examples"),
    ("training",),
    ("methods",),
    ("datasets",),
    ("sources",),
    ("inspection", "scores", "mixing", "supervised"),
    ("timelines",),
    ("detector", "exported"),
    ("explanations", "export"),
    ("pictures",),
    ("serve",),
    ("benchmark",),
    ("doctor",),
    ("commands",),
    ("cli",),
)
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}


def files() -> list[Path]:
    found = sorted(PACKAGE.rglob("*.py"))
    assert len(found) > 30, "the package was not found"
    return found


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    """The file or folder right below novanda; "" for novanda itself."""
    return module.split(".")[1] if "." in module else ""


def imported(source: str, module: str, is_package: bool = False) -> Iterator[str]:
    """Every novanda module that a source text imports, wherever the import stands."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = node.module or ""
            if node.level:
                here = module.split(".")
                kept = here[: len(here) - node.level + is_package]
                start = ".".join([*kept, start] if start else kept)
            # `from novanda import losses` names a module; from anywhere deeper the room is told by the start.
            names = [f"{start}.{alias.name}" for alias in node.names] if start == "novanda" else [start]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            names = [str(node.args[0].value)] if isinstance(node.args[0], ast.Constant) else []
        else:
            continue
        yield from (name for name in names if name.split(".")[0] == "novanda")


def wrong_imports(source: str, module: str, is_package: bool = False) -> list[str]:
    here = room_of(module)
    wrong = []
    for target in imported(source, module, is_package):
        there = room_of(target)
        if there != here and (there not in FLOOR_OF or FLOOR_OF[there] >= FLOOR_OF[here]):
            wrong.append(f"{module} imports {target}")
    return wrong


def test_every_file_has_a_floor() -> None:
    rooms = {room_of(module_of(path)) for path in files()} - {""}
    assert rooms <= FLOOR_OF.keys(), "a new room needs its place in FLOORS"


def test_imports_only_point_down() -> None:
    wrong = [
        line
        for path in files()
        if room_of(module_of(path))  # novanda/__init__ is the front door: it hands out names of every floor
        for line in wrong_imports(path.read_text(), module_of(path), path.name == "__init__.py")
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "line",
    [
        "from novanda.detector import Detector",
        "import novanda.detector",
        "import novanda.detector as d",
        "from novanda import detector",
        "from ..detector import Detector",
        "from .. import detector",
        "def f():\n    from novanda.detector import Detector",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from novanda.detector import Detector",
        "import importlib\nimportlib.import_module('novanda.detector')",
        "from novanda.unknown_room import anything",
    ],
)
def test_the_import_rule_sees_every_form(line: str) -> None:
    assert wrong_imports(line, "novanda.methods.nda")


def test_the_import_rule_allows_what_is_below_or_in_the_room() -> None:
    below = "from novanda import losses\nfrom novanda.method import Method\nfrom .pca import PCA\nimport torch"
    assert not wrong_imports(below, "novanda.methods.nda")
    assert wrong_imports("from novanda.losses import x", "novanda.metrics"), "neighbours on one floor stay apart"


def test_methods_derive_from_method_alone() -> None:
    assert METHODS
    for method in METHODS:
        assert method.__bases__ == (Method,), f"{method.__name__} must derive from Method and nothing else"


def test_no_file_is_named_for_nothing() -> None:
    empty = {"utils", "util", "helpers", "helper", "base", "common", "misc"}
    places = [p.relative_to(PACKAGE.parent) for p in PACKAGE.rglob("*") if "__pycache__" not in p.parts]
    named = [str(place) for place in places if place.name.removesuffix(".py").strip("_") in empty]
    assert not named, "a file or folder is named for what it holds"


def prints(source: str) -> bool:
    """Whether a source text calls print; a `say=print` that a caller may replace is none of its own."""
    return any(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
        for node in ast.walk(ast.parse(source))
    )


def unpickles(source: str) -> set[str]:
    """The ways of running what a file holds that a source text uses."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Call):
            if any(word.arg == "allow_pickle" and ast.unparse(word.value) != "False" for word in node.keywords):
                found.add("allow_pickle")
            found.add(ast.unparse(node.func))
    return found & {
        "pickle", "_pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "torch.load", "joblib.load",
        "allow_pickle", "eval", "exec",
    }  # fmt: skip


def test_nothing_prints_but_the_command_line() -> None:
    printing = [module_of(path) for path in files() if prints(path.read_text())]
    assert set(printing) <= {"novanda.commands.terminal"}
    assert prints("def f():\n    print('x')")


def test_nothing_runs_what_a_file_holds() -> None:
    found = {module_of(path): unpickles(path.read_text()) for path in files()}
    assert {module: ways for module, ways in found.items() if ways} == {"novanda.datasets.cifar10": {"pickle"}}
    for line in (
        "import pickle",
        "from pickle import loads",
        "import torch\ntorch.load('f')",
        "from torch import load",
        "from joblib import load",
        "import joblib\njoblib.load('f')",
        "import numpy\nnumpy.load('f', allow_pickle=True)",
    ):
        assert unpickles(line), line


def test_the_one_unpickler_is_the_restricted_one() -> None:
    source = (PACKAGE / "datasets" / "cifar10.py").read_text()
    read = {ast.unparse(node) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)}
    used = {name for name in read if name.startswith("pickle.")}
    assert used == {"pickle.Unpickler", "pickle.UnpicklingError"}
    parents = {
        node.name: [ast.unparse(parent) for parent in node.bases]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ClassDef)
    }
    assert parents == {"_ArraysOnly": ["pickle.Unpickler"]}
    assert "def find_class" in source


def test_test_files_have_names_of_their_own() -> None:
    names = Counter(path.name for path in TESTS.rglob("test_*.py"))
    assert names
    assert not [name for name, count in names.items() if count > 1], "pytest can not tell two of one name apart"
