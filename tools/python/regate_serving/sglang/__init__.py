# SPDX-License-Identifier: Apache-2.0
"""SGLang's external model package: SGLANG_EXTERNAL_MODEL_PACKAGE=regate_serving.sglang"""
