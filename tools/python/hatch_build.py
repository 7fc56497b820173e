# SPDX-License-Identifier: Apache-2.0
"""Makes the wheel one of a platform, with the program in it: `tools/release.sh` says which.

Without REGATE_PROGRAM it is one of Python alone, for machines that have the program in PATH or only
serve with the plugins.
"""

import os

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ProgramHook(BuildHookInterface):
    def initialize(self, version, build_data):
        if program := os.environ.get("REGATE_PROGRAM"):
            build_data["shared_scripts"][program] = "regate"
            build_data["sbom_files"].append(os.environ["REGATE_SBOM"])
            build_data["pure_python"] = False
            build_data["tag"] = "py3-none-" + os.environ["REGATE_PLATFORM"]
