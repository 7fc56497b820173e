# SPDX-License-Identifier: Apache-2.0
"""What llama-perplexity printed."""

import re


def perplexity(log):
    """The final estimate, or None. The program may end before its log has written the last line; the
    running estimate of the last chunk is the same number."""
    if found := re.search(r"Final estimate: PPL = ([\d.]+)", log):
        return float(found[1])
    if (count := re.search(r"over (\d+) chunks", log)) and (
            found := re.search(rf"\[{count[1]}\]([\d.]+),", log)):
        return float(found[1])
    return None
