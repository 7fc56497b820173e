// SPDX-License-Identifier: Apache-2.0
//
// TensorRT-LLM's static load balancer (llmapi/llm_args.py, `MoeLoadBalancerConfig`; the file that
// examples/wide_ep/ep_load_balancer writes): YAML,
//
//   num_slots                    P
//   initial_global_assignments   the model's number of each MoE layer to the expert in each slot;
//                                slots of one rank follow each other
//   layer_updates_per_iter       0: nothing moves later

import ByteStorage

enum TensorRTLLMMap: ExpertMapFile {
  private static let head = "num_slots: "
  private static let assignments = "\ninitial_global_assignments:\n"

  static func bytes(
    _ map: ExpertMap, ranks: Int, layerCount: Int, indices: [Int]
  ) -> [UInt8] {
    let lines = zip(indices, map.layers).map { index, layer in
      "  \(index): [" + layer.map(String.init).joined(separator: ", ") + "]\n"
    }
    return Array(
      (head + "\(map.layers.first?.count ?? 0)" + assignments + lines.joined()
        + "layer_updates_per_iter: 0\n").utf8)
  }

  static func isOwn(_ path: String) -> Bool {
    let most = head.utf8.count + String(Int.max).utf8.count + assignments.utf8.count
    guard let file = try? MappedFile(path: path),
      let start = try? file.bytes(in: 0..<min(file.count, most))
    else { return false }
    let text = String(decoding: start, as: UTF8.self)
    return text.hasPrefix(head) && text.contains(assignments)
  }

  static func usage(_ path: String, redundant: Int) -> String {
    "TensorRT-LLM: moe_config.load_balancer: \(path) in the options of the LLM API"
  }
}
