# What a user types: `make tables`, `make figures`, `make test`; `make pull` instead of building.
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: tables figures all test check remotes pull push times

tables figures: $(VENV)/ready
	snakemake --cores all results/$@

all: $(VENV)/ready
	snakemake --cores all all

# --no-deps: the lock is whole, and holds no GPU packages. Compiled on all cores at once, which pip does not.
$(VENV)/ready: requirements.lock pyproject.toml
	python3 -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --no-deps -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps -e .
	-$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib
	touch $@

test: $(VENV)/ready
	pytest -n 2 --dist loadfile --no-loadscope-reorder

# What CI checks before the tests.
check: $(VENV)/ready
	ruff check
	ruff format --check
	snakefmt --check Snakefile workflow
	snakemake --lint
	mypy

# What DVC needs for S3 and SSH remotes, and the S3 server that their test talks to.
remotes: $(VENV)/ready
	$(BIN)/python -m pip install --quiet --no-deps -r requirements-remotes.lock

# A pulled file is as new as the clone, so Snakemake must be told that it is up to date: never one without the other.
pull: $(VENV)/ready
	dvc pull
	snakemake --touch --quiet all

push: $(VENV)/ready
	dvc push

times: $(VENV)/ready
	pqm paper times results/benchmarks
