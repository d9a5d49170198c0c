"""The rules of the house, checked on the sources and on the symbols of compiled objects.

Who may use what: vector intrinsics, OpenMP, the system's threads, the allocator, the environment; which file may
include or import which; what the engine, an instruction set and the extension export. A rule that examines no file
fails.
"""

import ast
import os
import platform
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from nnfast import _core, _threads

ROOT = Path(__file__).parents[1]
CSRC = ROOT / "csrc"
PACKAGE = ROOT / "python" / "nnfast"
C_FILES = sorted(p for p in CSRC.rglob("*") if p.suffix in {".c", ".h", ".def"})


def code(path):
    """The text of a C file without comments and without what stands between quotes."""
    token = re.compile(r'/\*.*?\*/|//[^\n]*|("(?:\\.|[^"\\\n])*")', re.DOTALL)
    return token.sub(lambda m: '""' if m[1] else " ", path.read_text())


def includes(path):
    return re.findall(r'^\s*#\s*include\s+([<"][^>"]+)[>"]', path.read_text(), re.MULTILINE)


# ---- words in the C sources -----------------------------------------------------------------------------------------


class Rule(NamedTuple):
    pattern: str
    sample: str  # the pattern must find this, or the rule could not fail
    allowed: str = ""  # files that may use it, as a pattern of paths below csrc/; none: nobody


RULES = {
    "x86 intrinsics": Rule(
        r"\b_mm\d*_\w+|\b__m(128|256|512)|immintrin\.h", "__m256 x = _mm256_setzero_ps();", "kernels/simd_avx*.h"
    ),
    "arm intrinsics": Rule(
        r"\bv\w+_[fsu](32|64)\b|\bfloat(32x4|64x2)_t|arm_neon\.h", "vfmaq_f32(a, b, c)", "kernels/simd_neon.h"
    ),
    # The pause of a spin loop is no vector code.
    "vendor builtins": Rule(r"__builtin_(ia32|aarch64|neon)_(?!pause\b)\w+", "__builtin_ia32_addps(a, b)"),
    "OpenMP": Rule(r"\bomp_\w+|omp\.h|#\s*pragma\s+omp\b|_OPENMP", "#pragma omp parallel", "team_openmp.c"),
    "the system's threads": Rule(r"\bpthread\w*|windows\.h", "pthread_mutex_lock(&mutex);", "system*.[ch]"),
    "questions to the CPU": Rule(
        r"\bxgetbv\b|\b__get_cpuid\w*|\bcpuid\.h|__builtin_cpu_|getauxval", "__builtin_cpu_supports()", "dispatch.c"
    ),
    "the environment": Rule(r"\b(secure_)?getenv\b", 'getenv("NNFAST_ISA")', "dispatch.c"),
    "the allocator": Rule(
        r"\b(malloc|calloc|realloc|free|aligned_alloc|posix_memalign|alloca|strdup)\s*\(", "free(p);", "memory.c"
    ),
    "output and the end of the process": Rule(
        r"\b(f|s|sn|v|vf|d)?printf\b|\b(f?puts|putchar|fwrite|perror|stdio\.h|abort|_?exit|assert\.h|raise|signal(?!\.h))\b",
        "fprintf(stderr, message);",
    ),
    "unfinished work": Rule(r"\b(TODO|FIXME|XXX)\b|#\s*if\s+0\b", "#if 0"),
}


@pytest.mark.parametrize("name", RULES)
def test_words(name):
    rule = RULES[name]
    assert re.search(rule.pattern, rule.sample)
    found = {str(p.relative_to(CSRC)) for p in C_FILES if re.search(rule.pattern, code(p))}
    assert len(C_FILES) > 10
    assert {f for f in found if not Path(f).match(rule.allowed or "-")} == set()
    assert found or not rule.allowed, "nobody uses it: the pattern or the name of the file is out of date"


def test_columns():
    files = [*C_FILES, *sorted((ROOT / "tests" / "c").glob("*.[ch]")), *sorted(PACKAGE.glob("*.p*"))]
    assert len(files) > 20
    too_long = [f"{p}:{i}" for p in files for i, line in enumerate(p.read_text().splitlines(), 1) if len(line) > 120]
    assert too_long == []


