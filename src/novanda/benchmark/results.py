"""Result files: one JSON line per finished cell, appended whole, read back without torn lines."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from novanda.checkpoint import written_atomically
from novanda.errors import DataError


def read_results(path: Path) -> dict[str, dict[str, Any]]:
    """Result lines by key, the last of each; a torn last line (a killed run) is dropped, any other is an error.

    A failure does not undo what was finished before it. What no newline ends is torn even if it happens to be whole:
    `append_result` would cut it off.
    """
    if not path.exists():
        return {}
    lines = path.read_bytes().split(b"\n")
    results: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(lines[:-1], 1):
        if not line.strip():
            continue
        try:
            result = json.loads(line)
            if "error" not in result or "error" in results.get(result["key"], {"error": ""}):
                results[result["key"]] = result
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} line {number} is no result line ({error}); mend or delete that line") from error
    return results


def append_result(path: Path, result: Mapping[str, Any]) -> None:
    """Add one line under a lock, after cutting off what a killed writer may have left behind the last newline."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        content_end = _end_of_last_line(file)
        file.truncate(content_end)
        file.write(json.dumps(result, allow_nan=False).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def take_over(keys: Collection[str], sources: Iterable[Path], out: Path) -> int:
    """Copy finished lines of these cells, with the arrays beside them, from other folders; how many were new to `out`.

    A line whose raw scores are gone stays where it is: the cell is run again.

    Raises:
        DataError: a source holds no result lines.
    """
    done = {key for key, line in read_results(out / "results.jsonl").items() if "error" not in line}
    before = len(done)
    for source in sources:
        if not (source / "results.jsonl").is_file():
            raise DataError(f"{source} holds no results.jsonl; give a folder that `novanda bench` wrote to")
        for key, line in read_results(source / "results.jsonl").items():
            if key not in keys or key in done or "error" in line or not (source / "scores" / f"{key}.npz").is_file():
                continue
            for kind in ("scores", "kept"):
                arrays = source / kind / f"{key}.npz"
                if arrays.is_file():
                    with written_atomically(out / kind / arrays.name) as file:
                        file.write(arrays.read_bytes())
            append_result(out / "results.jsonl", line)
            done.add(key)
    return len(done) - before


def _end_of_last_line(file: Any) -> int:
    size: int = file.seek(0, os.SEEK_END)
    step = 1 << 16
    end = size
    while end > 0:
        start = max(0, end - step)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return int(start + found + 1)
        end = start
    return 0
