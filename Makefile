# Two commands do everything on a fresh Debian or Raspberry Pi OS (trixie, bookworm): `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SYSTEM_PACKAGES := build-essential pkg-config python3-dev python3-venv libasound2-dev libsystemd-dev libportaudio2 swig libsndfile1
# For the tests alone: a sound server that paces and xruns like a card, without one. python-rtmidi has no wheel for
# Python 3.13, and knows JACK only where it is compiled beside JACK's headers.
SYSTEM_PACKAGES += jackd2 libasound2-plugins libjack-jackd2-dev
# For `make appliance` alone: an emulator, and what builds an arm64 Debian for it.
APPLIANCE_PACKAGES := qemu-system-arm qemu-utils mmdebstrap e2fsprogs cpio kmod device-tree-compiler \
  gcc-aarch64-linux-gnu libc6-dev-arm64-cross make rsync openssh-client systemd xz-utils python3-venv
# What runs arm64 programs on another machine, and what tells its kernel.
EMULATION_PACKAGES := qemu-user-static arch-test systemd
# For `make deploy-test` alone: what builds and boots a Debian tree.
DEPLOY_PACKAGES := mmdebstrap systemd-container openssh-client ca-certificates iproute2 genimage mtools dosfstools e2fsprogs
# For `make bundle` alone: what compiles for a Pi, and signs.
BUNDLE_PACKAGES := gcc-aarch64-linux-gnu pkg-config swig openssh-client ca-certificates git
# For `make test-workshop` and `make faults` alone.
WORKSHOP_PACKAGES := fluidsynth timgm6mb-soundfont fluid-soundfont-gm espeak-ng alsa-utils
FAULTS_PACKAGES := stress-ng strace gcc
# For `make site` alone: what plays the examples' notes.
SITE_PACKAGES := fluidsynth fluid-soundfont-gm
# For `make report-test`, `make page-test` and `make site-test` alone: the browser.
REPORT_PACKAGES := chromium fonts-dejavu-core
# For `make wireless-test` alone: what runs another implementation of RTP-MIDI.
WIRELESS_PACKAGES := nodejs npm
# $(call install,PACKAGES): installs those that are missing, as root; ends with the line to type where that cannot be.
install = missing=""; for p in $(1); do \
	  dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'install ok installed' || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then \
	  if [ "$$(id -u)" = 0 ]; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; \
	  else echo "these system packages are missing; as root: apt-get install$$missing" >&2; exit 2; fi; fi
# Lets this kernel run arm64 programs. systemd does so where it boots; in a container nobody does.
BINFMT := /proc/sys/fs/binfmt_misc
emulate_arm64 = set -e; if [ "$$(uname -m)" != aarch64 ]; then $(call install,$(EMULATION_PACKAGES)); \
	  [ -e $(BINFMT)/register ] || mount -t binfmt_misc binfmt_misc $(BINFMT); \
	  [ -e $(BINFMT)/qemu-aarch64 ] || /usr/lib/systemd/systemd-binfmt /usr/lib/binfmt.d/qemu-aarch64.conf; fi
# A target that is asked for by name must run: where all its tests skip, or a part it needs is absent, it fails.
MUST_RUN := KELLY_MUST_RUN=1
SYSTEM_STAMP := $(VENV)/.system-packages
STAMP := $(VENV)/.installed
LOCK := requirements.lock

.PHONY: demo lint quick test coverage docs site site-test release faults wireless-test rehearse soak report-test page-test test-workshop bench appliance bundle wheel wheel-test deploy-test fuzz lock clean

demo: $(STAMP)
	$(BIN)/kelly-edge demo --out out/demo

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@if $(BIN)/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then echo $(BIN)/mypy; $(BIN)/mypy; \
	else echo "types are checked with Python 3.11 alone, against the locked libraries"; fi
	$(BIN)/lint-imports

# Under a minute once it is installed: what most changes break first.
quick: lint
	$(BIN)/python -m pytest -q -m "not slow and not faults" tests/signal tests/music tests/systemd tests/test_config.py \
	  tests/board/test_channels.py tests/test_contracts.py tests/test_tests.py

# T: only these tests, for instance T=tests/music. JOBS: how many files at a time; 0 keeps them in one process, for a debugger.
JOBS ?= auto
test: lint
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(T)

coverage: $(STAMP)
	$(BIN)/pip install --quiet coverage
	$(BIN)/coverage run --source kelly_edge,firmware_py,models,deploy -m pytest $(T)
	$(BIN)/coverage report --sort cover

# The documentation site, in out/site/. Fails on a dead link or a broken docstring.
docs: $(STAMP)
	$(BIN)/pip install --quiet -e '.[docs]'
	$(BIN)/sphinx-build -q -W --keep-going -b html docs out/site

