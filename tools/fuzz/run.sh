#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds the fuzzer and runs one target for so many seconds: `tools/fuzz/run.sh TARGET SECONDS
# [libFuzzer's options]`; without arguments, names the targets. What it learns stays in
# tools/fuzz/.build/corpus; an input that stops a reader is written to tools/fuzz/.build/findings.
# Linux with Swift and Python 3.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
cd "$root"
export REGATE_FUZZ=1
build=(swift build -c release --scratch-path tools/fuzz/.build --sanitize fuzzer --sanitize address)
"${build[@]}" --product Fuzz >&2
folder=$("${build[@]}" --show-bin-path)
program=$folder/fuzz
# libFuzzer brings the main function; gold, the default, cannot link what the sanitizer adds.
swiftc -use-ld=lld -sanitize=fuzzer -sanitize=address "$folder/libFuzz.a" -lz -lopenblas -o "$program" >&2
cd tools/fuzz/.build
if [ $# -lt 2 ]; then
  unset FUZZ_TARGET
  exec "$program"
fi
target=$1 seconds=$2
shift 2

if [ ! -d "seeds/$target" ]; then
  tool=$root/.build/release/regate written=()
  [ ! -x "$tool" ] || written=(--regate "$tool")
  python3 ../seeds.py seeds "${written[@]}" >&2
  [ -d "seeds/$target" ] || {
    echo "run.sh: nothing to start from for $target; what the tool writes needs it built:" \
      "swift build -c release --product regate" >&2
    exit 1
  }
fi
mkdir -p "corpus/$target" "findings/$target"
# Leaks are not looked for: Swift's metadata live as long as the process. A malloc of more than 1 GB is
# a finding, and so is one second more than ten for an input.
export FUZZ_TARGET=$target FUZZ_FIXTURES=$root/fixtures
# A run that stops at a finding leaves its files.
FUZZ_SCRATCH=$(mktemp -d /dev/shm/regate-fuzz-XXXXXX)
export FUZZ_SCRATCH
trap 'rm -rf "$FUZZ_SCRATCH"' EXIT
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:${ASAN_OPTIONS:-}
"$program" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1600 -malloc_limit_mb=1024 \
  -max_len=49152 -dict="seeds/$target.dict" -artifact_prefix="findings/$target/" \
  -print_final_stats=1 "$@" "corpus/$target" "seeds/$target"
