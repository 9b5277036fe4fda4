.DEFAULT_GOAL := help
.PHONY: help demo test test-setup sdk sdk-modules e2e e2e-setup e2e-run screenshots screenshots-sdk console models models-clean bench bench-opencv lint lint-deploy format

CARGO ?= cargo
PYTHON ?= python3
RUNTIMES ?= cpu,openvino
export PYTHONDONTWRITEBYTECODE = 1

help: ## show this
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: models ## run a server and learners, honest and not, watch the verdicts arrive; and a page to try it on your own face
	@if command -v npm > /dev/null; then $(MAKE) --no-print-directory sdk-modules && npm --prefix web-client run build; fi
	$(CARGO) run --locked -- demo

test: models test-setup e2e-setup sdk console ## run all tests
	@if $(CARGO) nextest --version > /dev/null 2>&1; then \
		$(CARGO) nextest run --locked; \
	else \
		echo "cargo-nextest is not installed; using cargo test"; $(CARGO) test --locked; \
	fi
	@$(MAKE) --no-print-directory e2e-run

# Only when package-lock.json is another than the one that was installed last. Versions and digests are those of the lock
# file; `npm ci` would also ask for packages of other platforms, of which a mirror may lack some.
sdk-modules: web-client/node_modules/.package-lock.json

web-client/node_modules/.package-lock.json: web-client/package-lock.json
	npm --prefix web-client install --no-save
	@touch $@

sdk: sdk-modules ## build, check and test the web SDK; refuses files that have grown too big
	node web-client/scripts/types.mjs --check
	npm --prefix web-client run check --workspace sdk
	npm --prefix web-client run build --workspace sdk
	npm --prefix web-client test --workspace sdk

console: sdk-modules ## build, check and test the supervisors' console; refuses a first page that has grown too big
	npm --prefix web-client run check --workspace console
	npm --prefix web-client run build --workspace console
	npm --prefix web-client run test --workspace console

e2e-setup: # a browser, films, Node
	scripts/e2e-setup.sh

e2e: models test-setup e2e-setup sdk-modules ## hold sessions in a real browser, honest and not
	npm --prefix web-client run build
	@$(MAKE) --no-print-directory e2e-run

# E2E="NAME…" runs some of web-client/e2e/scenarios; `-- --test-name-pattern=…` some of their tests.
e2e-run: e2e-setup
	$(CARGO) build --locked
	npm --prefix web-client --workspace e2e run test -- $(E2E)

screenshots: models e2e-setup sdk-modules ## pictures of the console, in target/screenshots, and those of the README, from the demo
	npm --prefix web-client run build
	$(CARGO) build --locked
	npm --prefix web-client --workspace e2e run screenshots-console

screenshots-sdk: models e2e-setup sdk-modules ## pictures of what learners see, in both languages, in target/screenshots-sdk
	npm --prefix web-client run build
	$(CARGO) build --locked
	npm --prefix web-client --workspace e2e run screenshots

test-setup: ## install what the tests need besides Rust
	scripts/test-setup.sh

# Runtimes, models, portraits and films, as models/manifest.toml lists them. MODEL_PACKAGES=FOLDER works offline. The
# runtimes: cpu (18 MB), openvino (84 MB; without it checks take about twice as long), cuda (277 MB, for an NVIDIA card).
models: ## fetch and prepare the face models and test photos, checked by digest
	@$(PYTHON) models/prepare.py --runtimes $(RUNTIMES)

models-clean: ## remove what `make models` has fetched
	rm -rf models/cache

# What `invigil bench photos` is held against: OpenCV for Python, in an environment of its own.
bench-opencv:
	@$(PYTHON) models/prepare.py --runtimes $(RUNTIMES) --benchmark

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
