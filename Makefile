# make reproduce   virtual environment, then every experiment in a profile, then results/REPORT.md
#                  (what measures times alone on the machine, the others on all cores)
# make report      verdicts, figures and report again from what is stored; measures nothing
# make test        the tests;  make lint  ruff and mypy;  make venv  the virtual environment alone

PYTHON  ?= python3
PROFILE ?= quick
RESULTS ?= results
LAUNCHER ?= joblib

BIN := .venv/bin
EXPERIMENTS ?= $(basename $(notdir $(wildcard conf/experiment/*.yaml)))

.PHONY: reproduce report test lint venv
venv: .venv/installed

.venv/installed: pyproject.toml .ci/venv
	bash .ci/venv $(PYTHON)
	touch $@

reproduce: venv
	@failed=0; for experiment in $(EXPERIMENTS); do \
		launcher=$(LAUNCHER); \
		case $$experiment in benchmark|storage) launcher=basic;; esac; \
		$(BIN)/harness -m experiment=$$experiment profile=$(PROFILE) results=$(RESULTS) \
			hydra/launcher=$$launcher || { code=$$?; [ $$code -eq 130 ] && exit $$code; failed=1; }; \
	done; \
	echo "the report is in $(RESULTS)/REPORT.md"; exit $$failed

report: venv
	$(BIN)/harness report results=$(RESULTS)

test: venv
	$(BIN)/python -m pytest

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
