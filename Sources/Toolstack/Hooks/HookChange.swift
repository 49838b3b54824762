import SaveDisk
import SystemIO
import Transfer

/// What is done at one place.
struct HookChange {
  let place: HookPlace
  /// Its path as this system sees it, for messages.
  let shown: SystemPath

  // MARK: Install

  func install(
    _ script: [UInt8], _ root: borrowing HookRoot, _ diversion: borrowing Diversion,
    _ steps: inout HookSteps
  ) throws(ToolError) {
    if place.state == .gone { return try end(diversion, &steps) }
    let folder = try open(root, steps)
    let entries = try look(folder, root, diversion)
    let put = "put `stubsave qmp-proxy` at \(place.path)"
    switch (entries.place, entries.aside) {
    case (.nothing, .nothing): try end(diversion, &steps)
    case (.nothing, .ours):
      try steps.move(shown, "remove \(place.aside)") { () throws(SystemError) in
        try folder.removeAside()
      }
      try end(diversion, &steps)
    case (.nothing, .program):
      try begin(diversion, &steps)
      try steps.move(shown, put) { () throws(SystemError) in try folder.putAlone(script) }
    case (.ours, .nothing), (.ours, .ours): return
    case (.ours, .program):
      try begin(diversion, &steps)
      try steps.move(shown, put) { () throws(SystemError) in
        try folder.refresh(script, root)
      }
    case (.program(_, let isExecutable, _), let aside):
      guard isExecutable else { throw notOurs(place.path, "is not executable") }
      try install(script, over: entries, aside, folder, root, diversion, &steps)
    case (.unusable(let why), _): throw notOurs(place.path, why)
    case (_, .unusable(let why)): throw notOurs(place.aside, why)
    }
    try steps.quietly(shown) { () throws(SystemError) in try folder.forget() }
  }

  private func install(
    _ script: [UInt8], over entries: HookFolder.Entries, _ aside: HookEntry,
    _ folder: borrowing HookFolder, _ root: borrowing HookRoot,
    _ diversion: borrowing Diversion, _ steps: inout HookSteps
  ) throws(ToolError) {
    if case .unusable(let why) = aside { throw notOurs(place.aside, why) }
    let isAsideFree = if case .nothing = aside { true } else { false }
    if !isAsideFree && !aside.isOurs {
      guard let old = entries.oldOne else { throw twoPrograms }
      if old == .place {
        // dpkg has put a new one aside; the one in the place goes.
        try begin(diversion, &steps)
        return try steps.move(shown, "put `stubsave qmp-proxy` at \(place.path)") {
          () throws(SystemError) in try folder.refresh(script, root)
        }
      }
    }
    try requireNoOther(diversion)
    try steps.quietly(shown) { () throws(SystemError) in try folder.remember(theOneAside: false) }
    try begin(diversion, &steps)
    try steps.move(
      shown, "move \(place.path) to \(place.aside)", "put `stubsave qmp-proxy` at \(place.path)"
    ) { () throws(SystemError) in
      try folder.put(script, isAsideFree: isAsideFree, root)
    }
  }

  // MARK: Remove

  func remove(
    _ root: borrowing HookRoot, _ diversion: borrowing Diversion, _ steps: inout HookSteps
  ) throws(ToolError) {
    if place.state == .gone { return try end(diversion, &steps) }
    let folder = try open(root, steps)
    let entries = try look(folder, root, diversion)
    switch (entries.place, entries.aside) {
    case (.nothing, .nothing), (.program, .nothing): break
    case (.ours, .program), (.nothing, .program):
      try steps.quietly(shown) { () throws(SystemError) in try folder.remember(theOneAside: true) }
      try putBack(folder, root, &steps)
    case (.ours, .nothing), (.ours, .ours):
      try steps.move(shown, "remove \(place.path)") { () throws(SystemError) in
        try folder.removePlace()
      }
      if entries.aside.isOurs { try removeAside(folder, &steps) }
    case (.nothing, .ours), (.program, .ours), (.unusable, .ours):
      // A command was killed before it had put ours there.
      try removeAside(folder, &steps)
    case (.program, .program):
      switch entries.oldOne {
      case .place: try putBack(folder, root, &steps)
      case .aside, .both: try removeAside(folder, &steps)
      case nil:
        guard isDivertedByUs(diversion) else { return }
        throw twoPrograms
      }
    case (_, .unusable(let why)):
      guard entries.place.isOurs || isDivertedByUs(diversion) else { return }
      throw notOurs(place.aside, why)
    case (.unusable(let why), .program): throw notOurs(place.path, why)
    case (.unusable, .nothing): break
    }
    try end(diversion, &steps)
    try steps.quietly(shown) { () throws(SystemError) in try folder.forget() }
  }

