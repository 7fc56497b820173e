// SPDX-License-Identifier: Apache-2.0

/// Which tokens llama.cpp finds in the text itself: those of the stored types, and others by their
/// text, which older converters marked as normal.
struct GGUFControlTokens {
  enum Kind { case normal, control, userDefined }

  /// These end a turn or surround code to fill in, and are control tokens.
  private static let control: Set<String> = [
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>",
    "<end_of_turn>", "<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]",
    "<|end_of_text|>", "<end_of_utterance>", "<eos>", "<turn|>", "<|tool_response>",
    "<｜end▁of▁sentence｜>", "[e~[", "<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>",
    "<｜fim▁begin｜>", "<PRE>", "▁<PRE>", "<|code_prefix|>", "<|prefix|>", "<|fim_suffix|>",
    "<fim-suffix>", "<fim_suffix>", "<｜fim▁hole｜>", "<SUF>", "▁<SUF>", "<|code_suffix|>",
    "<|suffix|>", "<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<｜fim▁end｜>", "<MID>",
    "▁<MID>", "<|code_middle|>", "<|middle|>", "<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>",
    "[PAD]", "<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>",
    "<|file_sep|>",
  ]
  /// These of gpt-oss are found in any text.
  private static let harmony: Set<String> = [
    "<|channel|>", "<|message|>", "<|start|>", "<|constrain|>",
  ]

  /// "</s>" is a normal token next to some others.
  private let endIsNormal: Bool
  /// "<|end|>" does not end a turn next to some others, and is found in any text.
  private let endIsText: Bool
  private let stripsBeforeMask: Bool
  private let stripsAfter: Bool

  /// For a vocabulary with these `texts`, of the `model` and `preTokenizer` of these names.
  init(_ texts: [String], model: String, preTokenizer: String) {
    let all = Set(texts)
    endIsNormal = all.contains("<|tool_response>") || all.contains("<|plamo:eos|>")
    let calls = all.contains("<|call|>") || all.contains("<|calls|>")
    endIsText = calls && (all.contains("<|return|>") || all.contains("<|flush|>"))
    stripsBeforeMask = ["jina-v2-de", "jina-v2-es", "jina-v2-code"].contains(preTokenizer)
    let model = model.lowercased()
    stripsAfter = model.contains("phi-3") || model.contains("phi3")
  }

  /// The token to find for `text`, which is stored as of this kind; nil where it is none.
  func token(_ text: String, id: Int, stored: Kind) -> AddedToken? {
    let kind = kind(text, stored)
    guard kind != .normal else { return nil }
    let stays = ["<unk>", "<s>", "<|endoftext|>"].contains(text)
    return AddedToken(
      content: Array(text.utf8), id: UInt32(id), isSpecial: kind == .control,
      stripsLeft: stripsBeforeMask && text == "<mask>", stripsRight: stripsAfter && !stays)
  }

  private func kind(_ text: String, _ stored: Kind) -> Kind {
    if GGUFControlTokens.harmony.contains(text) { return .userDefined }
    if text == "<|end|>", endIsText { return .userDefined }
    if text == "</s>", endIsNormal { return .normal }
    return GGUFControlTokens.control.contains(text) ? .control : stored
  }
}
