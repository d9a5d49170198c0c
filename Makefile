# The commands of a working day. Each makes what it needs under build/, in an environment of its own; nothing else is
# touched. Only Python 3.11 or later with its headers and venv, a C compiler and make must be there.
#
#   make demo        build and install nnfast, then run examples/digits.py
#   make test        build, install and run every test: lint, ctest and pytest
#   make test-slow   the exhaustive tests, which take minutes and are not part of `make test`
#   make test-oldest, test-newest, test-freethreaded
#                    the tests of the package with the oldest and the newest of what it depends on, and on a Python
#                    without a GIL, in several threads at once; PYTEST="-k files" chooses some
#   make lint        formatting, types, and the C sources under gcc's and clang's warnings
#   make bench-train, bench-predict, bench-kernels
#                    compare training steps, predictions, or the engine's inner loops with other packages;
#                    BENCH="--help" shows what to choose
#   make format      write Python files the way `make lint` wants them
#   make clean       remove build/
#
# PYTHON chooses the interpreter: make test PYTHON=python3.13

PYTHON ?= python3

# cpython-311, or cpython-313t; nothing when the interpreter is too old.
show_abi := import sys; sys.version_info < (3, 11) or print(sys.implementation.cache_tag + sys.abiflags)
abi := $(shell $(PYTHON) -c '$(show_abi)')
ifeq ($(abi),)
$(error nnfast needs Python 3.11 or later; choose one with make PYTHON=...)
endif

root := build/$(abi)
venv := $(root)/venv
python := $(venv)/bin/python
pip := $(python) -m pip --disable-pip-version-check --quiet
bench_pip := $(pip) --python $(root)/bench/bin/python install
package := CMakeLists.txt pyproject.toml README.md LICENSE $(shell find csrc python ! -path '*__pycache__*')

# cmake, ctest and ninja come from the environment, whatever the machine has.
export PATH := $(CURDIR)/$(venv)/bin:$(PATH)
export CMAKE_GENERATOR := Ninja
# zig keeps a cache; here, not in the home directory.
export ZIG_GLOBAL_CACHE_DIR := $(CURDIR)/build/zig

benches := bench-train bench-predict bench-kernels
.PHONY: test-oldest test-newest test-parallel test-freethreaded
.PHONY: demo test test-slow lint lint-python lint-c ctest pytest $(benches) bench-native format clean
.NOTPARALLEL:

demo: $(venv)/.installed
	$(python) examples/digits.py

test: lint ctest pytest

lint: lint-python lint-c

lint-python: $(venv)/.installed $(venv)/.dev
	$(python) -m ruff check .
	$(python) -m ruff format --check .
	$(python) -m mypy
	$(python) -m mypy.stubtest nnfast._core

# The gcc build is the one whose tests run. clang compiles the engine for both processors, without OpenMP, so that the
# native threads are kept too; it never links (-c), or zig would first build a libc for each.
lint-c: $(root)/c/build.ninja $(root)/clang-x86_64/build.ninja $(root)/clang-aarch64/build.ninja
	cmake --build $(root)/c
	cmake --build $(root)/clang-x86_64 --target nnfast_core
	cmake --build $(root)/clang-aarch64 --target nnfast_core

$(root)/c/build.ninja: $(venv)/.dev
	cmake -S . -B $(@D) -DNNFAST_BUILD_PYTHON=OFF -DNNFAST_BUILD_TESTS=ON -DNNFAST_BUILD_BENCH=ON -DNNFAST_WERROR=ON

$(root)/clang-%/build.ninja: $(venv)/.dev
	CC="$(CURDIR)/$(python) -m ziglang cc -target $*-linux-gnu -c" cmake -S . -B $(@D) \
		-DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=$* -DCMAKE_TRY_COMPILE_TARGET_TYPE=STATIC_LIBRARY \
		-DNNFAST_BUILD_PYTHON=OFF -DNNFAST_THREADS=native -DNNFAST_WERROR=ON

ctest: $(root)/c/build.ninja
	cmake --build $(root)/c
	ctest --test-dir $(root)/c --output-on-failure -LE slow

