// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
package import Checkpoints
package import OrderedCollections

/// What a container does with a patched checkpoint. A new container is one more type.
package protocol CheckpointWriter {
  /// The files of the weights, and the index where there is one.
  func files() throws(RegateError) -> [OutputFile]

  /// The files that belong beside the weights of an output directory, but for those that Regate
  /// makes anew: nothing, for a container whose files stand alone.
  func sideFiles(_ own: OwnFiles) throws(RegateError) -> [OutputFile]

  /// The ranges that change where the files stay the same files; refused where a file would have to
  /// grow.
  func inPlace() throws(RegateError) -> PatchSet

  /// Opens the output whose files lie in `folder`.
  func open(in folder: String) throws(RegateError) -> any Checkpoint
}

/// Files that Regate makes for an output directory.
package struct OwnFiles {
  /// By name; they take the place of files of the original.
  package var made: OrderedDictionary<String, [UInt8]> = [:]
  /// Names that an output has no use for.
  package var leftOut: Set<String> = []
  /// What the model card tells of; nil: the card stays as it is.
  package var manifest: Manifest?
}
