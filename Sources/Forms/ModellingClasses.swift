// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Checkpoints

/// The classes of the modelling files (`Modelling/*.py`) that load a model.
struct ModellingClasses {
  /// The original's, or that of its family.
  let modelType: String
  /// What their names begin with.
  let prefix: String
  /// Whether they are of a model around the family's.
  let isWrapper: Bool

  /// Those for the model that `config` is of; refuses one that they do not load.
  init(of config: JSONValue, family: Family) throws(RegateError) {
    guard let type = config["model_type"]?.stringValue else {
      throw RegateError(.missing, file: "config.json", subject: "model_type", "is not there")
    }
    guard family.hasPrototypeForm else {
      throw RegateError(
        .unsupported, subject: "`router` lpr", "has no modelling files for \(family.title)",
        advice: "use `router` stock")
    }
    // A wrapper has the keys of its parts inside them.
    isWrapper = config["hidden_size"] == nil
    if isWrapper {
      guard let wrapper = family.forms.wrapper, wrapper.modelType == type else {
        throw RegateError(
          .unsupported, file: "config.json", subject: "model_type",
          "is \"\(type)\", a multimodal wrapper for which the prototype form has no modelling files",
          advice: "use `router` stock")
      }
      modelType = type
      prefix = wrapper.classPrefix
    } else {
      guard let own = family.forms.classPrefix else {
        throw RegateError(
          .unsupported, file: "config.json", subject: "model_type",
          "is \"\(type)\", a language model by itself: the prototype form has modelling files for "
            + "the whole \(family.title) alone", advice: "use `router` stock")
      }
      modelType = family.huggingFace.modelTypes[0]
      prefix = own
    }
  }

  /// The class with the output head.
  var head: String { prefix + (isWrapper ? "ForConditionalGeneration" : "ForCausalLM") }

  /// What transformers' Auto classes for it are called.
  var headLoaders: [String] {
    ["AutoModelForCausalLM"] + (isWrapper ? ["AutoModelForImageTextToText"] : [])
  }
}
