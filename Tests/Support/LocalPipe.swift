import Foundation
import SystemIO

/// A pipe of this process.
public struct LocalPipe {
  private let pipe = Foundation.Pipe()

  public init() throws {}

  public var reader: FileDescriptor {
    FileDescriptor(borrowing: pipe.fileHandleForReading.fileDescriptor)
  }

  public var writer: FileDescriptor {
    FileDescriptor(borrowing: pipe.fileHandleForWriting.fileDescriptor)
  }

  public func closeWriter() { try? pipe.fileHandleForWriting.close() }
}
