# The two commands of the README: `make demo` and `make test`. Both make .venv first.
PYTHON ?= python3
ROS ?= jazzy
VENV := .venv
BIN := $(VENV)/bin

# Nodes and tests start Python hundreds of times, which is slow where it keeps nothing compiled.
unexport PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX := $(CURDIR)/$(VENV)/pycache

.PHONY: demo test sim lint soak fuzz gpu clean

# With the simulated cell where it can be installed; else the demo plays a recorded bag.
demo: $(VENV)/.demo
	@$(MAKE) --no-print-directory $(VENV)/.cell || echo "robosuite could not be installed; see above"
	$(BIN)/octo_ros demo

# Nodes heed the time, so their tests run alone, after the others.
test: $(VENV)/.test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not processes" --numprocesses auto --maxprocesses 4; \
	  others=$$?; $(BIN)/python -m pytest -m processes && exit $$others

# The simulated cell with all that trains a policy in it: `octo_ros record`, `train`, `evaluate`.
sim: $(VENV)/.test $(VENV)/.cell

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# 30 minutes of the two nodes at 10 Hz: memory growth, missed stops.
soak: $(VENV)/.demo
	$(BIN)/python bench/soak.py --minutes 30

# 10 minutes of the safety filter under attack on all cores, and a million steps at least.
fuzz: $(VENV)/.test
	$(BIN)/python bench/fuzz_safety.py --minutes 10 --steps 1000000

# On a machine with an NVIDIA GPU: its tests, then a run whose results are added to docs/benchmarks.md.
gpu: $(VENV)/.test
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[ros-$(ROS),replay,export,test,tensorrt]'
	$(BIN)/python -m pytest -m gpu
	$(BIN)/python bench/gpu.py --out docs/benchmarks.md

clean:
	rm -rf $(VENV) build install log out

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	  || { echo "octo_ros needs Python 3.10 or newer; $(PYTHON) is older. Try: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv

$(VENV)/.demo: setup.py | $(BIN)/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[ros-$(ROS),replay]'
	@touch $@

# PyTorch by pip: a machine's own find-links or CPU wheel index is then used, if it has one.
$(VENV)/.test: $(VENV)/.demo
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[ros-$(ROS),replay,export,test]'
	@touch $@

# A part of robosuite that is not used here caps numpy below 2; pin needs 2.
$(VENV)/.cell: $(VENV)/.demo
	@echo 'numpy>=2' > $(VENV)/override.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --override $(VENV)/override.txt \
	  --editable '.[ros-$(ROS),replay,sim]'
	@touch $@
