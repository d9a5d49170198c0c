# The commands of a working day. Each makes what it needs under build/, in an environment of its own; nothing else is
# touched. Only Python 3.11 or later with its headers and venv, a C compiler and make must be there.
#
#   make demo        build and install nnfast, then run examples/digits.py
#   make test        build, install and run every test: lint, ctest and pytest
#   make test-slow   the exhaustive tests, which take minutes and are not part of `make test`
#   make fuzz        new inputs for the engine and for model files, FUZZ_SECONDS=60 of each; needs clang's libFuzzer
#   make test-oldest, test-newest, test-freethreaded
#                    the tests of the package with the oldest and the newest of what it depends on, and on a Python
#                    without a GIL, in several threads at once; PYTEST="-k files" chooses some
#   make lint        formatting, types, and the C sources under gcc's and clang's warnings
#   make cross       compile the engine and its tests for every processor and system, and run what can run here
#   make bench-train, bench-predict, bench-kernels
#                    compare training steps, predictions, or the engine's inner loops with other packages;
#                    BENCH="--help" shows what to choose
#   make bench-versions BASE=HEAD~1
#                    compare training steps with those of another commit; BENCH chooses here too
#   make sanitize    the tests of the engine under AddressSanitizer and UBSan, and under ThreadSanitizer
#   make sanitize-python
#                    the tests of the package under AddressSanitizer and UBSan
#   make analyze     the static analyzers of gcc and clang-tidy over csrc/
#   make coverage    the lines of csrc/ that all tests together reach; fails below 95 %
#   make wheel-check build the files of a release twice, check them, and run the tests on the installed wheel;
#                    PYTEST="tests/test_package.py" runs only these
#   make format      write Python files the way `make lint` wants them
#   make clean       remove build/
#
# PYTHON chooses the interpreter: make test PYTHON=python3.13
# THREADS chooses the engine's threads: make test THREADS=native, in place of OpenMP's

PYTHON ?= python3

# cpython-311, or cpython-313t; nothing when the interpreter is too old.
show_abi := import sys; sys.version_info < (3, 11) or print(sys.implementation.cache_tag + sys.abiflags)
abi := $(shell $(PYTHON) -c '$(show_abi)')
ifeq ($(abi),)
$(error nnfast needs Python 3.11 or later; choose one with make PYTHON=...)
endif

root := build/$(abi)$(THREADS:%=-%)
threads := $(THREADS:%=-DNNFAST_THREADS=%)
venv := $(root)/venv
python := $(venv)/bin/python
pip := $(python) -m pip --disable-pip-version-check --quiet
bench_pip := $(pip) --python $(root)/bench/bin/python install
package := CMakeLists.txt pyproject.toml README.md LICENSE LICENSE.libgomp tools/sbom.cdx.json.in \
	$(shell find csrc python ! -path '*__pycache__*')

# cmake, ctest and ninja come from the environment, whatever the machine has.
export PATH := $(CURDIR)/$(venv)/bin:$(PATH)
export CMAKE_GENERATOR := Ninja
# zig keeps a cache; here, not in the home directory.
export ZIG_GLOBAL_CACHE_DIR := $(CURDIR)/build/zig

benches := bench-train bench-predict bench-kernels
.PHONY: demo test test-slow lint lint-python lint-c lint-workflows ctest pytest $(benches) bench-versions bench-native \
	format clean
.NOTPARALLEL:

demo: $(venv)/.installed
	$(python) examples/digits.py

test: lint ctest pytest

lint: lint-python lint-c lint-workflows

lint-python: $(venv)/.installed $(venv)/.dev
	$(python) -m ruff check .
	$(python) -m ruff format --check .
	$(python) -m mypy
	$(python) -m mypy.stubtest nnfast._core

# The gcc build is the one whose tests run. clang compiles the engine for both processors, without OpenMP, so that the
# native threads are kept too; it never links (-c), or zig would first build a libc for each.
lint-c: $(root)/c/build.ninja $(root)/clang/x86_64-linux-gnu/build.ninja $(root)/clang/aarch64-linux-gnu/build.ninja
	cmake --build $(root)/c
	cmake --build $(root)/clang/x86_64-linux-gnu --target nnfast_core
	cmake --build $(root)/clang/aarch64-linux-gnu --target nnfast_core

