.DEFAULT_GOAL := help
.PHONY: help demo test test-setup models models-clean bench bench-opencv lint lint-deploy format

CARGO ?= cargo
PYTHON ?= python3
export PYTHONDONTWRITEBYTECODE = 1

help: ## show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: models ## run a server and learners, honest and not, and watch the verdicts arrive
	$(CARGO) run --locked -- demo

test: models test-setup ## run all tests
	@if $(CARGO) nextest --version > /dev/null 2>&1; then \
		$(CARGO) nextest run --locked; \
	else \
		echo "cargo-nextest is not installed; using cargo test"; $(CARGO) test --locked; \
	fi

test-setup: ## install what the tests need besides Rust
	scripts/test-setup.sh

# Runtime, models, portraits and films, as models/manifest.toml lists them. MODEL_PACKAGES=FOLDER works offline.
models: ## fetch and prepare the face models and test photos, checked by digest
	@$(PYTHON) models/prepare.py

models-clean: ## remove what `make models` has fetched
	rm -rf models/cache

# What `invigil bench photos` is held against: OpenCV for Python, in an environment of its own.
bench-opencv:
	@$(PYTHON) models/prepare.py --benchmark

bench: models bench-opencv ## measure this machine: events beside bare servers, replay beside parsing, photos beside OpenCV
	scripts/performance.sh
	$(CARGO) run --locked --release -- bench photos

lint: ## check format, lints, licences and tidiness
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	scripts/licences.py
	scripts/capacity.py --check docs/scale.md
	scripts/tidy.sh

# Those of deploy/ that are installed; what is not is said. `make test` checks the settings in it too.
lint-deploy: test-setup ## check deploy/ with the linters of HAProxy, compose and Kubernetes
	tests/cache/venv/bin/python scripts/check_deploy.py

format: ## format the code
	$(CARGO) fmt