  private func putBack(
    _ folder: borrowing HookFolder, _ root: borrowing HookRoot, _ steps: inout HookSteps
  ) throws(ToolError) {
    try steps.move(shown, "put libxl's own back at \(place.path)") { () throws(SystemError) in
      try folder.putBack(root)
    }
  }

  private func removeAside(
    _ folder: borrowing HookFolder, _ steps: inout HookSteps
  ) throws(ToolError) {
    try steps.move(shown, "remove \(place.aside)") { () throws(SystemError) in
      try folder.removeAside()
    }
  }

  // MARK: Both

  private func open(
    _ root: borrowing HookRoot, _ steps: HookSteps
  ) throws(ToolError) -> HookFolder {
    let place = place.program
    let folder = try attempt(shown) { () throws(SystemError) in try HookFolder(place, root) }
    try requireWritable(folder, root)
    try steps.quietly(shown) { () throws(SystemError) in try folder.tidy(root) }
    return folder
  }

  /// Before anything is tried, so that a dry run tells it, too.
  private func requireWritable(
    _ folder: borrowing HookFolder, _ root: borrowing HookRoot
  ) throws(ToolError) {
    let path = try attempt(shown) { () throws(SystemError) in try folder.realPath(root) }
    let isStore = HookChange.stores.contains { path.hasPrefix($0) }
    if !isStore {
      guard try attempt(shown, { () throws(SystemError) in try folder.isReadOnly() }) else {
        return
      }
    }
    throw ToolError(.permission, shown) {
      $0.append(isStore ? "is in Nix's or Guix's store" : "is on a file system that is read-only")
      $0.append(": nothing is put there; have Xen built with ")
      $0.append("`./configure --with-stubdom-qmp-proxy=PATH`, where PATH is stubsave-qmp-proxy's")
    }
  }

  /// What lies there is named by a hash of what it is made of, and is never changed.
  private static let stores = ["/nix/store/", "/gnu/store/"]

  private func look(
    _ folder: borrowing HookFolder, _ root: borrowing HookRoot, _ diversion: borrowing Diversion
  ) throws(ToolError) -> HookFolder.Entries {
    let isDiverted = isDivertedByUs(diversion)
    do throws(SystemError) {
      return try folder.look(root, isDiverted: isDiverted)
    } catch {
      throw ToolError(error, shown)
    }
  }

  private func notOurs(_ path: String, _ why: StaticString) -> ToolError {
    ToolError(.wouldDestroy, SystemPath(path)) {
      $0.append(why)
      $0.append(", which no program of libxl's is; look what it is, and remove it")
    }
  }

  private var twoPrograms: ToolError {
    ToolError(.wouldDestroy, SystemPath(place.aside)) {
      $0.append("is there, and is not the program of ")
      $0.append(escaping: place.path.utf8)
      $0.append("; look what it is, and remove it")
    }
  }

  // MARK: dpkg

  private func isDivertedByUs(_ diversion: borrowing Diversion) -> Bool {
    if case .ours = diversion.state(of: place) { true } else { false }
  }

  private func requireNoOther(_ diversion: borrowing Diversion) throws(ToolError) {
    guard case .elsewhere(let other) = diversion.state(of: place) else { return }
    throw ToolError(.wouldDestroy, SystemPath(place.path)) {
      $0.append("is diverted by dpkg already, to ")
      $0.append(escaping: other.aside.utf8)
      if !other.isLocal {
        $0.append(" for ")
        $0.append(escaping: other.package.utf8)
      }
      $0.append("; `dpkg-divert --remove` ends that")
    }
  }

  /// Before anything moves.
  private func begin(
    _ diversion: borrowing Diversion, _ steps: inout HookSteps
  ) throws(ToolError) {
    try requireNoOther(diversion)
    guard case .none = diversion.state(of: place), diversion.canChange, place.isOfPackages
    else { return }
    if !steps.isDryRun { try diversion.add(place) }
    steps.say("have dpkg divert \(place.path)")
  }

  /// After everything is back.
  private func end(
    _ diversion: borrowing Diversion, _ steps: inout HookSteps
  ) throws(ToolError) {
    guard isDivertedByUs(diversion) else { return }
    if !steps.isDryRun { try diversion.remove(place) }
    steps.say("have dpkg no more divert \(place.path)")
  }
}
