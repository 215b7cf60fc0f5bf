"""Many cells: killed and resumed, claimed by one process at a time, and the same through joblib and Ray."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import multiprocessing
import os
import random
import runpy
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from novanda.benchmark import engines, running
from novanda.benchmark.cells import Cell
from novanda.benchmark.engines import claimed, run_cells
from novanda.benchmark.results import append_result, read_results
from novanda.benchmark.running import work_file
from novanda.errors import InputError
from novanda.methods import OCSVM, PCA, AutoEncoder, NearestNeighbour
from novanda.training import Training

FOUR = """
from novanda.benchmark.cells import Cell
from novanda.methods import PCA, AutoEncoder, NearestNeighbour
from novanda.training import Training

def cell(method, epochs=None, seed=0):
    training = Training(epochs=epochs, batch_size=32, device="cpu", precision="32")
    return Cell(data_set="coil20", normal_class="obj3", protocol="angle_blocks", method=method, training=training,
                image_size=32, seed=seed)

small = AutoEncoder(width=4, latent_dim=4)
cells = [cell(PCA(components=8)), cell(small, 6), cell(NearestNeighbour()), cell(small, 4, seed=1)]
"""
PROGRAM = "import sys; from novanda.cli import main; sys.exit(main())"
SAME = ("cell", "auroc", "average_precision", "equal_error_rate", "sizes", "data")
"""What must not hang on where and in how many pieces a cell was run; seconds and memory do."""


def command(root: Path, spec: Path, out: Path, *more: str) -> list[str]:
    words = ["bench", "--spec", str(spec), "--out", str(out), "--data-root", str(root), *more]
    return [sys.executable, "-c", PROGRAM, *words]


def figures(out: Path) -> dict[str, Any]:
    lines = read_results(out / "results.jsonl")
    kept = {key: {name: line[name] for name in SAME} for key, line in lines.items()}
    for key, line in lines.items():
        kept[key]["losses"] = [{k: v for k, v in epoch.items() if k != "seconds"} for epoch in line["history"]]
    return kept


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "four.py"
    path.write_text(FOUR)
    return path


def _run_all(spec: str, out: str, root: str) -> None:
    cells = runpy.run_path(spec)["cells"]
    run_cells(cells, Path(out), Path(root), say=lambda _: None)


def test_killed_at_ten_random_moments_and_resumed(root: Path, spec: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lightning_fabric", "novanda.benchmark.engines", "novanda.methods"])

    def start(out: Path) -> Any:
        process = context.Process(target=_run_all, args=(str(spec), str(out), str(root)))
        process.start()
        return process

    unbroken = tmp_path / "unbroken"
    start(tmp_path / "first").join(300)  # whatever is slow only once
    started = time.monotonic()
    start(unbroken).join(300)
    whole = time.monotonic() - started
    expected = figures(unbroken)
    assert len(expected) == 4
    moments, kills, rounds = random.Random(0), 0, 0
    while True:
        out = tmp_path / f"broken-{rounds}"
        process = start(out)
        process.join(whole * moments.uniform(0.02, 0.9) if kills < 10 else 300)
        if process.is_alive():
            process.kill()  # SIGKILL: nothing is cleaned up
            process.join(60)
            kills += 1
            continue
        assert process.exitcode == 0
        assert figures(out) == expected
        assert (out / "results.jsonl").read_bytes().count(b"\n") == 4, "no cell has two lines"
        assert not list((out / "work").glob("*")), "nothing is left over"
        if kills == 10:
            return
        rounds += 1  # finished before its moment came; the next moments break another
        assert rounds < 100, "on this machine no moment is early enough to break anything"


def test_what_a_finished_cell_left_behind_is_cleared(root: Path, spec: Path, tmp_path: Path) -> None:
    _run_all(str(spec), str(tmp_path), str(root))
    key = next(iter(read_results(tmp_path / "results.jsonl")))
    for ending in ("lock", "checkpoint"):
        work_file(tmp_path, key, ending).parent.mkdir(exist_ok=True)
        work_file(tmp_path, key, ending).touch()
    _run_all(str(spec), str(tmp_path), str(root))
    assert not list((tmp_path / "work").glob("*"))
    assert (tmp_path / "results.jsonl").read_bytes().count(b"\n") == 4


@pytest.mark.slow  # each of its eleven runs imports torch three times
def test_workers_end_with_a_killed_driver(root: Path, spec: Path, tmp_path: Path) -> None:
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    started = time.monotonic()
    subprocess.run(command(root, spec, unbroken, "--jobs", "2"), check=True, capture_output=True, timeout=300)
    whole = time.monotonic() - started
    moments = random.Random(0)
    for _ in range(10):
        words = command(root, spec, broken, "--jobs", "2")
        with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
            with contextlib.suppress(subprocess.TimeoutExpired):
                run.wait(whole * moments.uniform(0.3, 0.9))
            run.kill()
        time.sleep(2)  # workers notice within a second; until then they hold their cell
        for lock in (broken / "work").glob("*.lock"):
            with claimed(lock) as free:
                assert free, "a worker goes on without its driver"
    subprocess.run(command(root, spec, broken, "--jobs", "2"), check=True, capture_output=True, timeout=300)
    assert figures(broken) == figures(unbroken)


def coil(**fields: Any) -> Cell:
    return Cell(
        data_set="coil20",
        normal_class="obj3",
        protocol="angle_blocks",
        image_size=32,
        **{"method": PCA(components=8), **fields},
    )


def test_a_cell_that_another_process_holds_is_left_to_it(root: Path, tmp_path: Path) -> None:
    held, free = coil(), coil(method=NearestNeighbour())
    said: list[str] = []
    lock = work_file(tmp_path, held.key, "lock")
    with claimed(lock) as mine:
        assert mine
        with claimed(lock) as other:
            assert not other, "a lock is the file's, not the process's"
        results = run_cells([held, free], tmp_path, root, say=said.append)
    assert [result["key"] for result in results] == [free.key]
    assert f"{held}: another process is running it" in said
    assert [r["key"] for r in run_cells([held, free], tmp_path, root, say=said.append)] == [held.key, free.key]


def holder(lock: Path) -> int | None:
    """The process that holds a lock file, by the kernel's own list."""
    if not lock.exists():
        return None
    for line in Path("/proc/locks").read_text().splitlines():
        words = line.split()
        if words[1] == "FLOCK" and words[5].rpartition(":")[2] == str(lock.stat().st_ino):
            return int(words[4])
    return None


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="needs the kernel's list of locks")
def test_a_worker_that_the_system_kills_costs_no_other_cell(root: Path, tmp_path: Path) -> None:
    training = Training(epochs=500, batch_size=2, device="cpu", precision="32")  # it never ends by itself
    doomed = coil(method=AutoEncoder(width=16, latent_dim=4), training=training)
    others = [coil(), coil(method=NearestNeighbour()), coil(method=OCSVM())]
    lock, killed = work_file(tmp_path, doomed.key, "lock"), 0
    done = threading.Event()

    def kill_it() -> None:
        nonlocal killed
        while not done.wait(0.2):
            process = holder(lock)
            if process is not None and work_file(tmp_path, doomed.key, "checkpoint").exists():
                os.kill(process, signal.SIGKILL)
                killed += 1
                done.wait(2)

    thread = threading.Thread(target=kill_it)
    thread.start()
    try:
        results = run_cells([doomed, *others], tmp_path, root, jobs=2, say=lambda _: None)
    finally:
        done.set()
        thread.join()
    assert killed == 2, "it gets a second chance"
    assert "ended by the system, twice" in results[0]["error"]
    assert all("error" not in result for result in results[1:])


