PYTHON ?= python3
PORT ?= 7860
JOBS ?= 2
DOCS ?=

VENV := .venv
BIN := $(VENV)/bin
PINS := pyproject.toml constraints.txt
PIP := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt

# Documents of one's own and the sample each have a knowledge base beside the code.
ifeq ($(strip $(DOCS)),)
CHAT_DOCS := samples/compilation.messy.txt
CHAT_KB := .youju/sample
else
CHAT_DOCS := $(DOCS)
CHAT_KB := .youju/docs
endif

.PHONY: help setup chat test clean

help:
	@echo "make setup                          install into $(VENV) and prepare the model"
	@echo "make chat [DOCS=path…] [PORT=7860]  ingest DOCS (or the sample) and serve the chat"
	@echo "make test                           lint, types and the whole suite"
	@echo "make clean                          remove what these made"

# Where YOUJU_MODEL names another model, the default one is not needed.
setup: $(VENV)/.installed
	@if [ -z "$$YOUJU_MODEL" ]; then $(BIN)/youju prepare; fi

chat: setup
	$(BIN)/youju ingest $(CHAT_DOCS) --kb $(CHAT_KB)
	$(BIN)/youju serve --kb $(CHAT_KB) --port $(PORT)

# Each of JOBS processes runs whole files, with one thread for arithmetic: more would wait for each other.
test: setup $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/oxlint --deny-warnings ui eval
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

clean:
	rm -rf $(VENV) .youju build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/.installed: $(PINS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "有据需要 Python 3.11 或更新 (Python >= 3.11 is needed): make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; \
	  exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) -e .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(PIP) -e '.[test]'
	@touch $@
