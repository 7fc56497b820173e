# SPDX-License-Identifier: Apache-2.0
"""Serves checkpoints of Regate's prototype form in vLLM's and SGLang's own model classes.

Their gate is replaced, not their routing: see `regate_serving.gate`. `form` holds the two Python
files that lie beside every such checkpoint, from the same source.
"""
