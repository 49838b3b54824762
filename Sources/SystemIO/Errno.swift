import CSystem

/// A system call that failed: which, and its error number.
public struct SystemError: Error, Equatable, Sendable, BitwiseCopyable {
  public let call: SystemCall
  public let errno: Int32

  public init(_ call: SystemCall, errno: Int32) {
    self.call = call
    self.errno = errno
  }
}

/// The system calls that SystemIO makes, for messages and for fault injection.
public enum SystemCall: UInt8, Sendable, BitwiseCopyable, CaseIterable {
  case open, stat, fstat, read, pread, write, pwrite, fsync, ftruncate, fallocate
  case linkat, unlinkat, renameat, memfdCreate, getrandom, ioctl, flock
  case lock, lease, fsopen, fsconfig, fsmount, socket, connect, send, poll, signalMask, signalfd
  case seek, inotify, dup, exec, receive
  case socketpair, pipe, spawn, pidfd, wait, kill, readlink, mkdir, listen, accept, limit, fchmod
  case prctl, unshare, chroot, setresuid, capset, setrlimit, closeRange, fcntl, thread
  case access

  public var name: StaticString {
    switch self {
    case .open: "openat"
    case .stat: "stat"
    case .fstat: "fstat"
    case .read: "read"
    case .pread: "pread"
    case .write: "write"
    case .pwrite: "pwrite"
    case .fsync: "fsync"
    case .ftruncate: "ftruncate"
    case .fallocate: "fallocate"
    case .linkat: "linkat"
    case .unlinkat: "unlinkat"
    case .renameat: "renameat"
    case .memfdCreate: "memfd_create"
    case .getrandom: "getrandom"
    case .ioctl: "ioctl"
    case .flock: "flock"
    case .lock: "fcntl(F_OFD_SETLK)"
    case .lease: "fcntl(F_SETLEASE)"
    case .fsopen: "fsopen"
    case .fsconfig: "fsconfig"
    case .fsmount: "fsmount"
    case .socket: "socket"
    case .connect: "connect"
    case .send: "sendmsg"
    case .poll: "poll"
    case .signalMask: "sigprocmask"
    case .signalfd: "signalfd"
    case .seek: "lseek"
    case .inotify: "inotify"
    case .dup: "dup2"
    case .exec: "execv"
    case .receive: "recv"
    case .socketpair: "socketpair"
    case .pipe: "pipe2"
    case .spawn: "posix_spawn"
    case .pidfd: "pidfd_open"
    case .wait: "waitpid"
    case .kill: "kill"
    case .readlink: "readlink"
    case .mkdir: "mkdirat"
    case .listen: "bind"
    case .accept: "accept4"
    case .limit: "prlimit64"
    case .fchmod: "fchmod"
    case .prctl: "prctl"
    case .unshare: "unshare"
    case .chroot: "chroot"
    case .setresuid: "setresuid"
    case .capset: "capset"
    case .setrlimit: "setrlimit"
    case .closeRange: "close_range"
    case .fcntl: "fcntl"
    case .thread: "clone"
    case .access: "faccessat"
    }
  }
}

/// Error numbers that somebody decides upon.
public enum Errno {
  public static let notPermitted = EPERM
  public static let noEntry = ENOENT
  public static let interrupted = EINTR
  public static let noMemory = ENOMEM
  public static let ioError = EIO
  public static let accessDenied = EACCES
  public static let busy = EBUSY
  public static let wouldBlock = EWOULDBLOCK
  public static let exists = EEXIST
  public static let notDirectory = ENOTDIR
  public static let isDirectory = EISDIR
  public static let invalid = EINVAL
  public static let noSpace = ENOSPC
  public static let illegalSeek = ESPIPE
  public static let readOnlyFileSystem = EROFS
  public static let loop = ELOOP
  public static let notSupported = EOPNOTSUPP
  public static let connectionRefused = ECONNREFUSED
  public static let connectionReset = ECONNRESET
  public static let brokenPipe = EPIPE
  public static let protocolError = EPROTO
  public static let nameTooLong = ENAMETOOLONG
  public static let timedOut = ETIMEDOUT
  public static let noDevice = ENXIO
  public static let noSystemCall = ENOSYS
  public static let noSuchDevice = ENODEV
  public static let fileTooLarge = EFBIG
  public static let noProcess = ESRCH
  public static let canceled = ECANCELED
}
