# Every target sets up .venv first, by itself, from the exactly pinned requirements.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SNAKEMAKE := $(BIN)/snakemake
# With these of the caller's shell, its packages would come before those of .venv, or a script would not find its own.
unexport PYTHONPATH PYTHONSAFEPATH

.DEFAULT_GOAL := figures
.PHONY: figures smoke test test-cluster quick benchmark verify verify-update faults report claims-in-docs docs rulegraph format

# The main job: config/config.yaml -> results/ and results/report.html.
figures: $(VENV)/installed
	$(SNAKEMAKE) --cores all --configfile config/config.yaml
	@$(MAKE) --no-print-directory report

# The same workflow on config/smoke.yaml, which has every feature at a size that takes seconds.
smoke: $(VENV)/installed
	$(SNAKEMAKE) --cores all --configfile config/smoke.yaml
	@$(MAKE) --no-print-directory report CONFIG=config/smoke.yaml

# Snakemake's own report of the claims and figures, made again if one of them or a caption is newer. The last line
# says how many claims hold.
CONFIG := config/config.yaml
report: $(VENV)/installed
	@results="$$($(BIN)/python -c 'import sys, yaml; print(yaml.safe_load(open(sys.argv[1])).get("results_dir", "results"))' $(CONFIG))"; \
	if [ ! -e "$$results/report.html" ] || [ $(CONFIG) -nt "$$results/report.html" ] || \
	    [ -n "$$(find "$$results" report -newer "$$results/report.html" \( -name '*.png' -o -name '*.rst' -o -name claims.html \))" ]; then \
	    $(SNAKEMAKE) --configfile $(CONFIG) --report "$$results/report.html" || exit 1; \
	fi; \
	if grep -q '^claims:' $(CONFIG); then tail -n 1 "$$results/claims.md"; fi

# The numbers of the claims in README.md and docs/, and the picture, from the results of `make figures`.
claims-in-docs: $(VENV)/installed
	$(BIN)/python workflow/scripts/claims_in_docs.py

# Every test, in one process per core. A module's tests run in one process, so that what they share is made once.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto
BY_MODULE := --dist loadscope --no-loadscope-reorder
test: $(VENV)/installed
	$(PYTEST) $(BY_MODULE)

# The workflow on a SLURM of two nodes, which is started on this machine, with all that can go wrong there. Root on
# Debian or Ubuntu may do so; elsewhere it says why it does not.
test-cluster: $(VENV)/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -rs tests/cluster

# The tests that neither start Snakemake nor train for more than a second.
quick: $(VENV)/installed
	$(PYTEST) $(BY_MODULE) -m "not slow"

# config/smoke.yaml anew in a scratch folder, every file compared with tests/verified.json.
verify: $(VENV)/installed
	$(BIN)/python workflow/scripts/verify.py

verify-update: $(VENV)/installed
	$(BIN)/python workflow/scripts/verify.py --update

# Real jobs are killed at KILLS random moments and at chosen ones; their results are compared byte for byte.
KILLS := 100
faults: $(VENV)/installed
	KILLS=$(KILLS) $(PYTEST) --dist loadgroup tests/faults

# Measures what the repository claims to be fast: results/benchmarks.csv.
benchmark: $(VENV)/installed
	$(BIN)/python benchmarks/run.py

# config/schema.json and config/README.md, from the types in settings.py and shape.py of memorization/configuration/.
docs: $(VENV)/installed
	$(BIN)/python workflow/scripts/document_settings.py

# docs/rulegraph.svg, the rules of one experiment as Snakemake draws them. Needs Graphviz (`dot`).
rulegraph: $(VENV)/installed
	$(SNAKEMAKE) --forceall dam_memory --rulegraph | dot -Tsvg -o docs/rulegraph.svg

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile rules

$(VENV)/installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "$(PYTHON) is not Python 3.11 or newer; name one: make PYTHON=python3.11 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements.txt
	@touch $@
