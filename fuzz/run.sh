#!/bin/sh
# Fuzz the C core for a bounded time:  fuzz/run.sh [SECONDS]   (60 unless told; needs clang and python3)
# What breaks it is left in fuzz/out/ as crash-*; replay it with: fuzz/out/flowtable fuzz/out/crash-...
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-60}
python=${PYTHON:-.venv/bin/python}
native=src/flowsonar/_native
mkdir -p fuzz/out/corpus
"${CC:-clang}" -std=c11 -g -O1 -fno-omit-frame-pointer -fsanitize=fuzzer,address,undefined \
    -fno-sanitize-recover=undefined -DFLOWSONAR_SANITIZE -I"$native" -Wall -Wextra -Wconversion \
    fuzz/flowtable_fuzzer.c "$native"/framing.c "$native"/decode.c "$native"/table.c "$native"/index.c \
    "$native"/stream.c "$native"/fragments.c "$native"/memory.c -o fuzz/out/flowtable
# Without the tests' environment it starts from nothing, and finds less in the same time.
"$python" fuzz/seeds.py fuzz/out/corpus || echo "no seeds: run make test first" >&2
exec fuzz/out/flowtable -max_total_time="$seconds" -max_len=4096 -rss_limit_mb=1024 -timeout=10 \
    -print_final_stats=1 -artifact_prefix=fuzz/out/ fuzz/out/corpus
