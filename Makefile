# make reproduce   virtual environment, every experiment in a profile, on all cores, then
#                  results/REPORT.md and the same as one page, results/report.html
# make software    the experiments that measure the harness itself, alone on the machine
# make extra       installs the packages of the MNIST part (PyTorch, digits) and of the convex rivals
# make mnist       the experiments of the MNIST part
# make confirm    the same sweeps on the fresh seeds of their designs, into results/confirmation,
#                  then the report with both
# make report      verdicts, figures and report again from stored results; measures nothing
# make readme      the same, and the findings in README.md and docs/findings.md
# make test        all tests, on all cores;  make test-fast  those that are not marked slow;
# make test-extra  only those that need `make extra`
# make docs        the site, docs/_build/index.html, with a page for each claim
# make lint        ruff and mypy;  make venv  the virtual environment alone

PYTHON  ?= python3
PROFILE ?= quick
RESULTS ?= results
LAUNCHER ?= joblib

BIN := .venv/bin
SOFTWARE := benchmark storage
ALL := $(basename $(notdir $(wildcard conf/experiment/*.yaml)))
EXPERIMENTS ?= $(filter-out $(SOFTWARE),$(ALL))
NEED_EXTRA := generators mnist prior_representation trained_prior

.PHONY: reproduce confirm software mnist report readme test test-fast test-extra docs lint venv extra
venv: .venv/installed
extra: .venv/extra

.venv/installed: pyproject.toml .ci/venv
	bash .ci/venv $(PYTHON)
	touch $@

.venv/extra: .venv/installed
	$(BIN)/python -m pip install --quiet --editable '.[mnist,priors]'
	touch $@

reproduce: venv
	@failed=0; for experiment in $(EXPERIMENTS); do \
		case " $(NEED_EXTRA) " in *" $$experiment "*) \
			$(BIN)/python -c 'import mlxtend, PIL, skimage, torch' 2>/dev/null || \
			{ echo "$$experiment: skipped, it needs \`make extra\`"; continue; };; \
		esac; \
		$(BIN)/harness -m experiment=$$experiment profile=$(PROFILE) results=$(RESULTS) \
			hydra/launcher=$(LAUNCHER) $(if $(FRESH),'seed=$${design.fresh_seed}') || { code=$$?; [ $$code -eq 130 ] && exit $$code; failed=1; }; \
	done; \
	$(BIN)/harness findings results=$(RESULTS); \
	echo "the report is in $(RESULTS)/REPORT.md"; exit $$failed

confirm: venv
	$(MAKE) reproduce RESULTS=$(RESULTS)/confirmation FRESH=1
	$(MAKE) report

software: venv
	$(MAKE) reproduce EXPERIMENTS="$(SOFTWARE)" LAUNCHER=basic

mnist: extra
	$(MAKE) reproduce EXPERIMENTS="$(NEED_EXTRA)"

report: venv
	$(BIN)/harness report results=$(RESULTS)

readme: venv
	$(BIN)/harness report results=$(RESULTS) readme=README.md,docs/findings.md

# A module runs in one process, so that its tests share what they prepare.
PYTEST := $(BIN)/python -m pytest --numprocesses auto --dist loadfile

test: venv
	$(PYTEST)

test-fast: venv
	$(PYTEST) -m "not slow"

test-extra: extra
	$(PYTEST) -k "mnist or generators or prior or checkpoint"

docs: venv
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
