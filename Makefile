# `make` alone lists all commands.
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run test check lint dist audit audit-refresh soak bench bench-full structure structure-live lock setup setup-dev setup-programs

VENV := .venv
BIN := $(VENV)/bin

# The first Python that is new enough and can make virtual environments; looked for only when it is needed.
# The one that the locked requirements were made with comes first.
PYTHONS := python3.11 python3.12 python3.13 python3.14 python3 python
PYTHON = $(shell for name in $(PYTHONS); do \
	"$$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$name" && break; done)
NO_PYTHON = No Python 3.11 or newer that can make virtual environments was found. Install it; on Debian: apt-get install python3.11-venv
INSTALL = @python="$(PYTHON)"; test -n "$$python" || { echo "$(NO_PYTHON)" >&2; exit 1; }; "$$python" webapp/launcher/bootstrap.py

help: ## List all commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-16s%s\n", $$1, $$2 }' Makefile

run: setup ## Run everything: web, worker, beat, recorder and what they need. Stop with Ctrl-C
	@exec $(BIN)/python -m webapp.launcher

# Tests start many processes; without its compiled files each would compile the project anew.
unexport PYTHONDONTWRITEBYTECODE

# More at a time than there are processors: each waits for servers and processes of its own for a good part of its time.
PYTEST := $(BIN)/python -m pytest -q
# Few and long: one at a time, in their order.
ONE_BY_ONE := --dist load --maxschedchunk 1
# Their workers and beats are copies of a process that has imported the project: a second of CPU less for each of about
# seventy. Without this, as when pytest is called directly, each starts as users start it.
COPIES := PRELOADED=1

# What takes seconds comes first, so that a mistake shows early; the type checker keeps one processor busy, so the quick tests
# run beside it. The last two wait more than they work, so they run together; apart from each other, because Playwright keeps
# an event loop running in its process.
test: setup-dev setup-programs lint ## Run all checks and tests
	@mkdir -p .cache; $(BIN)/mypy >.cache/mypy.log 2>&1 & mypy=$$!; \
	$(PYTEST) --dist worksteal --numprocesses 3 -m "not slow and not browser"; quick=$$?; \
	wait $$mypy; mypy=$$?; cat .cache/mypy.log; exit $$((quick + mypy))
	@$(PYTEST) $(ONE_BY_ONE) --numprocesses 2 -m browser >.cache/browser-tests.log 2>&1 & browser=$$!; \
	$(COPIES) $(PYTEST) $(ONE_BY_ONE) --numprocesses 3 -m "slow and not browser"; slow=$$?; \
	wait $$browser; browser=$$?; cat .cache/browser-tests.log; exit $$((slow + browser))

check: lint ## Run the linters and the type checker only
	@$(BIN)/mypy

lint: setup-dev
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/lint-imports
	@$(BIN)/djlint webapp/templates --check --lint --quiet

# Each wheel is built from its own sdist, so that both are complete.
dist: setup-dev ## Build the two distributions, beatdesk and beatdesk-server, into dist/
	@rm -rf dist
	@for folder in beatdesk .; do $(BIN)/python -m build --outdir dist $$folder >dist.log 2>&1 || { cat dist.log; exit 1; }; done
	@rm -f dist.log; ls dist

audit: setup-dev ## Check locked packages and vendored scripts for known advisories, and the code for serious flaws
	@$(BIN)/bandit --quiet -lll --recursive beatdesk webapp migrations requirements wsgi.py
	@$(BIN)/python requirements/audit.py

audit-refresh: setup-dev ## Refresh the advisories; lists what could not be checked
	@$(BIN)/python requirements/audit.py --refresh

soak: setup-dev ## Run the reliability tests in full, each result next to its target (two hours)
	@$(BIN)/python -m tests.soak

bench: setup-dev ## Benchmark beat against other schedulers, tasks and the recorder (about six minutes)
	@$(BIN)/python -m bench

bench-full: setup-dev ## Benchmark with up to 100,000 schedules (about 30 minutes)
	@$(BIN)/python -m bench --full

structure: setup-dev ## Print figures of the code structure, each next to its target
	@$(BIN)/python -m bench.structure

structure-live: setup-dev ## Print the modules that a saved edit and a launched run enter
	@$(BIN)/python -m bench.structure_live

# Pins and hashes only: no index's address, no folder of this machine. `make lock UPGRADE=--upgrade` takes newer versions.
COMPILE = CUSTOM_COMPILE_COMMAND="make lock" ../$(BIN)/pip-compile --quiet --strip-extras \
	--generate-hashes --allow-unsafe --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options $(UPGRADE)
lock: setup-dev ## Update the locked requirements, with hashes, from requirements/*.in
	@cd tests/adoption && $(subst ../,../../,$(COMPILE)) --output-file requirements-flower.lock requirements-flower.in
	@cd requirements && $(COMPILE) --output-file base.lock base.in
	@cd requirements && $(COMPILE) --output-file dev.lock dev.in
	@cd bench && for name in celery sacb djcb redbeat; do \
		$(COMPILE) --output-file requirements-$$name.lock requirements-$$name.in || exit 1; done
	@cd tests/adoption && for name in celery54 celery57; do \
		$(subst ../,../../,$(COMPILE)) --output-file requirements-$$name.lock requirements-$$name.in || exit 1; done

setup:
	$(INSTALL) base

setup-dev:
	$(INSTALL) dev

setup-programs:
	$(INSTALL) programs
