# make reproduce   virtual environment, then every experiment in a profile, then results/REPORT.md
#                  and the same as one page, results/report.html
#                  (what measures times alone on the machine, the others on all cores)
# make extra       what the MNIST part needs besides (PyTorch, digits);  make mnist  its experiments
# make report      verdicts, figures and report again from what is stored; measures nothing
# make readme      the same, and the table of claims in README.md
# make test        all tests, on all cores;  make test-fast  those that are not marked slow
# make lint        ruff and mypy;  make venv  the virtual environment alone

PYTHON  ?= python3
PROFILE ?= quick
RESULTS ?= results
LAUNCHER ?= joblib

BIN := .venv/bin
EXPERIMENTS ?= $(basename $(notdir $(wildcard conf/experiment/*.yaml)))
NEED_EXTRA := generators mnist trained_prior

.PHONY: reproduce mnist report readme test test-fast lint venv extra
venv: .venv/installed
extra: .venv/extra

.venv/installed: pyproject.toml .ci/venv
	bash .ci/venv $(PYTHON)
	touch $@

.venv/extra: .venv/installed
	$(BIN)/python -m pip install --quiet --editable '.[mnist]'
	touch $@

reproduce: venv
	@failed=0; for experiment in $(EXPERIMENTS); do \
		case " $(NEED_EXTRA) " in *" $$experiment "*) \
			$(BIN)/python -c 'import mlxtend, PIL, skimage, torch' 2>/dev/null || \
			{ echo "$$experiment: left out, it needs \`make extra\`"; continue; };; \
		esac; \
		launcher=$(LAUNCHER); \
		case $$experiment in benchmark|storage) launcher=basic;; esac; \
		$(BIN)/harness -m experiment=$$experiment profile=$(PROFILE) results=$(RESULTS) \
			hydra/launcher=$$launcher || { code=$$?; [ $$code -eq 130 ] && exit $$code; failed=1; }; \
	done; \
	echo "the report is in $(RESULTS)/REPORT.md"; exit $$failed

mnist: extra
	$(MAKE) reproduce EXPERIMENTS="generators mnist trained_prior"

report: venv
	$(BIN)/harness report results=$(RESULTS)

readme: venv
	$(BIN)/harness report results=$(RESULTS) readme=README.md

# A module runs in one process, so that its tests share what they prepare.
PYTEST := $(BIN)/python -m pytest --numprocesses auto --dist loadfile

test: venv
	$(PYTEST)

test-fast: venv
	$(PYTEST) -m "not slow"

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
