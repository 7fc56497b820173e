#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The long trials of what happens when something goes wrong meanwhile: the tests' conversions, reverts
# and deltas that are killed many times, and tools/soak/campaign.py, which disturbs the writing commands
# (Linux, with Python 3; it mounts, so sudo may ask). Arguments go to the latter; tools/soak/README.md
# has figures.
set -euo pipefail
cd "$(dirname "$0")/.."
REGATE_SOAK=1 tools/test.sh --filter KillTests
swift build -c release --product regate
sudo=
[ "$(id -u)" -eq 0 ] || sudo=sudo
exec $sudo "$(command -v python3)" tools/soak/campaign.py --regate .build/release/regate "$@"
