# The checks beside `make test`, which Makefile includes: each compiles the engine anew, and takes minutes to an hour.

.PHONY: test-oldest test-newest test-parallel test-freethreaded cross sanitize sanitize-python analyze coverage \
	coverage-report wheel-check fuzz fuzz-engine fuzz-model-files

# ---- other releases and other Pythons --------------------------------------------------------------------------------

# The ends of what is supported, each in an environment of its own with the nnfast that is built from here. What some
# tests alone need and cannot be installed is named and left out.
show_needs := import tomllib; project = tomllib.load(open("pyproject.toml", "rb")); \
	print(*project["project"]["dependencies"])
show_extra := import tomllib; groups = tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]; \
	print(*groups["test-data"], *groups["test-files"])
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
		$(end_pip) $(needs) $$each || echo "left out, cannot be installed: $$each"; done
	$(root)/$*/bin/python -m nnfast versions
	$(root)/$*/bin/python -m pytest $(PYTEST)

# On a Python without a GIL, one that is there or one that is built.
test-freethreaded:
	python=$$(tools/free_threaded_python.sh build/free-threaded) && $(MAKE) test-parallel PYTHON=$$python

# ---- other processors and systems ------------------------------------------------------------------------------------

# Where the engine is meant to run, as zig says it: processor, system, C library.
cross_targets := aarch64-linux-gnu x86_64-linux-musl aarch64-linux-musl x86_64-windows-gnu aarch64-windows-gnu \
	x86_64-macos aarch64-macos

cross: $(addprefix cross-,$(cross_targets))

# A test that cannot run here is built, and ctest calls it skipped; the last line says why.
cross-%: $(root)/cross/%/build.ninja
	cmake --build $(<D)
	ctest --test-dir $(<D) --output-on-failure -LE slow
	@grep -h '^not ' $(<D)/Testing/Temporary/LastTest.log | sort -u

$(root)/cross/%/build.ninja: $(venv)/.dev tools/zig.cmake
	$(zig_cmake)

# ---- sanitizers, analyzers, coverage ---------------------------------------------------------------------------------

checked := -DNNFAST_BUILD_PYTHON=OFF -DNNFAST_BUILD_TESTS=ON -DCMAKE_BUILD_TYPE=Debug

# $(root)/NAME/site is the package and $(root)/NAME/build/ the tests of the engine, both compiled with these settings.
# What nnfast depends on comes with $(venv)/.installed.
checked_install = $(pip) install --no-build-isolation --no-deps --upgrade --target $(root)/$(1)/site \
	-Cbuild-dir=$(root)/$(1)/build -Cinstall.strip=false -Ccmake.build-type=Debug \
	-Ccmake.define.NNFAST_BUILD_TESTS=ON $(2) .

# Only with threads of our own: ThreadSanitizer does not see how OpenMP's wait for each other. gcc 12's needs memory
# where newer kernels put it elsewhere at random: setarch -R.
sanitize: $(root)/address/.installed $(root)/thread/build.ninja
	ctest --test-dir $(root)/address/build --output-on-failure -LE slow
	cmake --build $(root)/thread
	setarch -R ctest --test-dir $(root)/thread --output-on-failure -LE slow

$(root)/thread/build.ninja: $(venv)/.dev
	cmake -S . -B $(@D) $(checked) -DNNFAST_THREADS=native -DNNFAST_SANITIZE=thread

