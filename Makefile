PYTHON ?= python3
export PYTHONDONTWRITEBYTECODE = 1

.PHONY: models models-clean bench-opencv

# Weights, runtime and test films, as models/manifest.toml lists them. INVIGIL_PACKAGES=FOLDER works offline.
models:
	@$(PYTHON) models/prepare.py

# What `invigil bench photos` is held against: OpenCV for Python, in an environment of its own.
bench-opencv:
	@$(PYTHON) models/prepare.py --benchmark

models-clean:
	rm -rf models/cache
