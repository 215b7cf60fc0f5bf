"""What people said of scored images, kept in SQLite so that a kill or a power cut loses nothing that was answered."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from novanda.errors import InputError
from novanda.serve.answers import FeedbackIn, Verdict

MAX_ROWS = 1_000_000
Row = tuple[int, str, str, str, float, Verdict]
"""id, time, model, name, novelty, verdict."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS feedback (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    time TEXT NOT NULL,
    model TEXT NOT NULL,
    name TEXT NOT NULL,
    novelty REAL NOT NULL,
    verdict TEXT NOT NULL CHECK (verdict IN ('false_alarm', 'true_alarm')),
    UNIQUE (model, name, novelty)
)"""
_COLUMNS = "id, time, model, name, novelty, verdict"


class FeedbackStore:
    """One table. A word on the same image (model, name and novelty) replaces the earlier one.

    Used from one thread at a time; another process may use the same file.

    Raises:
        InputError: the file is none of ours, or can not be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.exists() and not path.is_file():
            raise InputError(f"{path} is no regular file; --feedback is a file to keep feedback in")
        try:
            self._connection = sqlite3.connect(path, timeout=10, check_same_thread=False, isolation_level=None)
            # Written ahead: readers do not wait for writers. Full: an answered word is on the disk.
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute(_SCHEMA)
            self._connection.execute(f"SELECT {_COLUMNS} FROM feedback LIMIT 1").fetchall()
        except sqlite3.Error as error:
            raise InputError(
                f"{path} can not keep feedback: {error}; name a new file with --feedback, in a folder that is writable"
            ) from error

    def keep(self, said: FeedbackIn) -> Row | None:
        """Keep one word; returns it as kept, or None where the store is full."""
        with closing(self._connection.execute("SELECT max(id) FROM feedback")) as found:
            if (found.fetchone()[0] or 0) >= MAX_ROWS:
                return None
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        kept = self._connection.execute(
            "INSERT INTO feedback (time, model, name, novelty, verdict) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (model, name, novelty) DO UPDATE SET time = excluded.time, verdict = excluded.verdict "
            f"RETURNING {_COLUMNS}",
            (now, said.model, said.name, said.novelty, said.verdict),
        ).fetchall()
        row: Row = kept[0]
        return row

    def listed(self, after: int, most: int, model: str | None = None) -> list[Row]:
        """At most so many rows with a higher id, in order."""
        of_model = "" if model is None else "AND model = ?"
        values = (after, *([] if model is None else [model]), most)
        return self._connection.execute(
            f"SELECT {_COLUMNS} FROM feedback WHERE id > ? {of_model} ORDER BY id LIMIT ?", values
        ).fetchall()

    def withdraw(self, row: int) -> bool:
        """Forget one word; whether there was one."""
        return self._connection.execute("DELETE FROM feedback WHERE id = ?", (row,)).rowcount > 0

    def check(self) -> None:
        """Raise sqlite3.Error where the file can no longer be read."""
        self._connection.execute("SELECT 1 FROM feedback LIMIT 1").fetchall()

    def close(self) -> None:
        """Fold what was written ahead into the file."""
        self._connection.close()
