// swift-tools-version: 6.2
import PackageDescription

/// Applied to every Swift target. Spelled once so that no target can be forgotten.
let strict: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .strictMemorySafety(),
  .treatAllWarnings(as: .error),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableExperimentalFeature("Lifetimes"),
]

let package = Package(
  name: "stubsave",
  products: [
    .executable(name: "stubsave", targets: ["stubsave"]),
    .executable(name: "stubsave-agent", targets: ["stubsave-agent"]),
    .executable(name: "stubsave-decode", targets: ["stubsave-decode"]),
    .executable(name: "stubsave-bench", targets: ["stubsave-bench"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2")
  ],
  targets: [
    // C libraries, as Debian packages them.
    .systemLibrary(name: "CXXHash", pkgConfig: "libxxhash", providers: [.apt(["libxxhash-dev"])]),
    .systemLibrary(name: "CLZ4", pkgConfig: "liblz4", providers: [.apt(["liblz4-dev"])]),
    .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
    .target(name: "CXXH3", dependencies: ["CXXHash"]),
    // libc as both builds see it: Embedded Swift has no Glibc module.
    .target(name: "CSystem"),

    // Built both as ordinary and as Embedded Swift.
    .target(name: "SaveDisk", dependencies: ["CXXH3", "CXXHash"], swiftSettings: strict),
    .target(
      name: "Codecs", dependencies: ["SaveDisk", "CLZ4", "CZlib"], swiftSettings: strict,
      // A module map's `link` is ignored by an Embedded build, pkg-config's flags are not enough.
      linkerSettings: [.linkedLibrary("lz4"), .linkedLibrary("z"), .linkedLibrary("xxhash")]),
    .target(name: "SystemIO", dependencies: ["CSystem"], swiftSettings: strict),
    .target(
      name: "Transfer", dependencies: ["SaveDisk", "Codecs", "SystemIO"], swiftSettings: strict),
    .target(
      name: "QEMUMonitor", dependencies: ["SaveDisk", "SystemIO"], swiftSettings: strict),
    .target(name: "Xenstore", dependencies: ["SaveDisk", "SystemIO"], swiftSettings: strict),
    .target(
      name: "Rendezvous", dependencies: ["SaveDisk", "SystemIO", "Xenstore"],
      swiftSettings: strict),
    .systemLibrary(name: "CXenVchan", pkgConfig: "xenvchan", providers: [.apt(["libxen-dev"])]),
    .target(
      name: "Vchan", dependencies: ["CXenVchan", "SystemIO"], swiftSettings: strict,
      linkerSettings: [
        .linkedLibrary("xenvchan"), .linkedLibrary("xengnttab"), .linkedLibrary("xenevtchn"),
        .linkedLibrary("xenstore"), .linkedLibrary("xentoolcore"), .linkedLibrary("xentoollog"),
      ]),
    .target(
      name: "Agent",
      dependencies: [
        "Transfer", "QEMUMonitor", "Rendezvous", "Xenstore", "Vchan", "SaveDisk", "Codecs",
        "SystemIO",
      ],
      swiftSettings: strict),
    .executableTarget(name: "stubsave-agent", dependencies: ["Agent"]),

    // dom0's, both ways: what the decoder's process is made of.
    .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
    .systemLibrary(
      name: "CDeflate", pkgConfig: "libdeflate", providers: [.apt(["libdeflate-dev"])]),
    .target(
      name: "ZstdCodec", dependencies: ["Codecs", "SaveDisk", "CZstd", "CDeflate"],
      swiftSettings: strict,
      linkerSettings: [.linkedLibrary("zstd"), .linkedLibrary("deflate")]),
    .systemLibrary(
      name: "CSeccomp", pkgConfig: "libseccomp", providers: [.apt(["libseccomp-dev"])]),
    .target(
      name: "QEMUState", dependencies: ["Transfer", "SaveDisk", "Codecs", "SystemIO"],
      swiftSettings: strict),
    .target(
      name: "SaveFiles", dependencies: ["Transfer", "SaveDisk", "SystemIO"],
      swiftSettings: strict),
    .target(
      name: "Decoding",
      dependencies: [
        "SaveFiles", "QEMUState", "Transfer", "ZstdCodec", "Codecs", "SaveDisk", "SystemIO",
      ],
      swiftSettings: strict),
    .target(
      name: "DecoderProgram",
      dependencies: ["CSeccomp", "Decoding", "Transfer", "SaveDisk", "SystemIO"],
      swiftSettings: strict, linkerSettings: [.linkedLibrary("seccomp")]),
    .executableTarget(name: "stubsave-decode", dependencies: ["DecoderProgram"]),

    // dom0 only.
    .systemLibrary(name: "CBlkid", pkgConfig: "blkid", providers: [.apt(["libblkid-dev"])]),
    .systemLibrary(name: "CXenCall", pkgConfig: "xencall", providers: [.apt(["libxen-dev"])]),
    .systemLibrary(
      name: "CXenConsole", pkgConfig: "xengnttab", providers: [.apt(["libxen-dev"])]),
    .target(
      name: "BlockProbe", dependencies: ["CBlkid", "SaveDisk", "SystemIO"],
      swiftSettings: strict),
    .target(
      name: "Xen", dependencies: ["CXenCall", "CXenConsole", "Xenstore", "SaveDisk", "SystemIO"],
      swiftSettings: strict,
      // The second library of CXenConsole, and what they all need where they are linked statically.
      linkerSettings: [
        .linkedLibrary("xenevtchn"), .linkedLibrary("xentoollog"), .linkedLibrary("xentoolcore"),
      ]),
    .target(
      name: "Toolstack",
      dependencies: [
        "Decoding", "Transfer", "Rendezvous", "QEMUMonitor", "Vchan", "Xen", "Xenstore",
        "QEMUState", "SaveFiles", "BlockProbe", "ZstdCodec", "SaveDisk", "Codecs", "SystemIO",
      ],
      swiftSettings: strict),
    .target(name: "CProgram"),
    .executableTarget(
      name: "stubsave",
      dependencies: [
        "CProgram", "Toolstack", "Transfer", "Rendezvous", "Xen", "QEMUState", "SaveFiles",
        "SaveDisk", "Codecs", "SystemIO",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: strict),
    .executableTarget(
      name: "stubsave-bench",
      dependencies: [
        "Transfer", "QEMUMonitor", "SaveDisk", "Codecs", "SystemIO",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: strict),

    // Tests, a target a folder.
    .target(
      name: "TestSupport", dependencies: ["SaveDisk", "Codecs", "SystemIO", "Transfer"],
      path: "Tests/Support", swiftSettings: strict),
    .testTarget(
      name: "ArchitectureTests", dependencies: ["TestSupport"], swiftSettings: strict),
    .testTarget(
      name: "SaveDiskTests", dependencies: ["SaveDisk", "Codecs", "CXXHash", "TestSupport"],
      swiftSettings: strict),
    .testTarget(
      name: "CodecsTests", dependencies: ["Codecs", "ZstdCodec", "SaveDisk", "TestSupport"],
      swiftSettings: strict),
    .testTarget(
      name: "TransferTests",
      dependencies: ["Transfer", "ZstdCodec", "Codecs", "SaveDisk", "SystemIO", "TestSupport"],
      swiftSettings: strict),
    .testTarget(
      name: "SystemIOTests", dependencies: ["SystemIO", "SaveDisk", "TestSupport"],
      swiftSettings: strict),
    .testTarget(
      name: "QEMUMonitorTests",
      dependencies: ["QEMUMonitor", "SystemIO", "SaveDisk", "TestSupport"],
      swiftSettings: strict),
    .testTarget(
      name: "XenstoreTests", dependencies: ["Xenstore", "SystemIO", "SaveDisk", "TestSupport"],
      swiftSettings: strict),
    .testTarget(
      name: "RendezvousTests",
      dependencies: ["Rendezvous", "Xenstore", "SystemIO", "SaveDisk", "TestSupport"],
      swiftSettings: strict),
    .testTarget(
      name: "DecodingTests",
      dependencies: [
        "Decoding", "SaveFiles", "QEMUState", "Transfer", "Codecs", "SaveDisk", "SystemIO",
        "TestSupport",
      ],
      swiftSettings: strict),
    .testTarget(
      name: "SaveFilesTests",
      dependencies: [
        "SaveFiles", "Decoding", "QEMUState", "Transfer", "SaveDisk", "SystemIO", "TestSupport",
      ],
      swiftSettings: strict),
    .testTarget(name: "XenTests", dependencies: ["Xen", "TestSupport"], swiftSettings: strict),
    .testTarget(
      name: "QEMUStateTests",
      dependencies: ["QEMUState", "Transfer", "Codecs", "SaveDisk", "SystemIO", "TestSupport"],
      swiftSettings: strict),
    .testTarget(
      name: "ToolstackTests",
      dependencies: [
        "Toolstack", "Transfer", "QEMUMonitor", "Xen", "Codecs", "SaveDisk", "SystemIO",
        "TestSupport",
      ],
      swiftSettings: strict),
    .testTarget(
      name: "CommandTests",
      dependencies: ["stubsave", "stubsave-agent", "stubsave-decode", "TestSupport"],
      exclude: ["Golden"],
      swiftSettings: strict),
  ]
)

// The fuzzers want libFuzzer's runtime, libyajl and json-c to compare with: only when asked for (`make fuzz`).
if Context.environment["STUBSAVE_FUZZ"] != nil {
  package.targets += [
    .systemLibrary(
      name: "CFuzz", path: "Tests/Fuzz/CFuzz", pkgConfig: "yajl",
      providers: [.apt(["libyajl-dev", "libjson-c-dev"])]),
    .target(
      name: "FuzzTargets",
      dependencies: [
        "CFuzz", "CLZ4", "CZlib", "Codecs", "Decoding", "QEMUMonitor", "QEMUState", "Rendezvous",
        "SaveDisk", "SaveFiles", "SystemIO", "TestSupport", "Transfer", "Xen", "Xenstore",
        "ZstdCodec",
      ],
      path: "Tests/Fuzz/Targets", swiftSettings: strict),
    .executableTarget(
      name: "stubsave-fuzz", dependencies: ["FuzzTargets"], path: "Tests/Fuzz/Engine"),
  ]
}
