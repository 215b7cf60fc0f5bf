"""What Prometheus may ask: counts and times, no names and no contents."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Measures:
    """One application's counters, in a registry of their own so that two applications can live in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "novanda_requests", "Answered requests.", ["route", "method", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "novanda_request_seconds", "From the first byte to the last.", ["route"], buckets=_SECONDS,
            registry=self.registry,
        )  # fmt: skip
        self.in_work = Gauge("novanda_requests_in_work", "Requests begun and not answered.", registry=self.registry)
        self.files = Counter(
            "novanda_files", "Files by outcome: normal, novel, undecided or refused.", ["model", "outcome"],
            registry=self.registry,
        )  # fmt: skip
        self.batches = Histogram(
            "novanda_batch_size", "Images scored together.", ["model"], buckets=_SIZES, registry=self.registry
        )
        self.feedback = Counter(
            "novanda_feedback", "Words kept, by verdict.", ["model", "verdict"], registry=self.registry
        )
        ProcessCollector(registry=self.registry)

    def text(self) -> bytes:
        """As Prometheus reads it."""
        return generate_latest(self.registry)
