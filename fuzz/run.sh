#!/bin/sh
# Fuzz the C core for a bounded time, each harness for its share:  fuzz/run.sh [SECONDS]   (60 unless told; needs clang
# and python3). It begins with the stored corpora (fuzz/corpus) and the tests' frames and messages. What breaks the core
# is left in fuzz/out/ as crash-*; replay it with: fuzz/out/flowtable fuzz/out/crash-...
# fuzz/run.sh keep   stores what was found: of each harness the smallest inputs that reach all that is reached.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-60}
python=${PYTHON:-.venv/bin/python}
native=src/flowsonar/_native
harnesses="flowtable codecs lanes"
# All of the core but its Python side.
flowtable=$(cd "$native" && for file in *.c; do case $file in binding*) ;; *) printf '%s ' "${file%.c}" ;; esac; done)
lanes=$flowtable
codecs="tls dtls ja4 sha256 cpu dns http aes quic_keys quic gquic"
export FLOWSONAR_LANES_FILE=fuzz/out/lanes.bin

if [ "$seconds" = keep ]; then
    rm -rf fuzz/out/kept
    for harness in $harnesses; do
        mkdir -p fuzz/out/kept/"$harness"
        "fuzz/out/$harness" -merge=1 "fuzz/out/kept/$harness" "fuzz/out/corpus/$harness"
    done
    exec "$python" fuzz/stored.py pack fuzz/out/kept
fi

mkdir -p fuzz/out
"$python" fuzz/stored.py unpack fuzz/out/corpus
"$python" fuzz/seeds.py fuzz/out/corpus || echo "no seeds of the tests: run make test first" >&2
for harness in $harnesses; do
    mkdir -p fuzz/out/corpus/"$harness"
    eval "parts=\$$harness"
    sources=$(for part in $parts; do printf '%s ' "$native/$part.c"; done)
    # shellcheck disable=SC2086  # several files
    "${CC:-clang}" -std=c11 -g -O1 -fno-omit-frame-pointer -fsanitize=fuzzer,address,undefined \
        -fno-sanitize-recover=undefined -DFLOWSONAR_SANITIZE -Ifuzz -I"$native" -Wall -Wextra -Wconversion \
        "fuzz/${harness}_fuzzer.c" $sources -o "fuzz/out/$harness" -lm
    "fuzz/out/$harness" -max_total_time="$((seconds / 3))" -max_len=4096 -rss_limit_mb=1024 -timeout=10 \
        -print_final_stats=1 -artifact_prefix=fuzz/out/ "fuzz/out/corpus/$harness"
done
