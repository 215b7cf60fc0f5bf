"""Structured logs: one JSON object a line on standard error. No file's name or content, and no client's address."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime


class JsonLines(logging.Formatter):
    """Time, level and event; then the facts that were given as `extra={"facts": {...}}`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        content = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            content["traceback"] = self.formatException(record.exc_info)
        return json.dumps(content)


def configure_logs() -> None:
    """Send all lines to standard error as JSON: the service's own, and warnings of what it is built on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.getLogger().handlers = [handler]
    logging.getLogger("novanda.serve").setLevel(logging.INFO)
    # Of a broken body the client is told; what a parser says of it beside that could quote it.
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)