def test_a_cell_finished_by_another_process_meanwhile_is_not_run_again(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = coil()
    line = {"key": cell.key, "cell": cell.to_json(), "auroc": {"mse": 0.5}}
    append_result(tmp_path / "results.jsonl", line)
    monkeypatch.setattr(engines, "run_cell", lambda *_: pytest.fail("run again"))
    assert "elsewhere" in engines._run_in_job(cell, tmp_path, root, 1, None)


def _hold(path: str, ready: Any) -> None:
    with claimed(Path(path)) as mine:
        ready.put(mine)
        time.sleep(600)


def test_a_killed_process_frees_its_claim(tmp_path: Path) -> None:
    path = tmp_path / "work" / "x.lock"
    context = multiprocessing.get_context("spawn")
    ready = context.Queue()
    process = context.Process(target=_hold, args=(str(path), ready))
    process.start()
    assert ready.get(timeout=120)
    with claimed(path) as mine:
        assert not mine
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(60)
    with claimed(path) as mine:
        assert mine
    ready.close()


def test_watchers_see_every_new_line(root: Path, tmp_path: Path) -> None:
    seen: list[str] = []
    cells = [coil(), coil(method=OCSVM()), coil(seed=-1)]
    run_cells(cells, tmp_path, root, say=lambda _: None, watch=lambda line: seen.append(line["key"]))
    assert sorted(seen) == sorted(cell.key for cell in cells), "failed ones too"


def test_an_address_is_rays(root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="an address is for the ray engine"):
        run_cells([coil()], tmp_path, root, address="auto", say=lambda _: None)


def test_each_job_keeps_to_its_threads(root: Path, tmp_path: Path) -> None:
    learned = coil(
        method=AutoEncoder(width=4, latent_dim=4),
        training=Training(epochs=1, batch_size=32, device="cpu", precision="32"),
    )
    (one,) = run_cells([learned], tmp_path / "1", root, jobs=1, say=lambda _: None)
    cells = [learned, dataclasses.replace(learned, seed=1)]
    two = run_cells(cells, tmp_path / "2", root, jobs=2, say=lambda _: None)
    cores = len(os.sched_getaffinity(0))
    assert one["machine"]["threads"] == cores
    assert {line["machine"]["threads"] for line in two} == {max(1, cores // 2)}


@pytest.mark.slow  # a cluster takes some 20 seconds to start
def test_ray_gives_the_same_as_joblib(root: Path, spec: Path, tmp_path: Path) -> None:
    by_joblib, by_ray = tmp_path / "joblib", tmp_path / "ray"
    subprocess.run(command(root, spec, by_joblib, "--jobs", "2"), check=True, capture_output=True, timeout=300)
    done = subprocess.run(
        command(root, spec, by_ray, "--jobs", "2", "--engine", "ray"), capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr
    assert len(figures(by_ray)) == 4
    assert figures(by_ray) == figures(by_joblib)
    lines = (by_ray / "results.jsonl").read_text().splitlines()
    assert all("error" not in json.loads(line) for line in lines)
    again = subprocess.run(command(root, spec, by_ray), capture_output=True, text=True, timeout=300)
    assert "4 done before, 0 to run" in again.stderr, "one folder for both engines"


def test_bare_files_have_the_commit_that_the_environment_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_git(*_: object, **__: object) -> None:
        raise OSError("no git here")

    monkeypatch.setattr("novanda.benchmark.running.subprocess.run", no_git)
    told = []
    for value in ("0123456789ab", None):
        running.commit.cache_clear()
        if value is None:
            monkeypatch.delenv("NOVANDA_COMMIT", raising=False)
        else:
            monkeypatch.setenv("NOVANDA_COMMIT", value)
        told.append(running.commit())
    running.commit.cache_clear()
    assert told == ["0123456789ab", None]
