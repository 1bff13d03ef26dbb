# Two commands do everything on a fresh Debian 12 or Raspberry Pi OS bookworm: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SYSTEM_PACKAGES := build-essential pkg-config python3-dev python3-venv libasound2-dev libsystemd-dev libportaudio2 libsndfile1
# For the tests alone: a sound server that paces and xruns like a card, without one.
SYSTEM_PACKAGES += jackd2 libasound2-plugins
SYSTEM_STAMP := $(VENV)/.system-packages
STAMP := $(VENV)/.installed
LOCK := requirements.lock

.PHONY: demo test test-workshop lint lock clean

demo: $(STAMP)
	$(BIN)/kelly-edge demo --out out/demo

test: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest

# The same tests with the training packages there, so that none is skipped for want of them.
test-workshop: $(STAMP)
	$(BIN)/pip install --quiet torch==2.13.0 scikit-learn onnx
	$(BIN)/python -m pytest tests/models

$(SYSTEM_STAMP):
	@missing=""; for p in $(SYSTEM_PACKAGES); do \
	  dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'install ok installed' || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then \
	  if [ "$$(id -u)" = 0 ]; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; \
	  else echo "these system packages are missing; as root: apt-get install$$missing" >&2; exit 2; fi; fi
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@touch $@

# The lock is for Python 3.11; a later Python resolves for itself.
$(STAMP): pyproject.toml $(LOCK) | $(SYSTEM_STAMP)
	$(BIN)/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
	  && $(BIN)/pip install --quiet --require-hashes -r $(LOCK) \
	  || $(BIN)/python -c 'import sys; sys.exit(sys.version_info[:2] == (3, 11))'
	$(BIN)/pip install --quiet -e '.[test]'
	@touch $@

# Needs pip-tools; the lock is for Python 3.11, on any machine its wheels exist for.
lock:
	$(BIN)/pip install --quiet pip-tools
	$(BIN)/pip-compile --quiet --extra test --generate-hashes --no-emit-index-url --no-emit-trusted-host \
	  --no-annotate --strip-extras --allow-unsafe --no-emit-find-links --no-header --output-file $(LOCK) pyproject.toml

clean:
	rm -rf $(VENV) out build *.egg-info
