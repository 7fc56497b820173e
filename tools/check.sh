#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Checks what no compiler does: layout, limits, scripts and documentation; then runs all tests, unless
# `--no-tests` is given. Goes on after a failure and says at the end what failed.
#
# `--sanitize [OPTION]...` runs the tests alone, on builds with sanitizers, of Swift and of C: address and
# undefined behaviour together, then threads. Options go to `swift test`. Each build takes a folder and some
# twenty minutes of its own (tools/fuzz/README.md, "Sanitizers", says what is left out and what was found).
set -uo pipefail
cd "$(dirname "$0")/.."
git rev-parse --is-inside-work-tree >/dev/null || exit 1

# Longer than a file should be: a generated table.
may_be_long='Sources/CKernels/grids.c'
longest=350

failed=()

# check NAME COMMAND...: runs the command; it fails where that does.
check() {
  local name=$1
  shift
  echo "== $name"
  "$@" || failed+=("$name")
}

# Files of the tree that match the patterns given.
files() { git ls-files --cached --others --exclude-standard -- "$@"; }

# none WHY PATTERN PATH...: fails where a line of these files matches, and shows it.
none() {
  local why=$1 pattern=$2
  shift 2
  local found
  found=$(files "$@" | xargs -r grep -nHIE -e "$pattern" --) || return 0
  echo "$found"
  echo "$why" >&2
  return 1
}

format() { swift format lint --strict --recursive Sources Tests tools/fuzz/Fuzz Package.swift; }

# Errors are thrown; casts and tries that may stop the program are not used.
stops() {
  none "stops the program: throw an error" '\bfatalError\(|\btry!|\bas! ' \
    'Sources/*.swift'
}

# A checkpoint is told apart by its `format`, exhaustively.
casts() {
  none "cast of a checkpoint: switch over its format" \
    '\b(as[?!]?|is) \(?(SafetensorsCheckpoint|GGUFCheckpoint)\b' 'Sources/*.swift'
}

paths() {
  none "path of one machine" '(^|[^A-Za-z0-9_.])/(home|root|work|Users)/' \
    '*.swift' '*.py' '*.sh' '*.md' '*.c' '*.h' '*.json' '.ci/*' ":!tools/check.sh"
}

lengths() {
  local file lines long=0
  while read -r file; do
    lines=$(wc -l <"$file")
    if [ "$lines" -gt "$longest" ] && [[ " $may_be_long " != *" $file "* ]]; then
      echo "$file: $lines lines, more than $longest"
      long=1
    fi
  done < <(files Sources | grep -E '\.(swift|c|h|py)$')
  return $long
}

# `swift format` leaves comments as they are.
comments() {
  local found
  found=$(files 'Sources/*.swift' 'Tests/*.swift' | LC_ALL=C.UTF-8 xargs grep -nHE '^.{101,}' |
    grep -E '^[^:]+:[0-9]+: *//') || return 0
  echo "$found"
  return 1
}

# A module imports what Package.swift lets it depend on, and so only rows above it. (An incremental
# build finds any module that lies in the build folder.)
imports() {
  local target="" path="" section="" line file name bad=0
  declare -A depends=() where=()
  while IFS= read -r line; do
    case "$line" in
    "    Name: "*) target=${line#"    Name: "} ;;
    "    Path: "*) path=${line#"    Path: "} where[$target]=$path ;;
    "    Target dependencies:" | "    Product dependencies:") section=dependencies ;;
    "        "*) [ "$section" = dependencies ] && depends[$target]+=" ${line#"        "}" ;;
    *) section="" ;;
    esac
  done < <(swift package describe 2>/dev/null | sed -n '/^Targets:/,$p')
  [ "${#where[@]}" -gt 20 ] || { echo "the package cannot be described" >&2; return 1; }
  for target in "${!where[@]}"; do
    while read -r file name; do
      case " ${depends[$target]:-} Foundation FoundationXML Synchronization Dispatch Testing " in
      *" $name "*) ;;
      *)
        echo "$file: $target imports $name, which Package.swift does not let it depend on"
        bad=1
        ;;
      esac
    done < <(find "${where[$target]}" -name '*.swift' -print0 |
      xargs -0 -r grep -HE '^(@[_a-z]+ )?(public |package |internal )?import ' |
      awk -F: '{ name = $2; sub(/.*import /, "", name); sub(/^[a-z]+ /, "", name)
                 sub(/[.].*/, "", name); print $1, name }')
  done
  return $bad
}

