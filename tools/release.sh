#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes a release of the commit that is checked out, for Linux on x86-64: an archive with the program,
# its manual and completions, a wheel for Python, a list of what is in them, and their SHA-256 sums.
# The program needs nothing but glibc. Two runs give the same bytes.
#
#   tools/release.sh OUTPUT [--twice]
#
# OUTPUT is a folder that is made. --twice makes it all again in another place and compares. Runs on
# Debian 12, which is the oldest system that it is for; installs what is missing there through apt.
# tools/release/check.sh tries the result where nothing is installed.
set -euo pipefail

stop() {
  echo "release.sh: $*" >&2
  exit 1
}

case $#,${1:-},${2:-} in
1,[!-]*, | 2,[!-]*,--twice) ;;
*) stop "give a folder for the release, and nothing else or --twice" ;;
esac
output=$(realpath -m "$1")
cd "$(dirname "$0")/.."
umask 022
export LC_ALL=C.UTF-8 TZ=UTC

# No symbol of a newer glibc than Debian 12's.
floor=2.36

[ ! -e "$output" ] || stop "$output is there already"
[ "$(uname -sm)" = "Linux x86_64" ] || stop "only Linux on x86-64 is released"
. /etc/os-release
[ "$ID$VERSION_ID" = debian12 ] || stop "built on Debian 12 only, this is ${PRETTY_NAME:-$ID}"
git diff --quiet HEAD || echo "Changes that are not committed are not in the release." >&2
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/source" "$work/libraries"
git archive HEAD | tar -x -C "$work/source"
source=$work/source build=$work/build release=$work/source/tools/release

# exact NAME: the version that stands in tools/release/versions.
exact() { awk -v name="$1" '$1 == name { print $2 }' "$release/versions"; }

# The Swift packages in exactly these versions: Package.swift only says from which on.
resolve() {
  local name version said
  said=$(swift --version 2>&1)
  [[ $said = *"swift-$(exact swift)-RELEASE"* ]] ||
    stop "Swift $(exact swift) is wanted, this is $said"
  local swift=(swift package --package-path "$source" --scratch-path "$build")
  "${swift[@]}" resolve
  pins "$source/Package.resolved" >"$work/pins"
  while read -r name version; do
    [ "$(exact "$name")" = "$version" ] || "${swift[@]}" resolve "$name" --version "$(exact "$name")"
  done <"$work/pins"
  pins "$source/Package.resolved" >"$work/pins"
  grep -E '^swift-' "$release/versions" | diff - "$work/pins" ||
    stop "the packages are not those of tools/release/versions"
}

pins() {
  python3 -c 'import json, sys
for pin in json.load(open(sys.argv[1]))["pins"]: print(pin["identity"], pin["state"]["version"])' "$1"
}

# A folder in which the linker finds static libraries only, and no others of their names.
libraries() {
  local folder=$work/libraries name
  ln -s "$(pkg-config --variable=libdir openblas)/libopenblas.a" "$folder"
  ln -s "$(pkg-config --variable=libdir zlib)/libz.a" "$folder"
  ln -s "$(gcc -print-file-name=libstdc++.a)" "$folder"
  for name in openblas z stdc++; do
    [ -s "$folder/lib$name.a" ] || stop "no static lib$name.a: $(readlink "$folder/lib$name.a")"
  done
  clang -O2 -c "$release/fortran.c" -o "$work/fortran.o"
  printf 'Name: openblas\nDescription: static\nVersion: 0\nCflags: %s\nLibs: -L%s -lopenblas\n' \
    "$(pkg-config --cflags openblas)" "$folder" >"$work/openblas.pc"
  printf 'Name: zlib\nDescription: static\nVersion: 0\nLibs: -L%s -lz\n' "$folder" >"$work/zlib.pc"
}

# Paths of this build are written as /regate wherever a compiler writes some.
compile() {
  PKG_CONFIG_PATH=$work swift build -c release --product regate --static-swift-stdlib \
    --package-path "$source" --scratch-path "$build" \
    -Xcc "-ffile-prefix-map=$work=/regate" -Xswiftc -file-prefix-map -Xswiftc "$work=/regate" \
    -Xswiftc -use-ld=lld -Xswiftc -Xclang-linker -Xswiftc -static-libgcc \
    -Xlinker "-L$work/libraries" -Xlinker "$work/fortran.o" \
    -Xlinker --no-export-dynamic -Xlinker --strip-all -Xlinker --build-id=none
}

# Hashes of the modules' interfaces are all that depends on the folder, and nothing reads them in a
# program: zeros.
forget_folder() {
  local offset size
  read -r offset size < <(readelf -SW "$1" |
    awk '{ sub(/^ *\[ *[0-9]+\] */, "") } $1 == ".swift_modhash" { print $4, $5 }')
  dd if=/dev/zero of="$1" bs=1 seek=$((16#$offset)) count=$((16#$size)) conv=notrunc status=none
  if grep -qaF "$work" "$1"; then stop "the program has a path of its build in it"; fi
}

# Says the newest version of glibc that the program names, or stops.
glibc() {
  local needed newest
  needed=$(readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' |
    grep -vE '^(libc|libm|libdl|libpthread|librt|ld-linux-x86-64)\.so\.[0-9]+$' || true)
  [ -z "$needed" ] || stop "the program needs more than glibc: $needed"
  newest=$(readelf -V "$1" | grep -oE 'GLIBC_[0-9.]+' | sed 's/GLIBC_//' | sort -Vu | tail -1)
  [ "$(printf '%s\n' "$newest" "$floor" | sort -V | tail -1)" = "$floor" ] ||
    stop "the program needs glibc $newest, newer than $floor"
  echo "$newest"
}

tools/setup.sh
resolve
libraries
compile
program=$build/release/regate
forget_folder "$program"
newest=$(glibc "$program")
version=$("$program" --version)
grep -qF "version = \"$version\"" "$source/tools/python/pyproject.toml" ||
  stop "tools/python/pyproject.toml has another version than the program: $version"

"$release/package.sh" "$work" "$newest"

if [ "${2:-}" = --twice ]; then
  tools/release.sh "$work/again"
  diff -r "$work/release" "$work/again" || stop "two builds differ"
  echo "Two builds gave the same bytes."
fi
mkdir -p "$(dirname "$output")"
mv "$work/release" "$output"
echo "$output: regate $version, for glibc $newest or newer"
ls -l "$output"
