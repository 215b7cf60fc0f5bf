"""`novanda serve`."""

from __future__ import annotations

import ipaddress
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import tyro

from novanda.commands.terminal import argument, load_scoring, print_line
from novanda.errors import InputError
from novanda.serve.limits import Limits

TOKEN_VARIABLE = "NOVANDA_TOKEN"
_SHORTEST_TOKEN = 16
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})


def serve(
    models: Annotated[tuple[str, ...], tyro.conf.Positional, argument(metavar="MODEL ...")],
    host: str = "127.0.0.1",
    port: int = 8000,
    token_file: Annotated[Path | None, argument(metavar="FILE")] = None,
    allow_host: Annotated[tuple[str, ...], argument(metavar="NAME ...")] = (),
    feedback: Annotated[Path | None, argument(metavar="FILE")] = None,
    limits: Limits = Limits(),
) -> int:
    """Serve detectors over HTTP, with a page for the browser, until stopped by Ctrl-C or SIGTERM.

    Without a token whoever reaches the address may ask; by default that is this machine alone.

    Args:
        models: files that `novanda fit` or `export` wrote, or NAME=FILE to name one; the first is the default.
        host: address to listen on; 0.0.0.0 listens to every machine that reaches this one.
        port: 0 takes any that is free, and says which.
        token_file: file with the token to ask of clients; otherwise the environment's NOVANDA_TOKEN, if set.
        allow_host: names by which the service may be called, beside this machine's own.
        feedback: SQLite file to keep feedback in; otherwise beside the first model.
        limits: what the service takes before it says no.
    """
    named = dict(_named(models))
    token = _token(token_file)
    detectors = {name: load_scoring(path) for name, path in named.items()}
    for name, detector in detectors.items():
        if detector.spec_.recording is not None:
            raise InputError(
                f"{name} is a detector of recordings; the service takes images. Use `novanda score` for it"
            )
    try:
        from novanda.serve.app import create_app
        from novanda.serve.feedback import FeedbackStore
        from novanda.serve.server import bind, run
    except ModuleNotFoundError as error:
        raise InputError(f"{error.name} is not installed; pip install 'novanda[serve]'") from error

    kept = feedback or next(iter(named.values())).with_suffix(".feedback.sqlite")
    app = create_app(detectors, FeedbackStore(kept), limits, token=token, hosts=_hosts(host, allow_host))
    with bind(host, port) as listening:
        shown = f"[{host}]" if ":" in host else host
        print_line(f"serving {', '.join(named)} on http://{shown}:{listening.getsockname()[1]}/ until Ctrl-C")
        print_line(f"feedback is kept in {kept}")
        if token is None and not _is_loopback(host):
            print_line("no token: whoever reaches this address may ask; see --token-file")
        sys.stdout.flush()
        run(app, listening, limits)
    return 0


def _named(models: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    """Each model's name and file."""
    if not models:
        raise InputError("say what to serve: a file that `novanda fit` wrote")
    seen: set[str] = set()
    for word in models:
        name, equals, rest = word.partition("=")
        path = Path(rest) if equals and _NAME.fullmatch(name) and not os.path.exists(word) else Path(word)
        name = name if path == Path(rest) and equals else path.stem
        if not _NAME.fullmatch(name):
            raise InputError(
                f"{name!r} can be no model's name; name it NAME={word}, of letters, digits, dots, - and _, at most 64"
            )
        if name in seen:
            raise InputError(f"two models would be called {name}; name one of them NAME={word}")
        seen.add(name)
        yield name, path


def _token(file: Path | None) -> str | None:
    """The token, from a file or the environment, never from a flag that every user of the machine can read."""
    if file is not None:
        try:
            token = file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"the token in {file} can not be read: {error}") from error
    else:
        token = os.environ.get(TOKEN_VARIABLE, "").strip()
        if TOKEN_VARIABLE not in os.environ:
            return None
    where = TOKEN_VARIABLE if file is None else str(file)
    if len(token) < _SHORTEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise InputError(
            f"{where}: expected a token of at least {_SHORTEST_TOKEN} printable ASCII characters without spaces; make "
            "one with: python -c 'import secrets; print(secrets.token_urlsafe())'"
        )
    return token


def _hosts(host: str, allowed: tuple[str, ...]) -> frozenset[str] | None:
    """Names by which the service may be called; None, for any, where it listens to other machines."""
    if not _is_loopback(host) and not allowed:
        return None
    shown = f"[{host}]" if ":" in host else host
    return _LOOPBACK | {shown.lower()} | {name.lower() for name in allowed}


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
