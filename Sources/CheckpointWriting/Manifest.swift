// SPDX-License-Identifier: Apache-2.0
//
// What `regate.json` says beside an output: who made it of what, with which options, what held-out
// tokens said, which expert lies where, what the original said of itself if it was an output too,
// and the size and hash of every file.

package import Architectures
import ByteStorage
package import Checkpoints
package import ExpertMaps
package import Forms
package import ModelFitting
package import OrderedCollections

package struct Manifest: Sendable {
  /// What was done to the checkpoint.
  package enum Deed: Sendable {
    /// New routers, and clones where the fit has some. `fitFile`: the file that the fit was read
    /// from.
    case conversion(ModelFit, form: RouterForm, fitFile: String?)
    /// Experts were renumbered by a load that came from `source`.
    case placement(ExpertMap, source: String)
  }

  /// A file of the output.
  package struct File: Sendable {
    package let name: String
    package let byteCount: Int
    package let sha256: String

    package init(name: String, byteCount: Int, sha256: String) {
      self.name = name
      self.byteCount = byteCount
      self.sha256 = sha256
    }
  }

  package let deed: Deed
  /// File name of the original.
  package let source: String
  package let family: String
  package let container: Container
  /// The form of the output's routers.
  package let form: RouterForm
  /// The manifest of the original, where that is an output of Regate itself.
  package let before: JSONValue?
  /// For each changed layer, its number and the expert of the original in each place.
  package let layers: [(index: Int, physicalToLogical: [Int])]

  package init(_ deed: Deed, of model: Model, patches: [LayerPatch]) {
    self.deed = deed
    source = model.checkpoint.path.lastPathComponent
    family = model.layout.family.name
    container = model.checkpoint.container
    form =
      switch deed {
      case .conversion(_, let form, _): form
      case .placement: model.form
      }
    before = Manifest.earlier(of: model)
    layers = patches.map { ($0.layer.index, $0.physicalToLogical) }
  }

  /// The name of what was done to the routers, as options name it.
  package var router: String {
    switch deed {
    case .conversion where !layers.isEmpty: form.rawValue
    case .conversion, .placement: "unchanged"
    }
  }

  /// The manifest without its files.
  package var json: JSONValue {
    var json: JSONValue = [
      "regate": .string(RegateVersion.current), "manifest": .integer(RegateVersion.manifest),
      "router": .string(router), "source": .string(source), "family": .string(family),
      "container": .string(container.rawValue), "options": options, "figures": figures,
      "layers": .array(
        layers.map { layer in
          [
            "index": .integer(layer.index),
            "physical_to_logical": .array(layer.physicalToLogical.map { .integer($0) }),
          ]
        }),
    ]
    if let before { json["before"] = before }
    return json
  }

  /// Whether this is a manifest, of any version.
  package static func isManifest(_ json: JSONValue) -> Bool {
    json["regate"]?.stringValue != nil && json["manifest"]?.intValue != nil
  }

  /// The manifest with size and hash of every file.
  package func json(files: [File]) -> JSONValue {
    var json = json
    json["files"] = .array(
      files.map {
        [
          "name": .string($0.name), "bytes": .integer($0.byteCount), "sha256": .string($0.sha256),
        ]
      })
    return json
  }

  package var options: JSONValue {
    switch deed {
    case .conversion(let fit, _, let file):
      var options = fit.origin.json
      options["fit"] = .optional(file)
      return options
    case .placement(let map, let source):
      return [
        "ranks": .array(map.imbalance.map { .integer($0.ranks) }),
        "redundant": .integer(map.redundant), "load": .string(source),
      ]
    }
  }

  private var figures: JSONValue {
    switch deed {
    case .conversion(let fit, let form, _): fit.json(form)
    case .placement(let map, _): ["rank_max_over_mean": map.imbalanceJSON]
    }
  }

  /// What a GGUF's header says of its making, nil for keys that go: a conversion leaves none of an
  /// earlier one, a placement leaves all of them.
  package var provenance: OrderedDictionary<String, GGUFValue?> {
    switch deed {
    case .conversion(let fit, let form, _):
      [
        "regate.version": .string(RegateVersion.current), "regate.router": .string(router),
        "regate.source": .string(source), "regate.options": .string(options.serialisedText),
        "regate.held_out_gini": fit.heldOutGini(form).map { .float32(Float($0)) },
        "regate.placement": nil,
      ]
    case .placement:
      [
        "regate.placement": .string(
          ([
            "regate": .string(RegateVersion.current), "source": .string(source),
            "options": options, "figures": figures,
          ] as JSONValue).serialisedText)
      ]
    }
  }
}

extension JSONValue {
  fileprivate var serialisedText: String {
    String(decoding: serialised(.compact), as: UTF8.self)
  }
}
