# Two commands for a newcomer: `make rollouts` and `make test`. Both install what they need into .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help rollouts test check format docs bench bench-vllm soak test-vllm clean

help:  ## print this
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1: \2/p' Makefile | awk -F ': ' '{ printf "%-16s %s\n", $$1, substr($$0, length($$1) + 3) }'

rollouts: $(INSTALLED)  ## play the quickstart: two environments against the simulated engine
	@for environment in simple_weather gsm8k; do \
	  $(BIN)/ng_collect_rollouts "+config_paths=[configs/quickstart.yaml]" \
	    +agent_name=$${environment}_simple_agent \
	    +input_jsonl_fpath=resources_servers/$$environment/data/example.jsonl \
	    +output_jsonl_fpath=results/$$environment.jsonl || exit $$?; \
	done
	@echo "look at one: head -n 1 results/gsm8k.jsonl | $(BIN)/python -m json.tool"

test: $(INSTALLED)  ## lint, types and every test that needs neither a GPU nor vLLM
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

check: $(INSTALLED)  ## lint and types only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED)  ## mend what ruff can mend, and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(INSTALLED)  ## write docs/reference from the code
	$(BIN)/python docs/generate_reference.py

bench: $(INSTALLED)  ## CPU per rollout beside a bare client loop, memory by rows, time to ready
	$(BIN)/python -m benchmarks.run

bench-vllm: $(INSTALLED)  ## every way to a real engine with a tiny model on the CPU, after make test-vllm (5 minutes)
	@test -x .venv-vllm/bin/vllm || { echo "make test-vllm installs vLLM first"; exit 1; }
	$(BIN)/python -m benchmarks.gpu.run --python .venv-vllm/bin/python --shape tiny --in-flight 2 8 --waves 16 \
	  --prompt-tokens 60 --output-tokens 16 --prefix-tokens 300 --prefix-in-flight 8 --out results/gpu.json

soak: $(INSTALLED)  ## load, dying endpoints, kills and a million rows, with a report in results/soak (45 minutes)
	$(BIN)/python -m pip install --quiet --editable ".[soak]"
	$(BIN)/python -m benchmarks.soak.run

test-vllm: $(INSTALLED)  ## install real vLLM into .venv-vllm, make a tiny model, run the environments against two servers
	tests/vllm/run.sh

$(INSTALLED): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	@touch $@

clean:  ## remove .venv, .venv-vllm and results
	rm -rf $(VENV) .venv-vllm results
