#!/usr/bin/env bash
# Prints the path of a Python without a GIL: the newest on the PATH, else one that it builds below the folder given, once,
# from a source package of Debian, which has no free-threaded one: CPython 3.14 of its testing release, or 3.13 of the
# stable one, whose warnings are not yet safe in several threads. It takes 3 minutes on two cores, and needs apt-get, a
# compiler, xz and the headers of CPython's modules:
#   apt-get install gcc make xz-utils zlib1g-dev libffi-dev libssl-dev libbz2-dev liblzma-dev
set -euo pipefail
folder=$(realpath -m "$1")

for name in python3.15t python3.14t python3.13t; do
    if command -v "$name"; then exit; fi
done

# The source of a release of CPython from one of Debian, by an apt of our own, from the mirror of the machine's: neither
# its sources nor its lists are touched.
download() {
    local release=$1 version=$2
    rm -rf apt python"$version"_* Python-*/
    mkdir -p apt/lists/partial apt/archives/partial
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' | sort -u | head -1)
    echo "deb-src ${mirror:?apt-get update must have run} $release main" > apt/sources.list
    cat > apt/apt.conf << EOF
Dir::Etc::sourcelist "$folder/apt/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::State::lists "$folder/apt/lists";
Dir::Cache "$folder/apt";
EOF
    APT_CONFIG=$folder/apt/apt.conf apt-get update &&
        APT_CONFIG=$folder/apt/apt.conf apt-get source --download-only "python$version" &&
        tar xf "python${version}"_*.orig.tar.xz
}

python=$folder/python/bin/python3
if ! "$python" -c 'import ssl, ctypes, zlib, sys; assert not sys._is_gil_enabled()' 2> /dev/null; then
    mkdir -p "$folder"
    cd "$folder"
    {
        download testing 3.14 || download stable 3.13
        cd Python-3.*/
        ./configure --quiet --disable-gil --disable-test-modules --prefix="$folder/python"
        make --silent --jobs="$(nproc)"
        make --silent install
        rm -rf "$PWD"
    } > "$folder/log" 2>&1 || { echo "no free-threaded Python: see $folder/log" >&2; exit 1; }
fi
echo "$python"
