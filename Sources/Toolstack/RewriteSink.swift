import Codecs
import SaveDisk
import SystemIO
import Transfer

/// Writes a disk again from what a walk finds on it: the same header, the same streams through the
/// ordinary writer, optional records copied to where they were. What comes out is compared with what
/// was there, so none of them is left out (formats/save-disk.md, section 5.1, "safe to copy").
struct RewriteSink: LogSink, ~Copyable {
  private var writer: DiskWriter<FileStore>

  init(header: DiskHeader.Parsed, setting: CodecSetting, output: consuming FileDescriptor) {
    writer = DiskWriter(
      header: header, store: FileStore(output), setting: setting, writesHeader: true)
  }

  mutating func streamBegan(
    _ record: PlacedRecord, name: StreamName, flags: StreamFlags
  ) throws(SystemError) {
    do throws(WriteError) {
      try writer.beginStream(name, flags: flags)
    } catch {
      throw stop(error)
    }
  }

  mutating func chunk(_ record: PlacedRecord, raw: RawSpan) throws(SystemError) {
    do throws(WriteError) { try writer.write(raw) } catch { throw stop(error) }
  }

  mutating func optional(_ record: PlacedRecord, body: RawSpan) throws(SystemError) {
    do throws(WriteError) {
      try writer.optionalRecord(like: record.header, body: body)
    } catch {
      throw stop(error)
    }
  }

  mutating func streamEnded(_ record: PlacedRecord, summary: StreamSummary) throws(SystemError) {
    do throws(WriteError) { try writer.endStream() } catch { throw stop(error) }
  }

  mutating func committed(_ record: PlacedRecord) throws(SystemError) {
    do throws(WriteError) { _ = try writer.commit() } catch { throw stop(error) }
  }

  /// A sink's error is one of the system; what the writer says is only that it will not.
  private func stop(_ error: WriteError) -> SystemError {
    if case .store(let error) = error { return error }
    return SystemError(.write, errno: Errno.invalid)
  }
}
