# SPDX-License-Identifier: Apache-2.0
# What the checks of engines share: a trial of four captured parts and two ranges of layers, of which
# one capture and one fit are killed in the middle and one capture loses its node, and the comparison
# with one machine. To be read by a script in this folder.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
regate=${REGATE:-$root/.build/release/regate}
model=${1:-$root/fixtures/tiny-qwen3-moe}
traffic=${2:-$root/fixtures/tiny-text/calibration.txt}
work=$(mktemp -d)

# prepare LINES: writes the settings of the trial, whose program meets faults; LINES say what a node is.
prepare() {
  [ -x "$regate" ] || (cd "$root" && tools/setup.sh && swift build -c release --product regate)
  mkdir -p "$work/faults"
  echo kill >"$work/faults/part-2-4"
  echo node >"$work/faults/part-3-4"
  echo kill >"$work/faults/layers-1-2"
  cat >"$work/settings.sh" <<END
REGATE=$work/regate
MODEL=$model
TRAFFIC=($traffic)
WORK=$work/run
OUTPUT=$work/balanced
PARTS=4
RANGES=2
CAPTURE_OPTIONS=(--max-tokens 65536 --threads 1 --quiet)
FIT_OPTIONS=(--threads 1 --quiet)
CONVERT_OPTIONS=(--quiet)
END
  cat >"$work/regate" <<END
#!/usr/bin/env bash
export REGATE=$regate FAULTS=$work/faults
$1
exec bash $root/tools/cluster/check/faulty.sh "\$@"
END
  chmod +x "$work/regate"
}

# names SUFFIX: the faults for which there is such a file.
names() { (cd "$work/faults" && find . -name "*.$1" -printf '%f ' | sed -E "s/[.]$1//g; s/ $//"); }

# compare: whether every fault was met, and one machine makes the same fit and the same copy.
compare() {
  local met
  met=$(find "$work/faults" -name '*.met' | wc -l)
  [ "$met" = 3 ] || { echo "of 3 faults $met were met" >&2; return 1; }
  echo "Killed or lost in the middle: $(names met). Of these had kept a state: $(names kept)."
  "$regate" fit "$model" --calibration "$work/run/captures" --quiet --output "$work/one.fit" >/dev/null
  "$regate" convert "$model" --fit "$work/one.fit" --quiet --output "$work/one" >/dev/null
  (cd "$work" && sha256sum run/model.fit one.fit)
  cmp "$work/run/model.fit" "$work/one.fit"
  # They name the fit.
  diff -r --exclude regate.json --exclude README.md "$work/balanced" "$work/one"
  echo "The fit of many machines is the fit of one, byte for byte."
}
