#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The long variants of the tests: conversions, reverts and deltas that are killed many times. Extra
# arguments go to `swift test` instead of the choice of those tests.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- --filter KillTests
REGATE_SOAK=1 exec tools/test.sh "$@"