pytest: $(venv)/.installed $(venv)/.dev bench-native
	$(python) -m pytest

test-slow: $(venv)/.installed $(root)/c/build.ninja
	cmake --build $(root)/c
	ctest --test-dir $(root)/c --output-on-failure -L slow
	$(python) -m pytest -m slow

# The ends of what is supported, each in an environment of its own with the nnfast that is built from here. What of the
# group `extra` cannot be installed is named and left out; the tests that need it are skipped, and say so.
show_needs := import tomllib; project = tomllib.load(open("pyproject.toml", "rb")); \
	print(*project["project"]["dependencies"])
show_extra := import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["extra"])
end_pip = $(pip) --python $(root)/$*/bin/python install --only-binary :all:
test-oldest: needs = $$($(python) -c '$(show_needs)' | sed 's/>=/==/g')
test-newest: needs = --upgrade --pre $$($(python) -c '$(show_needs)')
test-parallel: needs = $$($(python) -c '$(show_needs)') pytest-run-parallel
test-parallel: PYTEST += --parallel-threads=4
test-oldest test-newest test-parallel: test-%: $(venv)/.build $(package) bench-native
	$(PYTHON) -m venv --clear $(root)/$*
	$(pip) wheel --no-deps --no-build-isolation -Cbuild-dir=$(root)/wheel --wheel-dir $(root)/$* .
	$(end_pip) --no-deps $(root)/$*/*.whl
	$(end_pip) $(needs) --group tests
	for each in $$($(python) -c '$(show_extra)'); do \
		$(end_pip) $$each || echo "left out, cannot be installed: $$each"; done
	$(root)/$*/bin/python -m nnfast versions
	$(root)/$*/bin/python -m pytest $(PYTEST)

# On a Python without a GIL, one that is there or one that is built.
test-freethreaded:
	python=$$(tools/free_threaded_python.sh build/free-threaded) && $(MAKE) test-parallel PYTHON=$$python

$(benches): bench-%: $(root)/bench/.installed bench-native
	$(root)/bench/bin/python -m bench.$* $(BENCH)

# What bench/native.py loads.
bench-native: $(root)/bench-native/build.ninja
	cmake --build $(root)/bench-native --target nnfast_bench

$(root)/bench-native/build.ninja: $(venv)/.build
	cmake -S . -B $(@D) -DNNFAST_BUILD_PYTHON=OFF -DNNFAST_BUILD_BENCH=ON

format: $(venv)/.dev
	$(python) -m ruff check --fix .
	$(python) -m ruff format .

clean:
	rm -rf build

# ---- the environment ------------------------------------------------------------------------------------------------

# pip of Debian 12 cannot read dependency groups yet; 25.1 is the first that can.
$(venv)/.made:
	$(PYTHON) -m venv --clear $(venv)
	$(pip) install "pip>=25.1"
	touch $@

$(venv)/.build: $(venv)/.made pyproject.toml
	$(pip) install --group build
	touch $@

$(venv)/.dev: $(venv)/.made pyproject.toml
	$(pip) install --group dev
	touch $@

# Without build isolation the build folder stays valid, so that only what changed is compiled again.
$(venv)/.installed: $(venv)/.build $(package)
	$(pip) install --no-build-isolation -Cbuild-dir=$(root)/wheel .
	touch $@

# Those it is compared with, the extra `bench`, have an environment of their own. They are installed one by one, so that
# one that cannot be had is named and left out; the benchmarks then skip it.
show_peers := import tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
	print(*project["optional-dependencies"]["bench"])
$(root)/bench/.installed: $(venv)/.build $(package) bench/constraints.txt
	$(PYTHON) -m venv $(root)/bench
	$(pip) wheel --no-deps --no-build-isolation -Cbuild-dir=$(root)/wheel --wheel-dir $(root)/bench .
	$(bench_pip) --force-reinstall --no-deps $(root)/bench/*.whl
	$(bench_pip) nnfast --group parity
	for peer in $$($(python) -c '$(show_peers)'); do \
		$(bench_pip) --constraint bench/constraints.txt $$peer || echo "left out, cannot be installed: $$peer"; done
	touch $@