# ---- who includes whom ----------------------------------------------------------------------------------------------


def test_kernels_include_only_kernels():
    files = sorted((CSRC / "kernels").iterdir())
    assert len(files) > 8
    below = {p.name for p in files} | {"../kernels.h", "../activation.def", "../solver.def"}
    for path in files:
        quoted = {name[1:] for name in includes(path) if name[0] == '"'}
        assert quoted <= below, path.name


def test_an_isa_file_is_three_lines():
    files = sorted((CSRC / "kernels").glob("isa_*.c"))
    assert len(files) >= 4
    for path in files:
        name = path.stem.removeprefix("isa_")
        assert includes(path) == [f'"simd_{name}.h', '"kernels.inc.h']
        assert len(code(path).strip().splitlines()) == 3, path.name


def test_engine_files_include_internal_h():
    files = sorted(CSRC.glob("*.c"))
    assert len(files) > 5
    for path in files:
        quoted = {name[1:] for name in includes(path) if name[0] == '"'}
        shared = {name for name in quoted if not name.endswith((".def", ".inc.h"))}
        assert shared in ({"internal.h"}, {"nnfast.h"}, {"internal.h", "system.h"}, {"team.h"}), path.name


def test_the_binding_includes_nnfast_h_and_nothing_else():
    files = [*PACKAGE.glob("*.pyx"), *PACKAGE.glob("*.pxd")]
    assert len(files) == 2
    text = "".join(path.read_text() for path in files)
    assert set(re.findall(r'cdef extern from\s+["<]([^">]+)', text)) == {"nnfast.h"}
    assert "numpy" not in re.findall(r"^\s*(?:from\s+(\w+)[\w.]*\s+)?cimport\s+(\w+)", text, re.MULTILINE)


def test_instruction_sets_are_listed_everywhere():
    cmake = (ROOT / "CMakeLists.txt").read_text()
    listed = set(re.findall(r"^NNF_ISA\((\w+),", (CSRC / "isa.def").read_text(), re.MULTILINE))
    assert listed == {p.stem.removeprefix("isa_") for p in (CSRC / "kernels").glob("isa_*.c")}
    assert listed == {*re.findall(r"^\s*nnfast_isa\((\w+)", cmake, re.MULTILINE), "scalar"}


# ---- symbols of the compiled engine ---------------------------------------------------------------------------------


def symbols(path, *options):
    listing = subprocess.run(["nm", *options, path], check=True, capture_output=True, text=True).stdout
    return {line.split()[-1].partition("@")[0] for line in listing.splitlines()}


class Object(NamedTuple):
    exports: set[str]
    needs: set[str]


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    """Each C file of this processor, compiled alone: {"gemm.c": Object(...), "kernels/isa_avx2.c": ...}."""
    folder = tmp_path_factory.mktemp("objects")
    cmake = (ROOT / "CMakeLists.txt").read_text()
    flags = {name: options.split() for name, options in re.findall(r"^\s*nnfast_isa\((\w+)(.*)\)", cmake, re.MULTILINE)}
    x86 = platform.machine() in {"x86_64", "AMD64"}
    isas = ["avx2", "avx512"] if x86 else ["neon"]
    ours = [path for path in sorted(CSRC.glob("*.c")) if path.stem != "system_windows"]
    files = [*ours, *(CSRC / "kernels" / f"isa_{name}.c" for name in ["scalar", *isas])]

    def compiled(path):
        out = folder / f"{path.stem}.o"
        isa = flags.get(path.stem.removeprefix("isa_"), [])
        have = f"-DNNFAST_HAVE_{'X86' if x86 else 'NEON'}"
        common = ["-std=c11", "-O1", "-DNDEBUG", "-fopenmp", "-ffp-contract=off", "-fno-math-errno", have, f"-I{CSRC}"]
        subprocess.run([os.environ.get("CC", "cc"), *common, *isa, "-c", path, "-o", out], check=True)
        return Object(symbols(out, "-g", "--defined-only"), symbols(out, "-u"))

    with ThreadPoolExecutor(2) as pool:
        names = [str(path.relative_to(CSRC)) for path in files]
        return dict(zip(names, pool.map(compiled, files), strict=True))


