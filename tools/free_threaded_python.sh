#!/usr/bin/env bash
# Prints the path of a Python without a GIL: the newest on the PATH, else one that it builds below the folder given, once,
# from Debian's source package of CPython 3.13 (the newest that a stable release of Debian has; 3 minutes on two cores).
# Debian has no free-threaded package. Needs apt-get, dpkg-source's xz, a compiler and the headers of CPython's modules:
#   apt-get install gcc make xz-utils zlib1g-dev libffi-dev libssl-dev libbz2-dev liblzma-dev
set -euo pipefail
folder=$(realpath -m "$1")

for name in python3.15t python3.14t python3.13t; do
    if command -v "$name"; then exit; fi
done
python=$folder/python/bin/python3.13t
if ! "$python" -c 'import ssl, ctypes, zlib' 2> /dev/null; then
    mkdir -p "$folder/apt/lists/partial" "$folder/apt/archives/partial"
    cd "$folder"
    {
        # An apt of our own, from the mirror of the machine's: neither its sources nor its lists are touched.
        mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' | sort -u | head -1)
        echo "deb-src ${mirror:?apt-get update must have run} trixie main" > apt/sources.list
        cat > apt/apt.conf << EOF
Dir::Etc::sourcelist "$folder/apt/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::State::lists "$folder/apt/lists";
Dir::Cache "$folder/apt";
EOF
        export APT_CONFIG=$folder/apt/apt.conf
        apt-get update
        apt-get source --download-only python3.13
        tar xf python3.13_*.orig.tar.xz
        cd Python-3.13.*/
        ./configure --quiet --disable-gil --disable-test-modules --prefix="$folder/python"
        make --silent --jobs="$(nproc)"
        make --silent install
        rm -rf "$PWD"
    } > "$folder/log" 2>&1 || { echo "no free-threaded Python: see $folder/log" >&2; exit 1; }
fi
echo "$python"
