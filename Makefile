# What a user types: `make tables`, `make figures`, `make test`; `make pull` instead of building.
# Of the study that params.yaml names, or of another: `make STUDY=tiny tables`.
STUDY := $(shell sed -n 's/^study: *//p' params.yaml)
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: tables figures all envs test test-long check remotes pull push times

tables figures: $(VENV)/ready
	snakemake --cores all --config study=$(STUDY) -- results/$@

all: $(VENV)/ready
	snakemake --cores all --config study=$(STUDY) -- all

# torch first and with its dependencies: from PyPI it brings the CUDA libraries, which the lock does not hold. TORCH_INDEX is one more index,
# not the only one, so that the dependencies are still found; its build wins, since to pip 2.x+cpu is newer than 2.x.
# Then the lock, which is whole without dependencies. Compiled on all cores at once, which pip does not.
$(VENV)/ready: requirements.lock pyproject.toml
	python3 -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile $(addprefix --extra-index-url ,$(TORCH_INDEX)) -c requirements.lock $$(grep '^torch==' requirements.lock)
	$(BIN)/python -m pip install --quiet --no-compile --no-deps -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps -e .
	-$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib
	$(BIN)/python -c "import torch"
	$(BIN)/python -m pip check > $(VENV)/check || test -s $(VENV)/check
	grep -vxF -f envs/unmet.txt -e 'No broken requirements found.' $(VENV)/check; test $$? -eq 1
	touch $@

# The conda environments, from the lock.
envs:
	python3 envs/generate.py

test: $(VENV)/ready
	pytest -n 2 --dist loadfile --no-loadscope-reorder

# What takes minutes: builds that are killed again and again, large files.
test-long: $(VENV)/ready
	PQM_LONG=1 PQM_SLOW=1 pytest -s tests/workflow/test_interruptions.py tests/workflow/test_large_files.py tests/unit/test_docs.py

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

# Nothing else is to be done after a pull: what is out of date is found by contents. The check remembers the files' digests.
pull: $(VENV)/ready
	dvc pull config/$(STUDY)/dvc.yaml
	python -m pqm.provenance check $(STUDY)

push: $(VENV)/ready
	dvc push config/$(STUDY)/dvc.yaml

times: $(VENV)/ready
	pqm paper times results/$(STUDY)/benchmarks
