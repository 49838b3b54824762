import SaveDisk
import SaveFiles
import Transfer

extension Manifest.SaveFile {
  /// What differs from the manifest, or nil.
  func difference(_ judgement: SaveFileJudgement) -> String? {
    guard judgement.facts.format.map({ "\($0.name)" }) == container else {
      return "found another container"
    }
    guard judgement.status.rawValue == exitCode else { return found(judgement) }
    if let place = judgement.place {
      let isSame =
        "\(place.verdict.word)" == verdict && "\(place.structure)" == structure
        && "\(place.field)" == field && place.offset == offset
      return isSame ? nil : found(judgement)
    }
    guard exitCode == 0, structure == nil else { return found(judgement) }
    let facts = judgement.facts
    guard facts.bytes == containerBytes else { return "the container has another length" }
    guard facts.entryCount == entryCount else { return "another number of headers and records" }
    let place = judgement.state.map { [$0.saved.offset, $0.saved.bytes] }
    guard place == state.map({ [$0.offset, $0.bytes] }) else { return "another state" }
    guard judgement.state.map({ "\($0.trailer)" }) == state?.trailer else {
      return "another trailer"
    }
    return nil
  }

  private func found(_ judgement: SaveFileJudgement) -> String {
    "found " + (judgement.reason?.text ?? "good")
  }
}
