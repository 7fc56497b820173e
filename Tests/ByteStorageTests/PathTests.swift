// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Testing

@Test(arguments: [
  ("a", ".", "a"), ("é", ".", "é"), ("/", "/", "/"), ("a/", ".", "a"), ("/a", "/", "a"),
  ("", ".", ""), ("..", ".", ".."), (".", ".", "."), ("a//b", "a", "b"), ("./a", ".", "a"),
  ("//a", "/", "a"), ("a/b//", "a", "b"), ("///", "/", "/"), ("a/../b", "a/..", "b"),
  // A slash and a combining accent are one character to Swift, two bytes of a path to the system.
  ("a/\u{301}b", "a", "\u{301}b"),
])
func `a path has a folder and a last component`(path: String, folder: String, name: String) {
  #expect(path.directory == folder)
  #expect(path.lastPathComponent == name)
}

@Test(arguments: [
  ("a.gguf", "gguf", "a"), ("a", "", "a"), ("x/m-1.7B.gguf", "gguf", "x/m-1.7B"),
  ("a.b/c", "", "a.b/c"), (".npy", "", ".npy"), ("a.", "", "a."), ("..", "", ".."),
  ("a.npy/", "npy", "a"), ("", "", ""), ("/", "", "/"), ("é.é", "é", "é"), ("..a", "", "..a"),
])
func `a path has an extension where its name has one`(
  path: String, suffix: String, without: String
) {
  #expect(path.pathExtension == suffix)
  #expect(path.deletingExtension == without)
}

@Test func `a relative path of one character can be asked for its volume and its links`() throws {
  #expect(Volume.freeBytes(near: "b") != nil)
  #expect(throws: RegateError.self) { try InPlaceFile.requireSingleName("b") }
}