def test_an_isa_exports_its_table_and_needs_nobody(objects):
    isas = [name for name in objects if name.startswith("kernels/")]
    assert len(isas) >= 2
    for name in isas:
        assert objects[name].exports == {f"nnf_kernels_{Path(name).stem.removeprefix('isa_')}"}
        # The compiler may write a loop as one of these; anything else would be a call into libm or into the engine.
        assert objects[name].needs <= {"memcpy", "memset", "memmove", "_GLOBAL_OFFSET_TABLE_"}, name


def test_every_global_name_has_the_prefix(objects):
    names = {name for o in objects.values() for name in o.exports}
    assert len(names) > 20
    assert [name for name in names if not name.startswith("nnf_")] == []


@pytest.mark.parametrize(
    ("pattern", "allowed"),
    [
        (r"malloc|calloc|realloc|free|aligned_alloc|posix_memalign", {"memory.c"}),
        (r"getenv|secure_getenv", {"dispatch.c"}),
        (r"omp_.*|GOMP_.*|__kmpc_.*", {"team_openmp.c"}),
        (r"pthread_.*", {"system_posix.c"}),
        (r"nnf_kernels_.*", {"dispatch.c"}),
    ],
)
def test_only_these_call(objects, pattern, allowed):
    assert {name for name, o in objects.items() if any(re.fullmatch(pattern, s) for s in o.needs)} == allowed


def test_nothing_prints_or_ends_the_process(objects):
    forbidden = r".*printf.*|f?puts|.*putc.*|fwrite|perror|abort|_?exit|.*assert_fail|raise|signal|sigaction|longjmp"
    assert re.fullmatch(forbidden, "__fprintf_chk")
    needs = {s for o in objects.values() for s in o.needs}
    assert "memcpy" in needs
    assert [s for s in needs if re.fullmatch(forbidden, s)] == []


# A file calls only files that stand further left. perceptron.c, train.c and predict.c do not call each other.
LAYERS = [
    {"system_posix", "memory", "dispatch", "tables", "shuffle", "pace"},
    {"thread"},
    {"team_openmp", "team_native"},
    {"gemm"},
    {"mlp"},
    {"train", "predict", "perceptron"},
]


def test_calls_go_down(objects):
    home = {symbol: Path(name).stem for name, o in objects.items() for symbol in o.exports}
    level = {stem: i for i, layer in enumerate(LAYERS) for stem in layer}
    engine = {Path(name).stem: o for name, o in objects.items() if not name.startswith("kernels/")}
    assert set(engine) == set(level), "LAYERS names every C file of the engine"
    arrows = {(stem, home[s]) for stem, o in engine.items() for s in o.needs if home.get(s) in level}
    assert len(arrows) > 5
    assert [f"{a} -> {b}" for a, b in sorted(arrows) if level[a] <= level[b]] == []


def test_the_extension_exports_its_init_function_and_its_mark():
    exported = symbols(_core.__file__, "-D", "--defined-only")
    assert exported == {"PyInit__core", *_threads.Controller.check_symbols}


# ---- the Python package ---------------------------------------------------------------------------------------------

