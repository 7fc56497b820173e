#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Puts a release together from the program that tools/release.sh has built; that calls it.
#
#   tools/release/package.sh WORK GLIBC
#
# WORK has the commit's files in `source` and the program's build in `build`, and gets the release in
# `release`. GLIBC is the version that the program needs, for the wheel's name.
set -euo pipefail
work=$1 newest=$2
source=$work/source build=$work/build release=$work/source/tools/release
version=$("$build/release/regate" --version)
name=regate-$version-linux-x86_64
hatchling=$(awk '$1 == "hatchling" { print $2 }' "$release/versions")
# The folder of the toolchain, of which `swift` may only be a link or a wrapper.
toolchain=$(swift -print-target-info |
  sed -n 's|.*"runtimeResourcePath": "\(.*\)/lib/swift".*|\1|p')

# Texts that a copy of what is linked has to come with.
licences() {
  local package empty
  mkdir "$1"
  cp "$release/licences.txt" "$1/README.txt"
  cp "$source/.github/LICENSE" "$1/LICENSE"
  cp "$toolchain/share/swift/LICENSE.txt" "$1/swift.txt"
  for package in "$build"/checkouts/*/; do
    find "$package" -maxdepth 1 \( -name 'LICENSE*' -o -name 'NOTICE*' \) | sort | xargs -r cat \
      >"$1/$(basename "$package").txt"
  done
  for package in libopenblas-pthread-dev zlib1g-dev libstdc++-12-dev; do
    cp "/usr/share/doc/$package/copyright" "$1/$package.txt"
  done
  empty=$(find "$1" -type f -empty)
  [ -z "$empty" ] || { echo "package.sh: no licence text: $empty" >&2; exit 1; }
}

manual() {
  # argument-parser's own generator, of the version that is linked.
  swift build --product generate-manual --scratch-path "$work/manual" \
    --package-path "$build/checkouts/swift-argument-parser"
  mkdir -p "$2"
  "$work/manual/debug/generate-manual" "$1" --multi-page --output-directory "$2" \
    --date "$(date -u -d "@$SOURCE_DATE_EPOCH" +%F)"
  # It leaves paragraphs apart by empty lines, which mdoc warns of.
  sed -i 's/^$/.Pp/' "$2"/*.1
}

archive() {
  tar -C "$work/stage" --sort=name --owner=0 --group=0 --numeric-owner --format=gnu \
    --mode=u+rwX,go+rX,go-w --mtime="@$SOURCE_DATE_EPOCH" -c "$1" | gzip -n -9
}

wheel() {
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" -q install --disable-pip-version-check "hatchling==$hatchling"
  cp -r "$1/share/doc/regate/licences" "$source/tools/python/licences"
  (cd "$source/tools/python" &&
    REGATE_PROGRAM=$1/bin/regate REGATE_SBOM=$1/share/doc/regate/sbom.spdx.json \
      REGATE_PLATFORM=manylinux_${2//./_}_x86_64 "$work/venv/bin/python" -m hatchling build \
      -t wheel -d "$work/release")
}

stage=$work/stage/$name
share=$stage/share
mkdir -p "$stage/bin" "$share/doc/regate" "$share/bash-completion/completions" \
  "$share/zsh/site-functions" "$share/fish/vendor_completions.d" "$work/release"
install -m 755 "$build/release/regate" "$stage/bin/regate"
"$stage/bin/regate" --generate-completion-script bash >"$share/bash-completion/completions/regate"
"$stage/bin/regate" --generate-completion-script zsh >"$share/zsh/site-functions/_regate"
"$stage/bin/regate" --generate-completion-script fish >"$share/fish/vendor_completions.d/regate.fish"
manual "$stage/bin/regate" "$share/man/man1"
# What is to be read, and the model of the tutorial, where README and the tutorial have them.
python3 "$release/documents.py" "$source" "$share/doc/regate"
mkdir -p "$share/doc/regate/fixtures/tiny-qwen3-moe-data"
cp -r "$source/fixtures/tiny-qwen3-moe" "$share/doc/regate/fixtures/"
cp "$source"/fixtures/tiny-qwen3-moe-data/{calibration,heldout}.npy \
  "$share/doc/regate/fixtures/tiny-qwen3-moe-data/"
licences "$share/doc/regate/licences"
python3 "$release/sbom.py" "$stage/bin/regate" "$build/release/regate.product/Objects.LinkFileList" \
  "$build" "$release/versions" "$SOURCE_DATE_EPOCH" >"$share/doc/regate/sbom.spdx.json"
archive "$name" >"$work/release/$name.tar.gz"
cp "$share/doc/regate/sbom.spdx.json" "$work/release/$name.spdx.json"
wheel "$stage" "$newest"
(cd "$work/release" && sha256sum -- * >SHA256SUMS)

