PYTHON ?= python3

.PHONY: models models-clean

# Weights, runtime and test films, as models/manifest.toml lists them. INVIGIL_PACKAGES=FOLDER works offline.
models:
	@PYTHONDONTWRITEBYTECODE=1 $(PYTHON) models/prepare.py

models-clean:
	rm -rf models/cache
