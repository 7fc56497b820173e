#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs the two system libraries that Regate links against, where they are missing.
set -euo pipefail

if ! command -v swift >/dev/null; then
  echo "Swift 6.2 or newer is needed: https://www.swift.org/install" >&2
  exit 1
fi
case "$(uname -s)" in
Linux)
  missing=()
  for package in libz-dev libopenblas-dev pkg-config; do
    installed=$package
    [ "$package" = libz-dev ] && installed=zlib1g-dev
    dpkg-query -W -f '${Status}' "$installed" 2>/dev/null | grep -q 'ok installed' ||
      missing+=("$package")
  done
  if [ ${#missing[@]} -gt 0 ]; then
    echo "Installing ${missing[*]} ..." >&2
    sudo=
    [ "$(id -u)" -eq 0 ] || sudo=sudo
    export DEBIAN_FRONTEND=noninteractive
    $sudo apt-get update -qq
    $sudo apt-get install -y -qq "${missing[@]}" >/dev/null
  fi
  ;;
Darwin)
  for package in openblas pkg-config; do
    brew list "$package" >/dev/null 2>&1 || brew install "$package"
  done
  ;;
esac
