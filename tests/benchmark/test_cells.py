"""Protocols by counting, the key of a cell, result files that survive kills, and cells that are run once."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from novanda import datasets, methods
from novanda.augment import NegativeAugmentation
from novanda.benchmark import engines, running
from novanda.benchmark.cells import Cell, describe
from novanda.benchmark.engines import run_cells
from novanda.benchmark.protocols import PROTOCOLS, Split, angle_blocks, one_vs_rest
from novanda.benchmark.results import append_result, read_results
from novanda.benchmark.running import RATES, run_cell
from novanda.benchmark.sound_protocols import SOUND_PROTOCOLS
from novanda.benchmark.studies import STUDIES
from novanda.datasets import DataSet, Labelled
from novanda.errors import DataError, InputError, Interrupted
from novanda.method import Method
from novanda.methods import NDA, OCSVM, PCA, AutoEncoder, NearestNeighbour
from novanda.training import Training

# ---------------------------------------------------------------------------------------------------------------
# Protocols


def numbered(count: int, first: int) -> np.ndarray:
    """Images that differ in their first two pixels, (N, 8, 8, 1) uint8."""
    images = np.zeros((count, 8, 8, 1), dtype=np.uint8)
    images[:, 0, 0, 0], images[:, 0, 1, 0] = np.divmod(np.arange(first, first + count), 256)
    return images


def numbers(images: np.ndarray) -> list[int]:
    found: list[int] = (images[:, 0, 0, 0].astype(int) * 256 + images[:, 0, 1, 0]).tolist()
    return found


def labelled_set() -> Labelled:
    """Three classes: 10, 20 and 30 training images, 4, 5 and 6 test images, shuffled."""
    generator = np.random.default_rng(0)
    train_labels = generator.permutation(np.repeat([0, 1, 2], [10, 20, 30]))
    test_labels = generator.permutation(np.repeat([0, 1, 2], [4, 5, 6]))
    return Labelled(numbered(60, 0), train_labels, numbered(15, 1000), test_labels, provenance="made")


@pytest.mark.parametrize("label", [0, 1, 2])
def test_one_vs_rest(label: int) -> None:
    labelled = labelled_set()
    split = one_vs_rest(labelled, label)
    assert len(split.train_images) == (10, 20, 30)[label]
    assert numbers(split.train_images) == np.flatnonzero(labelled.train_labels == label).tolist()
    assert numbers(split.test_images) == list(range(1000, 1015)), "the whole official test set, once"
    assert split.novel.dtype == bool
    assert (~split.novel).sum() == (4, 5, 6)[label]
    assert (labelled.test_labels[~split.novel] == label).all()
    assert not set(numbers(split.train_images)) & set(numbers(split.test_images))


def test_thinned_one_vs_rest_keeps_all_normals_and_every_ninth_novelty() -> None:
    labelled = labelled_set()
    whole, thinned = one_vs_rest(labelled, 0), PROTOCOLS["one_vs_rest_thinned"](labelled, 0)
    assert numbers(thinned.train_images) == numbers(whole.train_images)
    assert numbers(thinned.test_images[~thinned.novel]) == numbers(whole.test_images[~whole.novel])
    assert numbers(thinned.test_images[thinned.novel]) == numbers(whole.test_images[whole.novel])[::9]


def coil_like(objects: int = 3) -> Labelled:
    images = numbered(72 * objects, 0)
    angles = np.tile(np.arange(72) * 5, objects)
    nothing = np.empty(0, dtype=np.int64)
    extra = {"train_angles": angles, "test_angles": nothing}
    labels = np.repeat(np.arange(objects), 72)
    return Labelled(images, labels, images[:0], nothing, provenance="made", extra=extra)


@pytest.mark.parametrize("label", [0, 2])
def test_angle_blocks(label: int) -> None:
    labelled = coil_like()
    split = angle_blocks(labelled, label)
    train, test = numbers(split.train_images), numbers(split.test_images)
    angles = labelled.extra["train_angles"]
    assert len(train) == 57
    assert max(angles[train]) == 280
    assert set(labelled.train_labels[train].tolist()) == {label}
    assert sorted(train + test) == list(range(216)), "every view once, on one side"
    assert (~split.novel).sum() == 15
    assert sorted(angles[np.array(test)[~split.novel]].tolist()) == list(range(285, 360, 5))
    assert split.novel.sum() == 144
    np.testing.assert_array_equal(split.novel, labelled.train_labels[test] != label)


def test_a_protocol_refuses_what_it_can_not_split() -> None:
    with pytest.raises(InputError, match=r"official test split.*angle_blocks"):
        one_vs_rest(coil_like(), 0)
    with pytest.raises(InputError, match="angle"):
        angle_blocks(labelled_set(), 0)
    assert PROTOCOLS["one_vs_rest"] is one_vs_rest
    assert PROTOCOLS["angle_blocks"] is angle_blocks


# ---------------------------------------------------------------------------------------------------------------
# Cells

PINNED = Cell(data_set="coil20", normal_class="obj1", protocol="angle_blocks", method=PCA(), image_size=32)


def test_key_is_pinned() -> None:
    """A renamed field, another default or another order of hashing would orphan every committed result line.

    If this fails on purpose (a default was changed because the old one was wrong), rerun what is committed and write
    the new key here; if by accident, the change breaks every resumed benchmark.
    """
    assert PINNED.key == "eccb46e99992340a"


def test_equal_specifications_are_one_cell() -> None:
    same = Cell(
        data_set="coil20",
        normal_class="obj1",
        protocol="angle_blocks",
        method=methods.from_json(json.loads(json.dumps(methods.to_json(PCA(components=64))))),
        training=Training(),
        seed=0,
        image_size=32,
        calibration_fraction=0.0,
    )
    assert same == PINNED
    assert same.key == PINNED.key
    nda = dataclasses.replace(PINNED, method=NDA())
    explicit = Training(
        epochs=100,
        batch_size=128,
        optimizer="sgd",
        learning_rate=0.002,
        momentum=0.9,
        weight_decay=0.005,
        schedule="constant",
    )
    assert dataclasses.replace(nda, training=explicit).key == nda.key
    # Where it runs is the machine's business.
    for elsewhere in (Training(device="cuda:1"), Training(precision="32"), Training(device="cpu", precision="bf16")):
        assert dataclasses.replace(nda, training=elsewhere).key == nda.key


def test_every_part_of_the_specification_counts() -> None:
    nda = dataclasses.replace(PINNED, method=NDA())
    others = [
        PINNED,
        nda,
        dataclasses.replace(nda, data_set="coil100"),
        dataclasses.replace(nda, normal_class="obj2"),
        dataclasses.replace(nda, protocol="one_vs_rest"),
        dataclasses.replace(nda, seed=1),
        dataclasses.replace(nda, image_size=None),
        dataclasses.replace(nda, image_size=64),
        dataclasses.replace(nda, calibration_fraction=0.2),
        dataclasses.replace(nda, method=AutoEncoder()),
        dataclasses.replace(nda, method=NDA(augmentation=NegativeAugmentation(hue=0.2))),
        *(dataclasses.replace(nda, method=method) for method in (NDA(latent_dim=64), NDA(lambdas=(1.0, 1.0, 0.0)))),
        *(
            dataclasses.replace(nda, training=Training(**change))
            for change in (
                {"epochs": 99},
                {"batch_size": 64},
                {"optimizer": "adam"},
                {"learning_rate": 0.001},
                {"momentum": 0.8},
                {"weight_decay": 0.0},
                {"schedule": "cosine"},
            )
        ),
    ]
    assert len({cell.key for cell in others}) == len(others)
    for cell in others:
        assert re.fullmatch("[0-9a-f]{16}", cell.key)
        assert json.loads(json.dumps(cell.to_json(), allow_nan=False))["seed"] == cell.seed
        assert cell.key in str(cell)


@pytest.mark.parametrize("name", STUDIES)
def test_studies_name_what_exists(name: str) -> None:
    cells = STUDIES[name]()
    assert cells
    assert len({cell.key for cell in cells}) == len(cells), "no cell twice"
    for cell in cells:
        data_set = datasets.named(cell.data_set)
        assert data_set is not None
        data_set.label(cell.normal_class)
        if cell.recording is None:
            assert isinstance(data_set, DataSet)
            assert cell.protocol in PROTOCOLS
            assert data_set.kind in cell.method.kinds
        else:
            assert (cell.data_set, cell.protocol) in SOUND_PROTOCOLS
            assert cell.recording.content in cell.method.kinds


# ---------------------------------------------------------------------------------------------------------------
# Result files


def test_results_there_and_back(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "results.jsonl"
    assert read_results(path) == {}
    first, second = {"key": "a", "auroc": 0.1 + 0.2}, {"key": "b", "name": "naïve\nline"}
    append_result(path, first)
    append_result(path, second)
    assert read_results(path) == {"a": first, "b": second}
    append_result(path, {"key": "a", "auroc": 1})
    assert read_results(path)["a"] == {"key": "a", "auroc": 1}, "the last of a key counts"
    assert len(path.read_text().splitlines()) == 3
    path.write_text(path.read_text() + "\n\n")
    assert len(read_results(path)) == 2


TORN = [b'{"key": "b", "auro', b'{"key": "b"}', b"\xff\xfe", b" ", b'{"key"', b"[" * 200_000]


@pytest.mark.parametrize("torn", TORN, ids=range(len(TORN)))
def test_a_torn_last_line_is_dropped_and_healed(torn: bytes, tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    append_result(path, {"key": "a"})
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    assert read_results(path) == {"a": {"key": "a"}}
    # Reading and appending agree on what is torn: a line that was read as done must not be cut off by the next one.
    append_result(path, {"key": "c"})
    assert path.read_bytes() == whole + b'{"key": "c"}\n'
    assert list(read_results(path)) == ["a", "c"]


def test_a_file_that_is_one_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_bytes(b'{"key": "a", "long": "' + b"x" * 200_000)
    assert read_results(path) == {}
    append_result(path, {"key": "b"})
    assert path.read_bytes() == b'{"key": "b"}\n'


def test_healing_looks_beyond_one_block(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    append_result(path, {"key": "a", "long": "y" * 100_000})
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"key": "b", "long": "' + b"x" * 150_000)
    append_result(path, {"key": "c"})
    assert path.read_bytes() == whole + b'{"key": "c"}\n'


@pytest.mark.parametrize(
    "line", [b'{"key": "b", "auro', b"\xff\xfe\xfa", b"[1, 2]", b'{"no": 1}', b'{"key": []}', b"3"]
)
def test_a_broken_line_in_the_middle_is_an_error_with_its_number(line: bytes, tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_bytes(b'{"key": "a"}\n' + line + b'\n{"key": "c"}\n')
    with pytest.raises(DataError, match=rf"{re.escape(str(path))} line 2 is no result line .*mend or delete"):
        read_results(path)


def test_numbers_that_json_has_not_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    append_result(path, {"key": "a"})
    with pytest.raises(ValueError, match="not JSON compliant"):
        append_result(path, {"key": "b", "auroc": math.nan})
    assert list(read_results(path)) == ["a"]


WRITER = """
import sys
from pathlib import Path
from novanda.benchmark.results import append_result
for number in range(25):
    append_result(Path(sys.argv[1]), {"key": f"{sys.argv[2]}-{number}", "long": "z" * (1000 * (number % 7))})