shell() {
  local file bad=0
  for file in $(files '*.sh') .ci/run; do bash -n "$file" || bad=1; done
  return $bad
}

no_python() { ! command -v python3 >/dev/null && echo "no python3: skipped"; }

# Where there is Python: its syntax, and ruff's findings where there is ruff.
python() {
  no_python && return 0
  local bad=0
  files '*.py' | xargs python3 -c '
import ast, sys
for path in sys.argv[1:]:
    ast.parse(open(path, encoding="utf-8").read(), path)' || bad=1
  if command -v ruff >/dev/null; then
    files '*.py' | xargs ruff check --quiet --isolated --select E4,E7,E9,F,W || bad=1
  fi
  return $bad
}

# The site can be made, without a warning.
documentation() {
  local folder status
  folder=$(mktemp -d)
  tools/docs.sh "$folder/site"
  status=$?
  rm -rf "$folder"
  return $status
}

# Where there is Python: the functions of its package are those that the program's options make.
functions() {
  no_python && return 0
  python3 -c '
import sys
sys.path.insert(0, "tools/python")
import commands
sys.exit(commands.text(sys.argv[1]) != commands.OUTPUT.read_text(encoding="utf-8"))' \
    .build/release/regate && return 0
  echo "run python3 tools/python/commands.py .build/release/regate"
  return 1
}

# Where there is Python: what the guides tell to type prints what they say. Figures depend on the
# processor, and are left to a run by hand.
pages() { no_python || python3 tools/docs/run_pages.py --words; }

# sanitized NAME OPTION...: the tests on a build of its own in .build-sanitize-NAME. Leaks are not looked
# for: Swift's metadata live as long as the process. Threads of OpenBLAS are not instrumented, and the
# storage of empty arrays is one for all, into which the standard library writes its length, 0.
sanitized() {
  local name=$1
  shift
  export ASAN_OPTIONS=detect_leaks=0:abort_on_error=1
  local folder=$PWD/.build-sanitize-$name
  mkdir -p "$folder"
  echo 'race:_swiftEmptyArrayStorage' >"$folder/suppressions"
  export TSAN_OPTIONS=halt_on_error=1:suppressions=$folder/suppressions OPENBLAS_NUM_THREADS=1
  swift test -c release --disable-testable-imports --scratch-path "$folder" "$@"
}

# C's undefined behaviour stops the program by itself: Swift's compiler links no runtime to report it.
undefined=(-Xcc -fsanitize=undefined -Xcc -fsanitize-trap=undefined)

if [ "${1:-}" = --sanitize ]; then
  shift
  tools/setup.sh
  check "tests, address and undefined behaviour" sanitized address --sanitize address "${undefined[@]}" "$@"
  check "tests, threads" sanitized thread --sanitize thread -Xswiftc -DREGATE_THREAD_SANITIZER "$@"
  [ ${#failed[@]} -eq 0 ] || { printf 'FAILED: %s\n' "${failed[@]}" >&2; exit 1; }
  exit
fi

check "layout of the Swift sources" format
check "sources throw instead of stopping" stops
check "checkpoints are not cast" casts
check "no path of one machine" paths
check "no file above $longest lines" lengths
check "no comment beyond 100 columns" comments
check "modules import what they depend on" imports
check "shell scripts" shell
check "Python" python
check "documentation" documentation
# On the program that the documentation is made from.
check "functions for Python" functions
check "commands of the guides" pages
[ "${1:-}" = --no-tests ] || check "tests" tools/test.sh

if [ ${#failed[@]} -gt 0 ]; then
  echo
  printf 'FAILED: %s\n' "${failed[@]}" >&2
  exit 1
fi
echo
echo "All checks passed."
