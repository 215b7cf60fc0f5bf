# Two commands for newcomers, `make demo` and `make test`; each sets up what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help demo pump explain test lint types docs tests test-slow bench bench-service results readme screenshots \
  browser clean

help:
	@echo "make demo       train on images that ship with a dependency, print scores, draw demo/eights.png"
	@echo "make pump       the same of sound: recordings of a pump made here, demo/pump/timeline.png"
	@echo "make explain    docs/pictures/explain.png, from the demo"
	@echo "make test       lint, types, documentation, tests"
	@echo "make docs       the documentation as a site, in site/"
	@echo "make test-slow  tests that need minutes, or real data under NOVANDA_DATA"
	@echo "make bench      speed and memory on this machine, one line added to benchmarks/{speed,sound,video}.jsonl"
	@echo "make bench-service  latency and memory of the service, one line added to benchmarks/service.jsonl"
	@echo "make results    the cells behind the README's tables, resumed; needs NOVANDA_DATA; hours"
	@echo "make readme     the README's tables and pictures from the committed result lines"
	@echo "make screenshots  the pictures of the page in docs/pictures, drawn by a browser"

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(READY)

demo: $(READY)
	$(BIN)/python examples/demo.py

# Also what docs/sound.md shows.
pump: $(READY)
	$(BIN)/python examples/pump.py
	cp demo/pump/timeline.png docs/pictures/timeline.png
	cp demo/pump/figure5.png docs/pictures/figure5.png

# Of the demo's detector: an eight, and two digits it has never seen.
explain: demo
	$(BIN)/novanda explain demo/eights.novanda $$(for digit in 8 3 6; do find demo/new/$$digit -name '*.png' | sort | head -1; done) \
	  --out docs/pictures/explain.png

test: lint types docs tests

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

# Built whole, and stopped by any warning: a broken link, a name that the reference can not find.
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# Tests that look at pages want a browser. Debian has one; where it can not be installed they are skipped and say so.
browser:
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	  && apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null; } \
	  || echo "no chromium here (as root: apt-get install chromium): tests in a browser will be skipped"

# One thread a worker: tests on two workers would otherwise fight over two cores.
tests: $(READY) browser
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal -m "not slow"

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow

bench: $(READY)
	$(BIN)/python benchmarks/speed.py --out benchmarks/speed.jsonl
	$(BIN)/python benchmarks/sound.py --out benchmarks/sound.jsonl
	$(BIN)/python benchmarks/video.py --out benchmarks/video.jsonl

bench-service: $(READY)
	$(BIN)/python benchmarks/service.py --out benchmarks/service.jsonl

BENCH = $(BIN)/novanda bench
results: $(READY)
	$(BENCH) core --out benchmarks/core --jobs 2
	$(BENCH) norms --out benchmarks/core --jobs 2
	$(BENCH) table3 --out benchmarks/table3 --jobs 2
	for study in negatives table1 table2; do \
	  $(BENCH) $$study --out benchmarks/ablation --classes plane,car --seeds 0,1 --jobs 2 || exit $$?; done
	for study in gallery figure4 figure6; do $(BENCH) $$study --out benchmarks/figures --jobs 2 || exit $$?; done
	$(BENCH) table4 --out benchmarks/table4 --jobs 2
	$(BENCH) flagship --out benchmarks/flagship --jobs 2
	$(BENCH) compared --out benchmarks/compared --jobs 2 \
	  --reuse benchmarks/core,benchmarks/table3,benchmarks/table4,benchmarks/flagship
	$(BENCH) esc10 --out benchmarks/esc10 --jobs 2
	$(BENCH) table3 --methods nda --budget authors --out benchmarks/table3 --jobs 2

readme: $(READY)
	$(BIN)/python benchmarks/readme.py

screenshots: $(READY) browser
	$(BIN)/python benchmarks/screenshots.py

clean:
	rm -rf $(VENV) demo site .mypy_cache .pytest_cache .ruff_cache .hypothesis
