// swift-tools-version: 6.2
// SPDX-License-Identifier: Apache-2.0

import PackageDescription

let common: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  // Pointers are named `unsafe` where they are used: in ByteStorage, Tensors and where C is called.
  .strictMemorySafety(),
  // Where it is checked; another system's headers must not keep anyone from building.
  .treatAllWarnings(as: .error, .when(platforms: [.linux])),
  // The tests fit models: without, `swift test` takes hours.
  .unsafeFlags(["-O"], .when(configuration: .debug)),
]

let collections = Target.Dependency.product(
  name: "OrderedCollections", package: "swift-collections")

let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")

func module(
  _ name: String, _ dependencies: [Target.Dependency], resources: [Resource]? = nil
) -> Target {
  .target(name: name, dependencies: dependencies, resources: resources, swiftSettings: common)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
  .testTarget(
    name: name + "Tests", dependencies: ["TestSupport", .target(name: name)] + dependencies,
    swiftSettings: common)
}

let package = Package(
  name: "regate",
  platforms: [.macOS(.v15)],
  products: [
    .library(name: "RegateKit", targets: ["RegateKit"]),
    .executable(name: "regate", targets: ["regate"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
    .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
  ],
  targets: [
    .target(
      name: "CKernels", cSettings: [.unsafeFlags(["-O2"], .when(configuration: .debug))]),
    .target(name: "CSystem"),
    .systemLibrary(
      name: "COpenBLAS", pkgConfig: "openblas",
      providers: [.apt(["libopenblas-dev"]), .brew(["openblas"])]),
    .systemLibrary(
      name: "CZlib", pkgConfig: "zlib", providers: [.apt(["libz-dev"]), .brew(["zlib"])]),

    module("ByteStorage", ["CSystem"]),
    module("Tensors", ["ByteStorage", "CKernels", "COpenBLAS"]),
    module("Checkpoints", ["ByteStorage", "Tensors", "CZlib", collections]),
    module("Routing", ["ByteStorage", "Tensors"]),
    module("Reports", ["ByteStorage"]),
    module("Architectures", ["ByteStorage", "Tensors", "Checkpoints", "Routing", collections]),
    module("TextTokens", ["ByteStorage", "Checkpoints", collections]),
    module(
      "Inference",
      ["ByteStorage", "Tensors", "Checkpoints", "Architectures", "Routing", collections]),
    module(
      "Measures",
      [
        "ByteStorage", "Tensors", "Checkpoints", "Architectures", "Routing", "Inference",
        collections, crypto,
      ]),
    module(
      "Forms",
      ["ByteStorage", "Tensors", "Checkpoints", "Architectures", "Routing", collections],
      resources: [
        .embedInCode("Modelling/configuration_regate.py"),
        .embedInCode("Modelling/gate_regate.py"),
        .embedInCode("Modelling/modeling_regate.py"),
      ]),
    module(
      "Resuming",
      ["ByteStorage", "Tensors", "Checkpoints", "Inference", "Measures", collections, crypto]),
    module(
      "Traffic",
      [
        "ByteStorage", "Tensors", "Checkpoints", "Architectures", "Routing", "TextTokens",
        "Inference", "Measures", "Forms", "Resuming", collections, crypto,
      ]),
    module("ExpertMaps", ["ByteStorage", "Checkpoints", "Routing", "Measures", collections]),
    module("Fitting", ["ByteStorage", "Tensors", "Routing", collections]),
    module(
      "ModelFitting",
      [
        "ByteStorage", "Tensors", "Checkpoints", "Architectures", "Routing", "Inference",
        "Measures", "Traffic", "Fitting", "Forms", "Resuming", "Reports", collections, crypto,
      ]),
    module(
      "CheckpointWriting",
      [
        "ByteStorage", "Tensors", "Checkpoints", "Architectures", "Routing", "Measures",
        "ExpertMaps", "Forms", "ModelFitting", "Reports", collections, crypto,
      ]),
    module(
      "Runtimes",
      [
        "ByteStorage", "Tensors", "Checkpoints", "Architectures", "Routing", "TextTokens", "Forms",
        collections,
      ]),
    module(
      "RegateKit",
      [
        "ByteStorage", "Tensors", "Checkpoints", "Architectures", "Routing", "Inference",
        "Measures", "Traffic", "ExpertMaps", "Fitting", "Forms", "Resuming", "ModelFitting",
        "CheckpointWriting", "Runtimes", "Reports", collections,
      ]),
    .executableTarget(
      name: "regate",
      dependencies: [
        "RegateKit", "ByteStorage", "Checkpoints", "Tensors", "Routing", "Inference", "Reports",
        collections, .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: common),

    .target(
      name: "TestSupport", dependencies: ["ByteStorage"], path: "Tests/TestSupport",
      swiftSettings: common),
    tests("ByteStorage", ["CSystem"]),
    tests("Tensors", ["ByteStorage", "CKernels"]),
    tests("Checkpoints", ["ByteStorage", "Tensors", collections]),
    tests("Architectures", ["ByteStorage", "Tensors", "Checkpoints", "Routing", collections]),
    tests("Routing", ["Tensors", "Checkpoints", collections]),
    tests("ExpertMaps", ["ByteStorage", "Checkpoints", "Routing", collections]),
    tests("Fitting", ["Tensors", "Routing"]),
    tests("TextTokens", ["ByteStorage", "Checkpoints", collections]),
    tests(
      "Inference",
      ["ByteStorage", "Tensors", "Checkpoints", "Architectures", "Routing", collections]),
    tests("Reports", []),
    tests(
      "RegateKit",
      [
        "ByteStorage", "Tensors", "Checkpoints", "Architectures", "Routing", "Fitting",
        "TextTokens", "Inference", "Measures", "Traffic", "Forms", "ModelFitting",
        "CheckpointWriting", "Runtimes", "Reports", collections,
      ]),
    .testTarget(name: "ClientTests", dependencies: ["RegateKit"], swiftSettings: common),
    .testTarget(
      name: "CommandTests", dependencies: ["TestSupport", "ByteStorage"], swiftSettings: common),
  ]
)

// What tools/fuzz builds: here, since it calls what no product shows.
if Context.environment["REGATE_FUZZ"] != nil {
  package.products.append(.library(name: "Fuzz", type: .static, targets: ["Fuzz"]))
  package.targets.append(
    .target(
      name: "Fuzz",
      dependencies: [
        "ByteStorage", "Tensors", "Checkpoints", "Architectures", "TextTokens", "Inference",
        "Resuming", "Traffic", "ModelFitting", "CheckpointWriting", "RegateKit", collections,
      ], path: "tools/fuzz/Fuzz", swiftSettings: [.swiftLanguageMode(.v6)]))
}
