#!/usr/bin/env bash
# Our environments against two real vLLM servers on this machine's CPU: installs vLLM, makes a tiny model, runs the tests.
#
#   tests/vllm/run.sh [ARGUMENTS OF PYTEST]
#
# VLLM_VENV   where vLLM is installed (default .venv-vllm, 1.9 GB); kept, and brought up to date when requirements.txt changes
set -euo pipefail
cd "$(dirname "$0")/../.."

here=tests/vllm
python=.venv/bin/python
export VLLM_VENV="${VLLM_VENV:-.venv-vllm}"
unset PYTHONDONTWRITEBYTECODE  # without its bytecode, vLLM takes a minute longer to start

log="$VLLM_VENV/install.log"
stamp="$VLLM_VENV/installed"

fresh() {  # whether what $1 says was made from what $2... hold now
  local made="$1"
  shift
  [ -f "$made" ] && [ "$(cat "$made")" = "$(cat "$@" | sha256sum)" ]
}

install() {
  "$python" -m venv "$VLLM_VENV"
  # --no-compile: of 16,000 modules a few thousand are ever imported, and those are compiled then
  echo "installing vLLM into $VLLM_VENV (1.9 GB, a few minutes); $log tells how it goes"
  if ! "$VLLM_VENV/bin/pip" install --no-compile --no-deps --requirement "$here/requirements.txt" >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    echo "error: vLLM could not be installed; the whole log is in $log" >&2
    echo "hint: torch+cpu is on PyTorch's own index; if pip does not know it, name it in PIP_EXTRA_INDEX_URL" >&2
    exit 1
  fi
  "$VLLM_VENV/bin/python" "$here/name_the_distribution.py"
  cat "$here/requirements.txt" | sha256sum >"$stamp"
}

make_model() {
  echo "making a tiny model"
  rm -rf "$VLLM_VENV/tiny-model"
  if ! "$VLLM_VENV/bin/python" "$here/make_tiny_model.py" "$VLLM_VENV/tiny-model" >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    exit 1
  fi
  cat "$here/make_tiny_model.py" "$here/chat_template.jinja" | sha256sum >"$VLLM_VENV/tiny-model/made"
}

began=$SECONDS
fresh "$stamp" "$here/requirements.txt" || install
fresh "$VLLM_VENV/tiny-model/made" "$here/make_tiny_model.py" "$here/chat_template.jinja" || make_model
echo "vLLM and a model are there after $((SECONDS - began)) s; two servers start now"
exec "$python" -m pytest "$here" -m vllm --durations=0 --durations-min=1 "$@"
