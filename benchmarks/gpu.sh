#!/usr/bin/env bash
# Everything that is to be run on a machine with a GPU, within ten minutes: benchmarks/gpu.sh FOLDER CACHE [MINUTES]
#
# FOLDER gets the results. CACHE is a dataset.h5 of faces, carried to the machine. Python there has torch, and everything else that
# kptool needs but what lies in wheels/ beside CACHE (isal, for example); nothing is downloaded. The C++ core is built
# there, which takes a C++17 compiler, and pybind11 and scikit-build-core in that Python.
set -uo pipefail
cd "$(dirname "$0")/.."
out=$1 cache=$(realpath "$2") minutes=${3:-8}
device=${KPTOOL_GPU:-cuda} quick=${KPTOOL_QUICK:+--quick}
site=$(mktemp -d)
export PYTHONUNBUFFERED=1 PYTHONPATH=$site
shopt -s nullglob
mkdir -p "$out"
begun=$SECONDS
python3 -m pip install -q --no-index --no-deps --no-build-isolation --no-compile --target "$site" . "$(dirname "$cache")"/wheels/*.whl || exit 1
echo "built in $((SECONDS - begun)) s"
# The tests first: figures of a wrong result are worth nothing. Warnings of another torch are no errors here.
cp -r tests "$site/tests" && (cd "$site/tests" && timeout 200 python3 -m pytest -q -p no:cacheprovider -c /dev/null --rootdir . \
    -W default gpu --durations 5) 2>&1 | tail -n 60 | tee "$out/tests.txt"
left=$(python3 -c "print(max(1.0, $minutes - ($SECONDS - $begun) / 60))")
python3 benchmarks/gpu.py "$cache" --out "$out" --minutes "$left" --device "$device" $quick 2>&1 | tail -n 40
rm -rf "$out/runs" "$site"