"""


def test_concurrent_appends_all_survive(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    append_result(path, {"key": "first"})
    path.write_bytes(path.read_bytes() + b'{"key": "torn')
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(writer)]) for writer in range(4)]
    assert [process.wait(300) for process in writers] == [0] * 4
    results = read_results(path)
    assert set(results) == {"first"} | {f"{writer}-{number}" for writer in range(4) for number in range(25)}
    assert path.read_bytes().count(b"\n") == 101


# ---------------------------------------------------------------------------------------------------------------
# Running


QUICK = Training(epochs=1, batch_size=32, device="cpu", precision="32")


def coil(method: Method, **fields: Any) -> Cell:
    return Cell(data_set="coil20", normal_class="obj3", protocol="angle_blocks", method=method, image_size=32, **fields)


THREE = [coil(PCA(components=8)), coil(OCSVM()), coil(AutoEncoder(width=4, latent_dim=4), training=QUICK)]

RUN_IN_JOB = engines._run_in_job

PROMISED = {
    "key",
    "cell",
    "score",
    "auroc",
    "average_precision",
    "fpr_at_95_tpr",
    "equal_error_rate",
    "false_alarms",
    "sizes",
    "history",
    "findings",
    "fit_seconds",
    "score_seconds",
    "cpu_seconds",
    "peak_memory_mib",
    "data",
    "machine",
    "versions",
    "commit",
    "finished",
}


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[Cell]:
    """Cells run in this process, one after the other, and are written down as they start."""
    started: list[Cell] = []

    def run(cell: Cell, out: Path, root: Path, *_: Any) -> dict[str, Any]:
        started.append(cell)
        return run_cell(cell, out, root)

    class OneAfterTheOther:
        def __init__(self, **_: Any) -> None: ...

        def __call__(self, calls: Any) -> Any:
            return (function(*args, **kwargs) for function, args, kwargs in calls)

    monkeypatch.setattr(engines, "_run_in_job", run)
    monkeypatch.setattr("novanda.benchmark.engines.joblib.Parallel", OneAfterTheOther)
    return started


def test_cells_run_once_and_their_lines_hold_what_is_promised(root: Path, tmp_path: Path, here: list[Cell]) -> None:
    said: list[str] = []
    results = run_cells([*THREE, THREE[0]], tmp_path, root, say=said.append)
    assert here == THREE, "each once, though one is asked for twice"
    assert said[0] == "4 cells, 0 done before, 3 to run"
    assert [result["key"] for result in results] == [cell.key for cell in [*THREE, THREE[0]]]
    assert said[1:] == [describe(result) for result in results[:3]]
    for cell, result in zip(THREE, results, strict=False):
        assert set(result) >= PROMISED
        assert result["cell"] == json.loads(json.dumps(cell.to_json()))
        sizes = result["sizes"]
        assert (sizes["train"], sizes["calibration"], sizes["test_normal"], sizes["test_novel"]) == (57, 0, 15, 19 * 72)
        assert sizes["sample"] == [1, 32, 32]
        assert result["false_alarms"] is None
        assert set(result["versions"]) >= {"novanda", "torch", "numpy"}
        assert re.fullmatch("[0-9a-f]{64}", result["data"]["checksum"])
        assert set(result["machine"]) >= {"device", "name", "precision", "threads"}
        assert result["fit_seconds"] >= 0
        assert result["cpu_seconds"]["fit"] > 0
        assert result["cpu_seconds"]["score"] > 0
    assert len(results[2]["history"]) == 1
    assert results[2]["history"][0]["squared error"] > 0
    assert results[2]["sizes"]["parameters"] > 0

    here.clear()
    assert run_cells(THREE, tmp_path, root, say=said.append) == results[:3]
    assert not here
    assert said[-1] == "3 cells, 3 done before, 0 to run"
    other = coil(NearestNeighbour())
    run_cells([*THREE, other], tmp_path, root, say=said.append)
    assert here == [other]
    assert not list((tmp_path / "work").glob("*")), "a checkpoint goes when its result is written"


def test_raw_scores_give_the_figures_again(root: Path, tmp_path: Path, here: list[Cell]) -> None:
    for cell, result in zip(THREE, run_cells(THREE, tmp_path, root, say=lambda _: None), strict=True):
        with np.load(tmp_path / "scores" / f"{cell.key}.npz", allow_pickle=False) as file:
            novel = file["novel"]
            assert set(file.files) == {"novel", *result["auroc"]}
            for name, value in result["auroc"].items():
                assert roc_auc_score(novel, file[name]) == pytest.approx(value, abs=1e-12)
        assert next(iter(result["auroc"])) == result["score"]
        assert novel.sum() == 19 * 72
        if cell.method == PCA(components=8):  # eight components hold all views of one object, and no other's
            assert result["auroc"]["mse"] > 0.99


def test_scores_are_stored_without_loss() -> None:
    # Two float64 scores that float32 would make equal, and with them the AUROC another.
    close = np.array([1.0, 1.0 + 1e-12])
    assert running._narrowest(close) is close
    assert running._narrowest(np.array([1e300, 0.0])).dtype == np.float64
    single = np.array([0.1, 0.2], np.float32).astype(np.float64)
    assert running._narrowest(single).dtype == np.float32


def test_calibrated_cells_report_false_alarms(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    normals = np.random.default_rng(0).integers(0, 256, (600, 8, 8, 1), dtype=np.uint8)
    split = Split(normals[:300], normals[300:], np.arange(300) >= 200)
    monkeypatch.setitem(PROTOCOLS, "angle_blocks", lambda labelled, label: split)
    cell = dataclasses.replace(coil(NearestNeighbour(), calibration_fraction=0.4), image_size=None)
    result = run_cell(cell, tmp_path, root)
    assert result["sizes"]["train"] == 180
    assert result["sizes"]["calibration"] == 120
    alarms = result["false_alarms"]
    assert list(alarms) == [str(rate) for rate in RATES]
    with np.load(tmp_path / "scores" / f"{cell.key}.npz") as file:
        scores = file["distance"][~file["novel"]]
    for rate in RATES:
        found = alarms[str(rate)]
        assert found["of"] == 200 == len(scores)
        assert found["rate"] == found["flagged"] / 200
        assert found["low"] <= found["rate"] <= found["high"]
        # The flagged are the highest scores.
        threshold = np.sort(scores)[200 - found["flagged"]] if found["flagged"] else np.inf
        assert (scores >= threshold).sum() == found["flagged"]
    flagged = [alarms[str(rate)]["flagged"] for rate in RATES]
    assert flagged == sorted(flagged)
    assert flagged[-1] < 60, "of 200 normals, asked for a tenth"


def test_a_training_image_among_the_novelties_is_refused(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = numbered(40, 0)
    leaking = Split(
        images[:20], images[19:], np.arange(21) < 6
    )  # the first of the test images is the last one trained on
    monkeypatch.setitem(PROTOCOLS, "angle_blocks", lambda labelled, label: leaking)
    with pytest.raises(InputError, match="1 training images are also test novelties"):
        run_cell(coil(PCA()), tmp_path, root)
    assert not (tmp_path / "scores").exists()


def test_an_interrupted_cell_goes_on(root: Path, tmp_path: Path, here: list[Cell], monkeypatch: Any) -> None:
    cell = coil(AutoEncoder(width=4, latent_dim=4), training=dataclasses.replace(QUICK, epochs=3))
    whole = run_cell(cell, tmp_path / "unbroken", root)
    out = tmp_path / "broken"
    with monkeypatch.context() as patch:
        # The machine is switched off after training, before the result line is written.
        patch.setattr(engines, "append_result", lambda path, result: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run_cells([cell], out, root, say=lambda _: None)
    assert read_results(out / "results.jsonl") == {}
    assert (out / "work" / f"{cell.key}.checkpoint").exists()
    with monkeypatch.context() as patch:
        patch.setattr("novanda.losses.squared_error", lambda *_: pytest.fail("trained again"))
        (result,) = run_cells([cell], out, root, say=lambda _: None)
    assert result["auroc"] == whole["auroc"]
    assert not (out / "work" / f"{cell.key}.checkpoint").exists()


def test_a_cell_that_fails_costs_no_other_and_is_tried_again(
    root: Path, tmp_path: Path, here: list[Cell], monkeypatch: Any
) -> None:
    monkeypatch.setattr(engines, "_run_in_job", RUN_IN_JOB)  # the real one, which catches
    learned = coil(AutoEncoder(width=4, latent_dim=4), training=QUICK)
    bad, good = coil(AutoEncoder(width=4, latent_dim=4), training=QUICK, seed=-1), coil(PCA(components=8))
    said: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr("novanda.metrics.equal_error_rate", lambda *_: 1 / 0)
        failed = run_cells([learned], tmp_path, root, say=said.append)
    assert "ZeroDivisionError" in failed[0]["error"]
    assert (tmp_path / "work" / f"{learned.key}.checkpoint").exists(), "what it learned is kept"
    results = run_cells([bad, good, learned], tmp_path, root, say=said.append)
    assert said[2] == "3 cells, 0 done before, 3 to run"
    assert results[0]["error"].startswith("seed must be a whole number")
    assert "failed: seed must be" in describe(results[0])
    assert results[1]["auroc"]["mse"] > 0.99
    assert "error" not in results[2]
    run_cells([bad, good, learned], tmp_path, root, say=said.append)
    assert "3 cells, 2 done before, 1 to run" in said


def test_ctrl_c_is_not_written_down_as_a_failure(
    root: Path, tmp_path: Path, here: list[Cell], monkeypatch: Any
) -> None:
    monkeypatch.setattr(engines, "_run_in_job", RUN_IN_JOB)

    def stop(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("novanda.losses.squared_error", stop)
    with pytest.raises(Interrupted):
        run_cells([coil(AutoEncoder(width=4, latent_dim=4), training=QUICK)], tmp_path, root, say=lambda _: None)
    assert read_results(tmp_path / "results.jsonl") == {}


def test_jobs_of_their_own_processes_give_the_same(root: Path, tmp_path: Path) -> None:
    found = run_cells([coil(PCA(components=8))], tmp_path / "apart", root, jobs=1, say=lambda _: None)
    assert found[0]["auroc"] == run_cell(coil(PCA(components=8)), tmp_path / "here", root)["auroc"]
    assert (tmp_path / "apart" / "scores").exists()


def test_no_jobs_at_all_are_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="jobs must be at least 1"):
        run_cells([coil(PCA())], tmp_path, root, jobs=0)
