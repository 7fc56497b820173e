#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes the documentation: a static site of the guides and of the library, from the release build that
# the tests use too. Warnings are errors.
#
#   tools/docs.sh OUTPUT [BASE]
#
# OUTPUT is a folder for the site. BASE is the path below which a server has it, such as /regate;
# without, the site is the whole of its host. tools/docs/run_pages.py runs what the guides tell to type.
set -euo pipefail
[ $# -ge 1 ] || { echo "docs.sh: give a folder for the site" >&2; exit 1; }
output=$(realpath -m "$1")
base=${2:-/}
cd "$(dirname "$0")/.."
tools/setup.sh
swift build -c release --product regate
# Beside the compiler, which may be all of the toolchain that is in the path.
docc=$(command -v docc || echo "$(dirname "$(readlink -f "$(command -v swift)")")/docc")
build=$(swift build -c release --show-bin-path)
triple=$(swift -print-target-info | sed -n 's/.*"unversionedTriple": "\(.*\)".*/\1/p' | head -1)
graphs=$(mktemp -d)
trap 'rm -rf "$graphs"' EXIT
modules=(-I "$build/Modules")
for module in CKernels CSystem; do
  modules+=(-I "Sources/$module/include" -Xcc "-fmodule-map-file=$build/$module.build/module.modulemap")
done
for module in COpenBLAS CZlib; do modules+=(-I "Sources/$module"); done
# The types of other modules that come with the library are documented as its own.
exported=$(sed -nE 's/^@_exported public import [a-z]+ ([A-Za-z]+)[.].*/\1/p' \
  Sources/RegateKit/RegateKit.swift | sort -u | paste -sd, -)
swift symbolgraph-extract -module-name RegateKit -target "$triple" "${modules[@]}" \
  -experimental-allowed-reexported-modules="$exported" \
  -minimum-access-level public -output-dir "$graphs"
"$docc" convert Sources/RegateKit/RegateKit.docc --additional-symbol-graph-dir "$graphs" \
  --fallback-display-name RegateKit --fallback-bundle-identifier regate.RegateKit \
  --transform-for-static-hosting --hosting-base-path "$base" \
  --warnings-as-errors --output-dir "$output"
# The site's own first page; DocC's lies deeper.
echo '<!doctype html><meta http-equiv="refresh" content="0; url=documentation/regatekit/">' \
  >"$output/index.html"
