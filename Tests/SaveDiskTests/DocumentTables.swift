import TestSupport

/// The tables of formats/save-disk.md, as rows of cells.
struct DocumentTables {
  private let lines: [Substring]

  init() throws {
    lines = try Repository.text("formats/save-disk.md").split(
      separator: "\n", omittingEmptySubsequences: false)
  }

  /// Rows of the first table after the line that starts with `heading`.
  func rows(after heading: String) -> [[String]] {
    guard let start = lines.firstIndex(where: { $0.hasPrefix(heading) }) else { return [] }
    let table = lines[start...].drop { !$0.hasPrefix("|") }.prefix { $0.hasPrefix("|") }
    return table.dropFirst(2).map { line in
      line.dropFirst().dropLast().split(separator: "|", omittingEmptySubsequences: false).map {
        cell in String(cell.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
      }
    }
  }

  /// Field name to (offset, size) of a structure's table.
  func fields(after heading: String) -> [String: (offset: Int, size: Int)] {
    var fields: [String: (offset: Int, size: Int)] = [:]
    for row in rows(after: heading) {
      guard row.count >= 3, let offset = Int(row[0]), let size = Int(row[1]) else { continue }
      fields[row[2].filter { $0 != "`" }] = (offset, size)
    }
    return fields
  }
}
