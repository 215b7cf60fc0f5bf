"""Running many cells: in processes of this machine (joblib) or on a Ray cluster; the same cells, the same lines."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import joblib
import torch
from joblib.externals.loky.process_executor import TerminatedWorkerError

from novanda.benchmark.cells import Cell, describe
from novanda.benchmark.results import append_result, read_results
from novanda.benchmark.running import commit, now, run_cell, work_file
from novanda.errors import InputError, Interrupted, NovandaError

Engine = Literal["joblib", "ray"]
Run = Callable[[Cell, Path, Path, int], "dict[str, Any] | None"]


def run_cells(
    cells: Sequence[Cell],
    out: Path,
    root: Path,
    *,
    jobs: int = 1,
    engine: Engine = "joblib",
    address: str | None = None,
    say: Callable[[str], None] = print,
    watch: Callable[[dict[str, Any]], None] = lambda _: None,
) -> list[dict[str, Any]]:
    """Run the cells that `out`/results.jsonl does not hold yet, `jobs` at a time; returns the results of all, in order.

    Each job gets its share of the cores. Interrupted cells go on from their last epoch when this is called again.
    A cell that fails gets a line with its "error" in place of figures; the others go on; it is tried again next time.
    A cell that another process is running at this moment is left to it, and missing from what is returned.

    Args:
        out, root: folders of the results and of the data sets. On a cluster both must be shared by all machines.
        engine: "joblib", processes of this machine; "ray", tasks on a Ray cluster.
        address: of an existing Ray cluster; None starts one on this machine.
        say: gets a sentence at the start and at the end of each cell.
        watch: gets each new result line.
    """
    if jobs < 1:
        raise InputError(f"jobs must be at least 1; got {jobs}")
    path = out / "results.jsonl"
    done = {key: line for key, line in read_results(path).items() if "error" not in line}
    waiting = list({cell.key: cell for cell in cells if cell.key not in done}.values())
    say(f"{len(cells)} cells, {sum(cell.key in done for cell in cells)} done before, {len(waiting)} to run")
    for cell in cells:  # one that was killed between its line and its end left its files behind
        if cell.key in done and work_file(out, cell.key, "lock").exists():
            _clear(out, cell.key)
    if waiting:
        threads = max(1, _cores() // jobs)
        outcomes = _ENGINES[engine](waiting, out, root, jobs, threads, address)
        for result in outcomes:
            if "elsewhere" in result:
                say(f"{result['elsewhere']}: another process is running it")
                continue
            append_result(path, result)
            if "error" not in result:  # the epochs of a cell that failed while scoring are still good
                _clear(out, result["key"])
            say(describe(result))
            watch(result)
    done = read_results(path)
    return [done[cell.key] for cell in cells if cell.key in done]


def _clear(out: Path, key: str) -> None:
    """Delete what a finished cell needed on its way, and what a kill in the middle of writing may have left."""
    for ending in ("checkpoint", "curve.json", "lock"):
        work_file(out, key, ending).unlink(missing_ok=True)
    for torn in out.glob(f"*/.{key}.*.partial"):
        torn.unlink(missing_ok=True)


def _by_joblib(
    cells: Sequence[Cell], out: Path, root: Path, jobs: int, threads: int, address: str | None
) -> Iterator[dict[str, Any]]:
    if address is not None:
        raise InputError(f"an address is for the ray engine; got {address!r} with joblib")
    left = {cell.key: cell for cell in cells}
    deaths = dict.fromkeys(left, 0)
    while left:
        begun = time.time()
        try:
            with joblib.parallel_config("loky", n_jobs=jobs, inner_max_num_threads=threads):
                runner = joblib.Parallel(return_as="generator_unordered", batch_size=1)
                job = joblib.delayed(_run_in_job)
                calls = [job(cell, out, root, threads, os.getpid()) for cell in left.values()]
                for result in runner(calls):
                    left.pop(result["key"], None)
                    yield result
            return
        except TerminatedWorkerError:
            # The system ended a worker, and loky the others with it. Whose fault it was nobody can tell, so those that
            # were running get a second chance, after all that were not.
            suspects = [cell for cell in left.values() if _claimed_since(begun, work_file(out, cell.key, "lock"))]
            for cell in suspects:
                del left[cell.key]
                deaths[cell.key] += 1
                if deaths[cell.key] > 1:
                    yield _failure(cell, "its process was ended by the system, twice: perhaps memory ran out")
                else:
                    left[cell.key] = cell
            if not suspects:
                raise


def _by_ray(
    cells: Sequence[Cell], out: Path, root: Path, jobs: int, threads: int, address: str | None
) -> Iterator[dict[str, Any]]:
    try:
        import ray
    except ImportError:
        raise InputError("the ray engine needs Ray: pip install 'novanda[ray]'") from None

    started = not ray.is_initialized()
    if started:
        try:
            ray.init(address=address, log_to_driver=False, include_dashboard=False, num_cpus=None if address else jobs)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise InputError(f"no Ray cluster at {address!r}: {error}; `ray start --head` starts one") from error
    try:
        # A cluster's machines count their own cores; one started here has as many as there are jobs.
        task = ray.remote(_run_in_job).options(num_cpus=threads if address else 1, max_retries=0)
        folders = out.absolute(), root.absolute()
        queue = list(cells)
        running: list[Any] = []
        cells_of: dict[Any, Cell] = {}
        while queue or running:
            while queue and len(running) < jobs:
                cell = queue.pop(0)
                running.append(task.remote(cell, *folders, threads, None))
                cells_of[running[-1]] = cell
            (finished,), running = ray.wait(running)
            try:
                yield ray.get(finished)
            except ray.exceptions.RayError as error:  # its machine or its process is gone
                yield _failure(cells_of[finished], str(error).strip().splitlines()[0])
    finally:
        if started:
            ray.shutdown()


_ENGINES: dict[Engine, Callable[..., Iterator[dict[str, Any]]]] = {"joblib": _by_joblib, "ray": _by_ray}


def _run_in_job(cell: Cell, out: Path, root: Path, threads: int, driver: int | None) -> dict[str, Any]:
    """Run a cell unless somebody else does; whatever goes wrong becomes a result line with its error.

    Args:
        driver: the process that waits for this one; where it is the parent, this one ends when it does.
    """
    if driver is not None and os.getpid() != driver and os.getppid() == driver:
        threading.Thread(target=_end_with, args=(driver,), daemon=True).start()
    torch.set_num_threads(threads)
    with claimed(work_file(out, cell.key, "lock")) as mine:
        if not mine:
            return {"key": cell.key, "elsewhere": str(cell)}
        known = read_results(out / "results.jsonl").get(cell.key)
        if known is not None and "error" not in known:  # finished by another process since this one made its list
            return {"key": cell.key, "elsewhere": str(cell)}
        try:
            return run_cell(cell, out, root)
        except Interrupted:
            raise  # Ctrl-C is no fault of the cell's
        except Exception as error:  # whatever it is, it must not cost the other cells
            return _failure(cell, str(error) if isinstance(error, NovandaError) else repr(error))


def _failure(cell: Cell, reason: str) -> dict[str, Any]:
    return {"key": cell.key, "cell": cell.to_json(), "error": reason, "commit": commit(), "finished": now()}


def _cores() -> int:
    """Cores that this process may use, which `taskset` or a container may have made fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Hold a lock file; yields False where another process holds it. The system frees it when a process dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        os.utime(path)
        yield True


def _claimed_since(moment: float, path: Path) -> bool:
    return path.exists() and path.stat().st_mtime >= moment


def _end_with(driver: int) -> None:
    """End this process at once when its parent is gone: nobody would write down what it finds.

    A killed driver can not tell its workers; left alone they would run to the end of their cell, while the same
    command, given again, starts it anew beside them. What is on disk is whole at any moment.
    """
    while os.getppid() == driver:
        time.sleep(0.5)
    os._exit(1)