# The same with five examples to hear, in minutes; sounds that these models and this code made before are kept.
site: $(STAMP)
	@$(call install,$(SITE_PACKAGES))
	$(BIN)/pip install --quiet -e '.[docs,report]'
	$(BIN)/python -m models.site.render
	rm -rf out/site
	$(BIN)/sphinx-build -q -W --keep-going -E -b html docs out/site

# Its links, and each of its sounds in a browser.
site-test: site
	@$(call install,$(REPORT_PACKAGES))
	$(MUST_RUN) $(BIN)/python -m pytest $(or $(T),tests/site) -rsP

# VERSION: the next one. Sets it, dates the changelog's first section, commits and tags; nothing is pushed.
release:
	@echo "$(VERSION)" | grep -Eq '^[0-9]+\.[0-9]+\.[0-9]+$$' || { echo "give VERSION=major.minor.patch" >&2; exit 2; }
	@git diff --quiet HEAD || { echo "commit or put away your changes first" >&2; exit 2; }
	@grep -q '^## Unreleased' CHANGELOG.md || { echo "CHANGELOG.md has no section Unreleased" >&2; exit 2; }
	sed -i 's/^version = .*/version = "$(VERSION)"/' pyproject.toml
	sed -i "s/^## Unreleased.*/## $(VERSION) ($$(date +%F))/" CHANGELOG.md
	git commit -q -a -m "Release $(VERSION)" && git tag -a "v$(VERSION)" -m "Kelly Edge $(VERSION)"

# The same tests with the training packages there, so that none is skipped for want of them.
test-workshop: $(STAMP)
	@$(call install,$(WORKSHOP_PACKAGES))
	$(BIN)/pip install --quiet torch==2.13.0 scikit-learn onnx
	$(MUST_RUN) $(BIN)/python -m pytest $(or $(T),tests/models)

# The report of a session as a browser shows and prints it.
report-test: $(STAMP)
	@$(call install,$(REPORT_PACKAGES))
	$(MUST_RUN) $(BIN)/python -m pytest $(or $(T),tests/report) -rsP

# The page in a browser against the live processes, 1,000 malformed requests to it, and what watching it costs the sound:
# about eight minutes. T: other tests.
page-test: $(STAMP)
	@$(call install,$(REPORT_PACKAGES))
	$(MUST_RUN) $(BIN)/python -m pytest $(or $(T),tests/page) -m "browser or not faults" -rsP

# RTP-MIDI against implementations of others, installed beside the tests: npm's rtpmidi and PyPI's pymidi; two minutes.
NODE_MODULES := $(VENV)/node
wireless-test: $(STAMP)
	@command -v npm >/dev/null && command -v node >/dev/null || { $(call install,$(WIRELESS_PACKAGES)); }
	$(BIN)/pip install --quiet pymidi==0.5.0
	npm install --silent --no-audit --no-fund --omit=optional --ignore-scripts --prefix $(NODE_MODULES) rtpmidi@1.0.0
	NODE_PATH=$(abspath $(NODE_MODULES))/node_modules $(MUST_RUN) \
	  $(BIN)/python -m pytest $(or $(T),tests/live/test_wireless.py tests/devices/test_wireless.py) -m "faults or not faults" -s

# What every stage costs here, beside float TensorFlow Lite, onnxruntime and numpy, in one run.
bench: $(STAMP)
	$(BIN)/pip install --quiet onnx
	$(BIN)/python -m models.bench

# The whole box, emulated: kernel, sound card, USB, pins and units. The first build takes minutes, later ones a cache.
# Needs root, and fails where the box cannot be built or run. CUTS: how often the plug is pulled; T: other tests.
CUTS ?= 2
appliance: $(STAMP)
	@$(call install,$(APPLIANCE_PACKAGES) $(BUNDLE_PACKAGES))
	@$(emulate_arm64)
	$(MUST_RUN) KELLY_APPLIANCE=1 KELLY_POWER_CUTS=$(CUTS) $(BIN)/python -m pytest $(or $(T),tests/appliance) -rsP

# A signed release for Raspberry Pis in out/bundle/; the key is made once (docs/deploy.md). BOX_PYTHON: 3.13 (trixie) or 3.11 (bookworm).
BOX_PYTHON ?= 3.13
bundle: $(STAMP)
	@$(call install,$(BUNDLE_PACKAGES))
	$(BIN)/python -m deploy build --python $(BOX_PYTHON) --out out/bundle

# The last commit's wheel in out/wheel/: the same bytes each time.
wheel: $(STAMP)
	$(BIN)/python -m deploy wheel --out out/wheel