# module: (modules of nnfast it may import, other packages it may import besides the standard library)
ARROWS = {
    "_threads": ({"_core"}, {"threadpoolctl"}),
    "ops": ({"_core", "_threads"}, {"numpy"}),
    "_kept": (set(), {"numpy"}),
    "_own_loss": (set(), {"numpy"}),
    "_rows": ({"_core"}, {"numpy"}),
    "_layers": ({"_core", "_rows"}, {"numpy"}),
    "_outputs": ({"_core", "_layers", "_rows", "_threads"}, {"numpy"}),
    # These two know the network as a type only.
    "_random": ({"_core"}, {"numpy"}),
    "_steps": ({"_network", "_rows"}, {"numpy"}),
    "_training": ({"_core", "_network", "_outputs", "_own_loss", "_rows", "_steps"}, {"numpy"}),
    "_network": (
        {"_core", "_kept", "_layers", "_outputs", "_own_loss", "_random", "_rows", "_threads", "_training"},
        {"numpy"},
    ),
    "_sklearn": (set(), {"numpy", "scipy", "sklearn"}),
    "_validation": ({"_network", "_rows"}, {"numpy", "scipy", "sklearn"}),
    "_schedules": ({"_kept"}, {"numpy"}),
    "_averaging": ({"_kept", "_network", "_outputs", "_rows"}, {"numpy"}),
    "_callbacks": ({"_rows"}, set()),
    "_checks": ({"_random", "_rows"}, {"numpy", "scipy", "sklearn"}),
    "_hidden": ({"_checks", "_layers", "_outputs", "_rows"}, {"numpy", "sklearn"}),
    "_resuming": ({"_kept", "_rows"}, {"numpy"}),
    "_base": (
        {"_averaging", "_callbacks", "_checks", "_hidden", "_kept", "_layers", "_network", "_outputs", "_random"}
        | {"_resuming", "_rows", "_schedules", "_sklearn", "_threads", "_training", "_validation"},
        {"numpy", "scipy", "sklearn"},
    ),
    "_classifier": ({"_base", "_checks", "_network", "_outputs", "_rows", "ops"}, {"numpy", "sklearn"}),
    "_regressor": ({"_base", "_network", "_outputs", "_rows", "_validation"}, {"numpy", "sklearn"}),
    "_perceptron": (
        {"_checks", "_core", "_kept", "_outputs", "_resuming", "_rows", "_sklearn", "ops"},
        {"joblib", "numpy", "scipy", "sklearn"},
    ),
    "_displays": ({"_core", "_layers", "_rows"}, {"numpy", "sklearn"}),
    "_safetensors": (set(), {"numpy"}),
    # The classes whose objects a file may hold are named there, and imported when they are needed.
    "_files": ({"_kept", "_safetensors"}, {"numpy", "scipy"}),
    "_exchange": (
        {"_base", "_classifier", "_layers", "_network", "_perceptron", "_regressor", "_schedules"},
        {"numpy", "sklearn"},
    ),
    "_exported": ({"_base", "_core", "_layers", "_network", "_outputs", "_perceptron", "_rows"}, {"numpy", "sklearn"}),
    "_c_source": ({"_exported", "_layers", "_rows"}, {"numpy"}),
    "_onnx": ({"_classifier", "_exported", "_layers", "_perceptron", "_regressor", "_rows"}, {"numpy"}),
    "_versions": ({"_core", "_threads"}, set()),
    "__main__": ({"_files"}, {"numpy"}),
    "__init__": (
        {"ops", "_network", "_classifier", "_regressor", "_perceptron", "_displays"}
        | {"_c_source", "_exchange", "_files", "_onnx", "_versions"},
        set(),
    ),
}


def imports(path):
    """Full names of what a module imports, wherever in it: "nnfast._core", "sklearn.base", ..."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import"
            if node.module == "nnfast":
                yield from (f"nnfast.{alias.name}" for alias in node.names)
            else:
                yield node.module


def test_python_arrows():
    modules = {path.stem: set(imports(path)) for path in PACKAGE.glob("*.py")}
    assert set(modules) == set(ARROWS), "ARROWS names every module"
    for module, names in modules.items():
        inside, outside = ARROWS[module]
        assert {n.split(".")[1] for n in names if n.startswith("nnfast.")} <= inside, module
        packages = {n.split(".")[0] for n in names} & {
            "numpy",
            "safetensors",
            "scipy",
            "sklearn",
            "threadpoolctl",
            "joblib",
        }
        assert packages <= outside, module


def test_scikit_learns_networks_are_imported_only_to_exchange_models():
    files = sorted(PACKAGE.glob("*.py*"))
    assert len(files) > 5
    pattern = r"import.*neural_network|(from|import)\s+sklearn\.linear_model"
    found = [path.name for path in files if re.search(pattern, _without_doctests(path))]
    assert found == ["_exchange.py"]


def _without_doctests(path):
    return "\n".join(line for line in path.read_text().splitlines() if not line.lstrip().startswith((">>>", "...")))
