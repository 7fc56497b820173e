#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, builds in release and runs every test. Extra arguments go to
# `swift test`, e.g. `tools/test.sh --filter Checkpoints`.
set -euo pipefail
cd "$(dirname "$0")/.."
tools/setup.sh
# No test needs internals: the build is the one that users get.
swift test -c release --disable-testable-imports "$@"
