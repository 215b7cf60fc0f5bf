"""Latency and memory of the web service, from one line that `make bench-service` wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from novanda import methods
from novanda.benchmark.tables.table import Table


def service_table(line: Mapping[str, Any]) -> Table:
    """Latency by number of clients."""
    rows = [
        (
            methods.get(name).title,
            clients,
            f"{found['p50_ms']:.1f}",
            f"{found['p99_ms']:.1f}",
            f"{found['requests_per_second']:,.0f}",
        )
        for name, parts in line["latency"].items()
        for clients, found in parts.items()
    ]
    header = ("method", "clients", "p50, ms", "p99, ms", "requests/s")
    return Table.of_texts("service", "Latency of the service", header, rows)


def service_facts(line: Mapping[str, Any]) -> str:
    """The machine, and the service's memory over many requests, as a list."""
    machine = line["machine"]
    facts = [
        f"- Machine: {machine['processor']}, {machine['cores']} cores, torch with {machine['threads']} threads; "
        f"load {line['load_average']:.1f} when it began, {line['date'][:10]}, commit {line['commit']}."
    ]
    for name, held in line["memory_mib"].items():
        facts.append(
            f"- Memory, {methods.get(name).title}: {held['before']:.0f} MiB after the runs above, "
            f"{held['after_a_tenth']:.0f} after a tenth of {held['requests']:,} more requests, {held['after']:.0f} "
            "after all of them."
        )
    return "\n".join(facts)
