#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Tries a release of tools/release.sh as a new user would: the archive in a bare Debian 12, without
# Swift, OpenBLAS or Python, the wheel in an empty environment of this machine's Python.
#
#   sudo tools/release/check.sh RELEASE [ROOT]
#
# ROOT is the folder of such a system, which is made with debootstrap where it is not there; without,
# in a place of its own, which goes away. Needs root.
set -euo pipefail
release=$(realpath "$1")
work=$(mktemp -d)
# A root that was not finished may still have /proc in it.
trap '! mountpoint -q "$work/debian/proc" || umount "$work/debian/proc"; rm -rf --one-file-system "$work"' EXIT
root=$(realpath -m "${2:-$work/debian}")

(cd "$release" && sha256sum --check --quiet SHA256SUMS)
archive=$(ls "$release"/regate-*-linux-x86_64.tar.gz)
wheel=$(ls "$release"/regate-*.whl)

if [ ! -d "$root" ]; then
  echo "== A bare Debian 12"
  debootstrap --variant=minbase bookworm "$root" >"$work/debootstrap.log"
fi
cat >"$work/job.sh" <<'JOB'
set -euo pipefail
for name in swift python3 cc; do
  ! command -v "$name" || { echo "the system is not bare" >&2; exit 1; }
done
found=$(find / -xdev '(' -name 'libopenblas*.so*' -o -name 'libgfortran*.so*' ')')
[ -z "$found" ] || { echo "the system is not bare: $found" >&2; exit 1; }
tar -xzf /regate.tar.gz -C /usr/local --strip-components=1
echo "regate $(regate --version)"
cd /usr/local/share/doc/regate
model=fixtures/tiny-qwen3-moe data=fixtures/tiny-qwen3-moe-data
start=$(date +%s.%N)
regate convert $model --calibration $data/calibration.npy --output /tmp/balanced --overwrite
echo "$(date +%s.%N) $start" | awk '{ printf "A balanced model after %.1f s.\n", $1 - $2 }'
regate validate $model /tmp/balanced --calibration $data/heldout.npy --max-gini 0.2
rm -r /tmp/balanced
JOB
echo "== The archive in $root"
cp "$archive" "$root/regate.tar.gz"
cp "$work/job.sh" "$root/job.sh"
# /proc as everywhere, for this run alone: Swift reads a program's arguments there.
unshare -m bash -c 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"' "$root" \
  /usr/bin/env -i PATH=/usr/local/bin:/usr/bin:/bin bash /job.sh
rm "$root/regate.tar.gz" "$root/job.sh"

echo "== Manual and completions"
tar -xzf "$archive" -C "$work" --strip-components=1
bash -n "$work/share/bash-completion/completions/regate"
for shell in zsh fish; do
  command -v $shell >/dev/null || { echo "no $shell: not looked at"; continue; }
  $shell -n "$(find "$work/share" -path "*$shell*" -type f)"
done
man -l "$work/share/man/man1/regate.1" >/dev/null

echo "== The wheel in an empty environment"
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install --disable-pip-version-check --no-index "$wheel"
cmp "$work/bin/regate" "$work/venv/bin/regate"
cd "$work/share/doc/regate"
"$work/venv/bin/python" - "$work/balanced" <<'PYTHON'
import sys
import regate
model, data, output = "fixtures/tiny-qwen3-moe", "fixtures/tiny-qwen3-moe-data", sys.argv[1]
shares = []
regate.convert(model, calibration=f"{data}/calibration.npy", output=output,
               progress=lambda progress: shares.append(progress.share))
report = regate.validate(model, output, calibration=f"{data}/heldout.npy", max_gini=0.2)
assert shares[0] == 0 and shares[-1] == 1, shares
print(f"{regate.program()}: {len(shares)} times progress, {len(report['layers'])} layers validated")
PYTHON
said=$("$work/venv/bin/regate-capture" 2>&1 || true)
[[ $said = *"pip install"* ]] || { echo "regate-capture does not say what it needs: $said" >&2; exit 1; }
echo "The release works."