$(root)/c/build.ninja: $(venv)/.dev
	cmake -S . -B $(@D) $(threads) -DNNFAST_BUILD_PYTHON=OFF -DNNFAST_BUILD_TESTS=ON -DNNFAST_BUILD_BENCH=ON \
		-DNNFAST_WERROR=ON

zig_cmake = cmake -S . -B $(@D) --toolchain tools/zig.cmake -DNNFAST_TARGET=$* -DNNFAST_BUILD_PYTHON=OFF \
	-DNNFAST_BUILD_TESTS=ON -DNNFAST_THREADS=native -DNNFAST_WERROR=ON
$(root)/clang/%/build.ninja: $(venv)/.dev tools/zig.cmake
	$(zig_cmake) -DCMAKE_C_FLAGS=-c -DCMAKE_TRY_COMPILE_TARGET_TYPE=STATIC_LIBRARY

lint-workflows: $(venv)/.dev
	$(venv)/bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(venv)/bin/zizmor --offline --persona=pedantic --quiet .github

ctest: $(root)/c/build.ninja
	cmake --build $(root)/c
	ctest --test-dir $(root)/c --output-on-failure -LE slow

pytest: $(venv)/.installed $(venv)/.dev bench-native
	$(python) -m pytest

test-slow: $(venv)/.installed $(root)/c/build.ninja
	cmake --build $(root)/c
	ctest --test-dir $(root)/c --output-on-failure -L slow
	$(python) -m pytest -m slow

$(benches): bench-%: $(root)/bench/.installed bench-native
	$(root)/bench/bin/python -m bench.$* $(BENCH)

BASE ?= HEAD~1
bench-versions: $(venv)/.installed $(venv)/.dev
	rm -rf $(root)/base
	mkdir -p $(root)/base/source
	git archive $(BASE) | tar -x -C $(root)/base/source
	$(pip) install --no-build-isolation --no-deps $(THREADS:%=-Ccmake.define.NNFAST_THREADS=%) \
		--target $(root)/base/site $(root)/base/source
	$(python) -m bench.versions $(root)/base/site $(BENCH)

# What bench/native.py loads: kernels and the FMA peak, for which the choice of threads does not matter.
bench-native: build/$(abi)/bench-native/build.ninja
	cmake --build build/$(abi)/bench-native --target nnfast_bench

build/$(abi)/bench-native/build.ninja: $(venv)/.build
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

$(venv)/.checks: $(venv)/.dev pyproject.toml
	$(pip) install --group checks
	touch $@

$(venv)/.fuzz: $(venv)/.dev
	$(pip) install --group fuzz
	touch $@

# Without build isolation the build folder stays valid, so that only what changed is compiled again.
$(venv)/.installed: $(venv)/.build $(package)
	$(pip) install --no-build-isolation -Cbuild-dir=$(root)/wheel $(THREADS:%=-Ccmake.define.NNFAST_THREADS=%) .
	touch $@

# Those it is compared with, the extra `bench`, have an environment of their own. They are installed one by one, so that
# one that cannot be had is named and left out; the benchmarks then skip it.
show_peers := import tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
	print(*project["optional-dependencies"]["bench"])
$(root)/bench/.installed: $(venv)/.build $(package) bench/constraints.txt
	$(PYTHON) -m venv $(root)/bench
	$(pip) wheel --no-deps --no-build-isolation -Cbuild-dir=$(root)/wheel $(THREADS:%=-Ccmake.define.NNFAST_THREADS=%) \
		--wheel-dir $(root)/bench .
	$(bench_pip) --force-reinstall --no-deps $(root)/bench/*.whl
	$(bench_pip) nnfast --group parity
	for peer in $$($(python) -c '$(show_peers)'); do \
		$(bench_pip) --constraint bench/constraints.txt $$peer || echo "left out, cannot be installed: $$peer"; done
	touch $@

include tools/checks.mk
