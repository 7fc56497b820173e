# SPDX-License-Identifier: Apache-2.0
"""Renders chats with a model's own template: {"messages": ...} lines to {"text": ...} lines.

Needs transformers. Usage: python tools/render_chat.py MODEL INPUT.jsonl OUTPUT.jsonl
MODEL is the folder of a checkpoint (or a name that transformers knows) whose tokenizer has a chat
template. The template writes the special tokens into the text, and Regate recognises them there;
a beginning token that Regate adds by itself is taken off, so that it is not there twice.
"""

import argparse
import json

from transformers import AutoTokenizer


def render(tokenizer, line, number):
    record = json.loads(line)
    if not isinstance(record, dict) or "messages" not in record:
        raise SystemExit(f"line {number}: no \"messages\"")
    options = {"tools": record["tools"]} if record.get("tools") else {}
    text = tokenizer.apply_chat_template(record["messages"], tokenize=False, **options)
    start = tokenizer.bos_token
    adds_start = start and tokenizer("x").input_ids[:1] == [tokenizer.bos_token_id]
    return text.removeprefix(start) if adds_start else text


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("input")
    parser.add_argument("output")
    arguments = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    if not tokenizer.chat_template:
        raise SystemExit(f"{arguments.model}: the tokenizer has no chat template")
    with open(arguments.input, encoding="utf-8") as chats, \
            open(arguments.output, "w", encoding="utf-8") as texts:
        for number, line in enumerate(chats, 1):
            if line.strip():
                text = render(tokenizer, line, number)
                texts.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
