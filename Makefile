# The main commands: `make tables`, `make figures`, `make test`, and `make pull` instead of building.
# They build the study named in params.yaml. For another study: `make STUDY=tiny tables`.
STUDY := $(shell sed -n 's/^study: *//p' params.yaml)
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: tables figures all rebuilds envs test test-long bench bench-load bench-gpu check remotes pull push times

tables: $(VENV)/ready
	snakemake --cores all --config study=$(STUDY) -- results/tables
	pqm paper compare HEAD results/$(STUDY)/tables --no-judge

figures: $(VENV)/ready
	snakemake --cores all --config study=$(STUDY) -- results/figures

all: $(VENV)/ready
	snakemake --cores all --config study=$(STUDY) -- all

# Build the study with N seeds of its pretrainings, and keep the tables of each. The same command goes on after an interruption.
N := 8
rebuilds: $(VENV)/ready
	python -m pqm.workflow.rebuilds $(STUDY) $(N)

# torch is installed first, with its dependencies: from PyPI these include the CUDA libraries, which the lock does not contain.
# TORCH_INDEX is an additional index, so dependencies are still found on PyPI. Its build is chosen, because pip considers
# 2.x+cpu newer than 2.x. Then the lock is installed without dependencies, because it is complete, by uv where it is installed.
# Modules are compiled afterwards, on all cores, because pip uses only one; tests and most models are never imported.
INSTALL = $(if $(shell uv --version 2> /dev/null),uv pip install --python $(BIN)/python,$(BIN)/python -m pip install --no-compile)
$(VENV)/ready: requirements.lock pyproject.toml
	python3 -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile $(addprefix --extra-index-url ,$(TORCH_INDEX)) -c requirements.lock $$(grep '^torch==' requirements.lock)
	$(INSTALL) --quiet --no-deps -r requirements.lock -e .
	-$(BIN)/python -m compileall -qq -j 0 -x '/tests/|/transformers/models/' $(VENV)/lib
	$(BIN)/python -c "import torch"
	$(BIN)/python -m pip check > $(VENV)/check || test -s $(VENV)/check
	grep -vxF -f envs/unmet.txt -e 'No broken requirements found.' $(VENV)/check; test $$? -eq 1
	touch $@

# Write the conda environments from the lock.
envs:
	python3 envs/generate.py

test: $(VENV)/ready
	pytest -n 2 --dist loadfile --no-loadscope-reorder

# The tests that take minutes: builds that are killed repeatedly, and large files.
test-long: $(VENV)/ready
	PQM_LONG=1 PQM_SLOW=1 pytest -s tests/workflow/test_interruptions.py tests/workflow/test_large_files.py tests/workflow/test_code.py tests/workflow/test_changes.py tests/unit/test_docs.py

# Measure speed and memory beside other software, and write the tables of docs/performance.md.
bench: $(VENV)/ready
	python benchmarks/suite.py

bench-load: $(VENV)/ready
	python benchmarks/suite.py load

# Needs torch and transformers only, so it also runs where nothing of this project is installed.
bench-gpu:
	$(if $(wildcard $(BIN)/python),$(BIN)/python,python3) benchmarks/suite.py gpu

# The checks that CI runs before the tests.
check: $(VENV)/ready
	ruff check
	ruff format --check
	snakefmt --check Snakefile workflow
	snakemake --lint
	mypy
	lint-imports

# Install what DVC needs for S3 and SSH remotes, and the S3 server for their test.
remotes: $(VENV)/ready
	$(BIN)/python -m pip install --quiet --no-deps -r requirements-remotes.lock

# After a pull, contents decide what is out of date. The check computes and remembers the digests of the files.
pull: $(VENV)/ready
	dvc pull config/$(STUDY)/dvc.yaml
	python -m pqm.provenance check $(STUDY)

push: $(VENV)/ready
	dvc push config/$(STUDY)/dvc.yaml

times: $(VENV)/ready
	pqm paper times results/$(STUDY)/benchmarks