# With a name, as a comma would end an argument of `call`.
sanitizers := address,undefined,float-cast-overflow
$(root)/address/.installed: $(venv)/.installed $(venv)/.dev $(package) $(wildcard tests/c/*)
	$(call checked_install,address,-Ccmake.define.NNFAST_SANITIZE=$(sanitizers))
	touch $@

# Python itself is not instrumented: the run-time libraries come before it, also in processes that a test starts. What
# Python and its packages keep until the end is no leak of ours.
sanitize-python: $(root)/address/.installed bench-native
	LD_PRELOAD="$$($(CC) -print-file-name=libasan.so) $$($(CC) -print-file-name=libubsan.so)" \
	ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1 \
	PYTHONPATH=$(CURDIR)/$(root)/address/site $(python) -m pytest $(PYTEST)

# What is for another processor or system than x86-64 and Linux is left out. Of kernels gcc does not know that a loop has
# filled an array. clang-tidy cannot read the stdatomic.h that lies beside gcc's omp.h, so not the 50 lines that need it.
analyzed = $(filter-out %_neon.c %_windows.c,$(wildcard csrc/*.c csrc/kernels/*.c))
analyzed_flags := -std=c11 -Icsrc -DNNFAST_HAVE_X86 -mfma -mavx2 -mavx512f -mavx512bw -mavx512dq -mavx512vl

analyze: $(venv)/.checks $(analyzed:%=gcc-%)
	$(venv)/bin/clang-tidy --quiet $(filter-out %_openmp.c,$(analyzed)) -- $(analyzed_flags)

gcc-csrc/kernels/%: gcc_flags = -Wno-analyzer-use-of-uninitialized-value
gcc-csrc/%: csrc/%
	$(CC) -fanalyzer -Werror -O1 -fopenmp $(analyzed_flags) $(gcc_flags) -c -o /dev/null $<

# Tests of the engine run twice, with OpenMP's threads and with our own. The counters must be atomic: gcc takes one that
# it believes to be this thread's alone for the variable of a loop, and with two threads 18 of 24 runs gave other bits.
counted := --coverage -fprofile-update=atomic
coverage: $(root)/coverage/.installed $(root)/coverage-native/build.ninja $(venv)/.checks bench-native
	find $(root)/coverage $(root)/coverage-native -name '*.gcda' -delete
	ctest --test-dir $(root)/coverage/build --output-on-failure -LE slow
	cmake --build $(root)/coverage-native
	ctest --test-dir $(root)/coverage-native --output-on-failure -LE slow
	PYTHONPATH=$(CURDIR)/$(root)/coverage/site $(python) -m pytest $(PYTEST) $(without_counters:%=--deselect tests/%)
	$(MAKE) coverage-report

# What gcc's counters add is seen by two tests: the symbols of the extension, and errors of writing to a full disk.
without_counters := test_architecture.py::test_the_extension_exports_its_init_function_and_its_mark \
	test_files.py::test_a_full_disk_and_a_folder_that_is_not_there

# A line of a header counts once for each function of its own name, whichever type and instruction set reached it; an
# instruction set that this CPU does not have is left out. A matrix product may have 10^11 hits.
show_unseen := from nnfast import _core; \
	print(*(f"--exclude=csrc/kernels/simd_{isa}.h" for isa, here in _core.isas().items() if not here))
coverage-report:
	unseen=$$($(python) -c '$(show_unseen)') && echo "not on this CPU: $$unseen" && $(python) -m gcovr --root . \
		--filter csrc/ --merge-mode-functions separate --gcov-suspicious-hits-threshold 0 $$unseen --txt - \
		--html-details $(root)/coverage/lines.html --fail-under-line 95 $(root)/coverage $(root)/coverage-native

$(root)/coverage-native/build.ninja: $(venv)/.dev
	cmake -S . -B $(@D) $(checked) -DNNFAST_THREADS=native -DCMAKE_C_FLAGS="$(counted)"

$(root)/coverage/.installed: $(venv)/.installed $(venv)/.dev $(package) $(wildcard tests/c/*)
	$(call checked_install,coverage,-Ccmake.define.CMAKE_C_FLAGS="$(counted)")
	touch $@

# ---- the files of a release ------------------------------------------------------------------------------------------

# Its folder is emptied each time, its tools stay.
wheel-check: $(root)/wheel-tools/.installed
	$(root)/wheel-tools/bin/python tools/wheel_check.py $(root)/wheel-check $(PYTEST)

$(root)/wheel-tools/.installed: $(venv)/.made pyproject.toml
	$(PYTHON) -m venv --clear $(@D)
	$(pip) --python $(@D)/bin/python install --group wheel
	touch $@

# ---- fuzzing ---------------------------------------------------------------------------------------------------------

# clang with libFuzzer and AddressSanitizer; on Debian: apt-get install clang-19 libclang-rt-19-dev libomp-19-dev
FUZZ_CC ?= clang-19
FUZZ_SECONDS ?= 60
# Of libFuzzer: what it finds goes to build/fuzz, and a file that fails beside it, fuzz-crash-...
fuzz_options = -max_total_time=$(FUZZ_SECONDS) -timeout=30 -artifact_prefix=build/fuzz-
fuzz_engine = ASAN_OPTIONS=allocator_may_return_null=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
	$(root)/fuzz/fuzz_engine -max_len=512
fuzz_model_files = OMP_NUM_THREADS=1 $(python) tests/fuzz/model_files.py -max_len=16384

fuzz: fuzz-engine fuzz-model-files

fuzz-engine: $(root)/fuzz/build.ninja
	cmake --build $(root)/fuzz
	mkdir -p build/fuzz/engine
	$(fuzz_engine) $(fuzz_options) build/fuzz/engine tests/fuzz/corpus/engine

# Without optimization the kernels would be too slow, with all of it they take clang minutes.
$(root)/fuzz/build.ninja: $(venv)/.build
	@echo 'int LLVMFuzzerTestOneInput(void);int LLVMFuzzerTestOneInput(void){return 0;}' | \
		$(FUZZ_CC) -x c -fsanitize=fuzzer,address,undefined -fopenmp -o /dev/null - || \
		{ echo "make fuzz needs clang with libFuzzer, AddressSanitizer and OpenMP, FUZZ_CC=$(FUZZ_CC) is none;" \
		"on Debian: apt-get install clang-19 libclang-rt-19-dev libomp-19-dev"; exit 1; }
	CC=$(FUZZ_CC) cmake -S . -B $(@D) -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS_DEBUG="-O1 -g" -DNNFAST_BUILD_PYTHON=OFF \
		-DNNFAST_BUILD_FUZZER=ON -DNNFAST_WERROR=ON -DNNFAST_SANITIZE=fuzzer-no-link,address,undefined

fuzz-model-files: $(venv)/.installed $(venv)/.fuzz
	mkdir -p build/fuzz/model_files
	$(fuzz_model_files) $(fuzz_options) build/fuzz/model_files tests/fuzz/corpus/model_files