# The wheel in fresh environments, with no compiler in PATH: `kelly-edge demo` must play. Downloads 200 MB for each Python.
# PYTHONS: interpreters; BESIDE: packages to install beside it for comparison, e.g. BESIDE=impsy (docs/install.md).
PYTHONS ?= $(shell command -v python3.11 python3.12 python3.13)
wheel-test: wheel
	$(BIN)/python tests/install/wheel_install.py $$(ls -t out/wheel/*.whl | head -1) $(PYTHONS) $(addprefix --beside=,$(BESIDE))

# Real boxes over real SSH: Debian trees under systemd-nspawn. Needs root. SUITE: trixie or bookworm. ARCH: amd64, or arm64,
# which is emulated elsewhere.
SUITE ?= trixie
ARCH ?= $(shell dpkg --print-architecture)
EMULATED = $(if $(filter arm64,$(ARCH)),$(emulate_arm64))
TREE := $(HOME)/.cache/kelly-edge-deploy/tree-$(SUITE)-$(ARCH)
SOUND_bookworm := libasound2
SOUND_trixie := libasound2t64,libjack-jackd2-0
TREE_PACKAGES := systemd,systemd-sysv,dbus,udev,adduser,python3,openssh-server,libportaudio2,procps,$(SOUND_$(SUITE))
deploy-test: $(STAMP) $(TREE)
	@$(call install,$(DEPLOY_PACKAGES))
	@$(EMULATED)
	$(BIN)/pip install --quiet --require-hashes -r requirements-deploy.lock
	$(MUST_RUN) KELLY_DEPLOY_TREE=$(TREE) $(BIN)/python -m pytest $(or $(T),tests/deploy) -rsP

$(TREE):
	@$(call install,$(DEPLOY_PACKAGES))
	@$(EMULATED)
	@mkdir -p $(@D) && rm -rf $@.new
	mmdebstrap --quiet --format=directory --variant=minbase --architectures=$(ARCH) --dpkgopt=force-unsafe-io \
	  --aptopt='Apt::Install-Recommends "false"' --include=$(TREE_PACKAGES) $(SUITE) $@.new && mv $@.new $@

# 100,000 damaged manifests, indexes and layers through the verifier. N: another number.
N ?= 100000
fuzz: $(STAMP)
	$(BIN)/python -m deploy.fuzz $(N)

# On the Makefile, so that a package added to the list is installed where others are already.
$(SYSTEM_STAMP): Makefile
	@$(call install,$(SYSTEM_PACKAGES))
	@# From trixie on JACK's tools are a package of their own.
	@command -v jack_lsp > /dev/null || { $(call install,jack-example-tools); }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@touch $@

# The lock is for Python 3.11; a later Python resolves for itself. PYPI=1: lgpio, which has no wheel after 3.11, is
# compiled with the C library in its own source, as Debian has no package of it.
$(STAMP): pyproject.toml $(LOCK) | $(SYSTEM_STAMP)
	$(BIN)/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
	  && $(BIN)/pip install --quiet --require-hashes -r $(LOCK) \
	  || $(BIN)/python -c 'import sys; sys.exit(sys.version_info[:2] == (3, 11))'
	PYPI=1 $(BIN)/pip install --quiet -e '.[box,page,test]'
	@touch $@

# Needs pip-tools; the lock is for Python 3.11, on any machine its wheels exist for. The second one is what a box with
# Python 3.13 is given (uv does not see that backports-strenum 1.3 refuses that Python), the third what the courier needs
# on a laptop, and nothing else: releases are signed there.
lock:
	$(BIN)/pip install --quiet pip-tools
	$(BIN)/pip-compile --quiet --extra box --extra page --extra test --generate-hashes --no-emit-index-url --no-emit-trusted-host \
	  --no-annotate --strip-extras --allow-unsafe --no-emit-find-links --no-header --output-file $(LOCK) pyproject.toml
	$(BIN)/pip install --quiet uv
	echo 'backports-strenum<1.3' | $(BIN)/uv pip compile --quiet --python-version 3.13 \
	  --python-platform aarch64-unknown-linux-gnu --constraints - --generate-hashes --no-annotate --no-header \
	  --no-emit-index-url --no-emit-find-links --extra box --extra page --output-file requirements-3.13.lock pyproject.toml
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["deploy"], sep="\n")' \
	  | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
	  --no-emit-index-url --no-emit-find-links --output-file requirements-deploy.lock -

# Faults and figures of the live box, about eight minutes.
faults: $(STAMP)
	@$(call install,$(FAULTS_PACKAGES))
	$(MUST_RUN) $(BIN)/python -m pytest $(or $(T),tests/live tests/devices --ignore=tests/live/test_wireless.py) -m faults -s

# What the live box measures: its notes against the offline ones, send errors, memory; xruns beside stress-ng.
rehearse: $(STAMP)
	PYTHONPATH=. $(BIN)/python tests/live/rehearse.py recording 60
	PYTHONPATH=. $(BIN)/python tests/live/rehearse.py start 60
	PYTHONPATH=. $(BIN)/python tests/live/rehearse.py stress 60

# The live box for MINUTES: memory and descriptors of every process.
MINUTES ?= 30
soak: $(STAMP)
	PYTHONPATH=. $(BIN)/python tests/live/soak.py $(MINUTES)

clean:
	rm -rf $(VENV) out build *.egg-info
