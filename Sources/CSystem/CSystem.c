#define _GNU_SOURCE 1
#include "CSystem.h"

#include <linux/fs.h>
#include <linux/loop.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sched.h>
#include <spawn.h>
#include <stddef.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/un.h>
#include <sys/wait.h>

const int stubsave_O_TMPFILE = O_TMPFILE;
const int stubsave_O_PATH = O_PATH;
const int stubsave_O_DIRECT = O_DIRECT;

void stubsave_ignore_signal(int number) { signal(number, SIG_IGN); }

long stubsave_find(const void *bytes, size_t count, const void *word, size_t length) {
  const char *found = (const char *)memmem(bytes, count, word, length);
  return found == NULL ? -1 : (long)(found - (const char *)bytes);
}
int stubsave_memfd_create(const char *name) { return memfd_create(name, MFD_CLOEXEC); }

int stubsave_openat_in_root(int root, const char *path, int flags) {
  struct open_how how = {.flags = (unsigned)flags, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
  return (int)syscall(SYS_openat2, root, path, &how, sizeof how);
}
int stubsave_exchange(int dir, const char *name, const char *other) {
  return renameat2(dir, name, dir, other, RENAME_EXCHANGE);
}

int stubsave_flock(int fd, int operation) { return flock(fd, operation); }

int stubsave_blkgetsize64(int fd, unsigned long long *bytes) {
  return ioctl(fd, BLKGETSIZE64, bytes);
}
int stubsave_blksszget(int fd, int *bytes) { return ioctl(fd, BLKSSZGET, bytes); }
int stubsave_blkroget(int fd, int *is_read_only) { return ioctl(fd, BLKROGET, is_read_only); }
int stubsave_blkzeroout(int fd, const unsigned long long range[2]) {
  return ioctl(fd, BLKZEROOUT, range);
}

int stubsave_loop_get_free(int control) { return ioctl(control, LOOP_CTL_GET_FREE); }
int stubsave_loop_configure(int loop, int backing, unsigned int block_bytes) {
  struct loop_config config = {
      .fd = (unsigned)backing, .block_size = block_bytes, .info.lo_flags = LO_FLAGS_AUTOCLEAR};
  return ioctl(loop, LOOP_CONFIGURE, &config);
}

int stubsave_ofd_lock(int fd) {
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  return fcntl(fd, F_OFD_SETLK, &lock);
}
int stubsave_ofd_is_locked(int fd) {
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  if (fcntl(fd, F_OFD_GETLK, &lock) < 0) return -1;
  return lock.l_type != F_UNLCK;
}

int stubsave_set_read_lease(int fd, int is_set) {
  // Whoever opens the file meanwhile breaks the lease; SIGIO, which then comes, would end the
  // process, SIGURG is ignored by default.
  if (is_set && fcntl(fd, F_SETSIG, SIGURG) != 0) return -1;
  return fcntl(fd, F_SETLEASE, is_set ? F_RDLCK : F_UNLCK);
}

// linux/mount.h cannot be included beside sys/mount.h of every libc; the numbers are its own.
enum { FS_CLOEXEC = 1, FS_SET_STRING = 1, FS_CMD_CREATE = 6, MOUNT_NOSUID_NODEV_NOEXEC = 2 | 4 | 8 };
int stubsave_fsopen_tmpfs(void) { return (int)syscall(SYS_fsopen, "tmpfs", FS_CLOEXEC); }
int stubsave_fsconfig_string(int fs, const char *key, const char *value) {
  return (int)syscall(SYS_fsconfig, fs, FS_SET_STRING, key, value, 0);
}
int stubsave_fsconfig_create(int fs) {
  return (int)syscall(SYS_fsconfig, fs, FS_CMD_CREATE, NULL, NULL, 0);
}
int stubsave_fsmount(int fs) {
  return (int)syscall(SYS_fsmount, fs, FS_CLOEXEC, MOUNT_NOSUID_NODEV_NOEXEC);
}

int stubsave_socket(void) {
  return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}
const size_t stubsave_max_socket_path = sizeof((struct sockaddr_un *)NULL)->sun_path - 1;
static int with_address(const char *path, size_t length, struct sockaddr_un *address) {
  if (length > stubsave_max_socket_path) {
    errno = ENAMETOOLONG;
    return -1;
  }
  *address = (struct sockaddr_un){.sun_family = AF_UNIX};
  memcpy(address->sun_path, path, length);
  return 0;
}
int stubsave_connect(int fd, const char *path, size_t length) {
  struct sockaddr_un address;
  if (with_address(path, length, &address) < 0) return -1;
  return connect(fd, (struct sockaddr *)&address, sizeof address);
}
int stubsave_listen(int fd, const char *path, size_t length) {
  struct sockaddr_un address;
  if (with_address(path, length, &address) < 0) return -1;
  // Linux gives the file the socket's own permissions.
  if (fchmod(fd, 0600) < 0) return -1;
  if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0) return -1;
  // Whoever finds no room is told so, and does not wait: libxl then gives up.
  return listen(fd, 128);
}
int stubsave_accept(int fd) { return accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK); }
ssize_t stubsave_send(int fd, const void *bytes, size_t count, int passed) {
  struct iovec vector = {.iov_base = (void *)bytes, .iov_len = count};
  struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
  union {
    char bytes[CMSG_SPACE(sizeof passed)];
    struct cmsghdr aligned;
  } control;
  if (passed >= 0) {
    memset(&control, 0, sizeof control);
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof passed);
    memcpy(CMSG_DATA(header), &passed, sizeof passed);
  }
  return sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}
ssize_t stubsave_receive(int fd, void *bytes, size_t count) {
  return recv(fd, bytes, count, MSG_DONTWAIT);
}
int stubsave_is_packet_socket(int fd) {
  int type = 0;
  socklen_t length = sizeof type;
  return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && type == SOCK_SEQPACKET;
}

// Without those that are ignored: a signal that is held back is kept even then, and would show.
static void set_of_ending_signals(sigset_t *set) {
  static const int numbers[] = {SIGHUP, SIGINT, SIGTERM};
  sigemptyset(set);
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    struct sigaction action;
    if (sigaction(numbers[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
      sigaddset(set, numbers[i]);
  }
}
static sigset_t mask_before;
int stubsave_hold_ending_signals(int is_held) {
  sigset_t set;
  if (!is_held) return sigprocmask(SIG_SETMASK, &mask_before, NULL);
  set_of_ending_signals(&set);
  return sigprocmask(SIG_BLOCK, &set, &mask_before);
}
void stubsave_ignore_ending_signals(void) {
  signal(SIGHUP, SIG_IGN);
  signal(SIGINT, SIG_IGN);
  signal(SIGTERM, SIG_IGN);
}
void stubsave_default_ignored_signals(void) {
  signal(SIGPIPE, SIG_DFL);
  signal(SIGXFSZ, SIG_DFL);
}
int stubsave_ending_signals_descriptor(void) {
  sigset_t set;
  set_of_ending_signals(&set);
  return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int stubsave_packet_sockets(int fds[2]) {
  return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds);
}
void stubsave_finish_sending(int fd) { shutdown(fd, SHUT_WR); }
int stubsave_pipe(int fds[2]) {
  if (pipe2(fds, O_CLOEXEC) != 0) return -1;
  return fcntl(fds[0], F_SETFL, O_NONBLOCK);
}
enum { MAX_FILES = 8 };
int stubsave_blocking_pipe(int fds[2]) { return pipe2(fds, O_CLOEXEC); }
int stubsave_set_pipe_bytes(int fd, int bytes) { return fcntl(fd, F_SETPIPE_SZ, bytes); }
int stubsave_file_flags(int fd) { return fcntl(fd, F_GETFL); }
int stubsave_descriptor_flags(int fd) { return fcntl(fd, F_GETFD); }
int stubsave_set_nonblocking(int fd, int is_set) {
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0) return -1;
  return fcntl(fd, F_SETFL, is_set ? flags | O_NONBLOCK : flags & ~O_NONBLOCK);
}
int stubsave_is_kernels(int fd) {
  struct statfs status;
  if (fstatfs(fd, &status) != 0) return -1;
  // linux/magic.h: what these file systems call regular files are none.
  switch ((unsigned long)status.f_type) {
    case PROC_SUPER_MAGIC: case SYSFS_MAGIC: case DEBUGFS_MAGIC: case TRACEFS_MAGIC:
    case SECURITYFS_MAGIC: case CGROUP_SUPER_MAGIC: case CGROUP2_SUPER_MAGIC:
    case BPF_FS_MAGIC: case EFIVARFS_MAGIC: return 1;
    default: return 0;
  }
}
int stubsave_spawn(
    const char *path, char *const *arguments, char *const *environment, const int *files,
    int count, int has_session) {
  // Out of the way of the numbers that they are to have, so that none overwrites another.
  int moved[MAX_FILES], moved_count = 0, error = count > MAX_FILES ? EINVAL : 0;
  for (; error == 0 && moved_count < count; moved_count++) {
    moved[moved_count] = -1;
    if (files[moved_count] < 0) continue;
    moved[moved_count] = fcntl(files[moved_count], F_DUPFD_CLOEXEC, 16);
    if (moved[moved_count] < 0) {
      error = errno;
      break;
    }
  }
  // Else, where the parent ignores it, the kernel reaps the program itself.
  signal(SIGCHLD, SIG_DFL);
  pid_t pid = -1;
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  for (int i = 0; error == 0 && i < count; i++)
    error = moved[i] < 0 ? posix_spawn_file_actions_addclose(&actions, i)
                         : posix_spawn_file_actions_adddup2(&actions, moved[i], i);
  if (error == 0) error = posix_spawn_file_actions_addclosefrom_np(&actions, count);
  sigset_t none, ours;
  sigemptyset(&none);
  sigemptyset(&ours);
  static const int numbers[] = {SIGHUP, SIGINT, SIGTERM, SIGPIPE, SIGXFSZ};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) sigaddset(&ours, numbers[i]);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &ours);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(
      &attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF
                       | (has_session ? POSIX_SPAWN_SETSID : POSIX_SPAWN_SETPGROUP));
  if (error == 0) error = posix_spawn(&pid, path, &actions, &attributes, arguments, environment ? environment : environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  while (moved_count > 0)
    if (moved[--moved_count] >= 0) close(moved[moved_count]);
  errno = error;
  return error == 0 ? pid : -1;
}
int stubsave_spawn_bound(const char *path, char *const *arguments, const int *files, int count) {
  int told[2], moved[MAX_FILES];
  if (count > MAX_FILES) {
    errno = EINVAL;
    return -1;
  }
  if (pipe2(told, O_CLOEXEC) != 0) return -1;
  signal(SIGCHLD, SIG_DFL);
  pid_t parent = getpid(), pid = fork();
  if (pid == 0) {
    static const int numbers[] = {SIGHUP, SIGINT, SIGTERM, SIGPIPE, SIGXFSZ};
    sigset_t none;
    sigemptyset(&none);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) signal(numbers[i], SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    int is_well = setpgid(0, 0) == 0 && prctl(PR_SET_PDEATHSIG, SIGTERM) == 0;
    // The parent may have ended before that.
    if (getppid() != parent) _exit(127);
    for (int i = 0; is_well && i < count; i++)
      is_well = (moved[i] = fcntl(files[i], F_DUPFD_CLOEXEC, 16)) >= 0;
    for (int i = 0; is_well && i < count; i++) is_well = dup2(moved[i], i) >= 0;
    int report = is_well ? fcntl(told[1], F_DUPFD_CLOEXEC, 16) : told[1];
    if (is_well) {
      close_range((unsigned)count, 15, 0);
      close_range(16, ~0U, CLOSE_RANGE_CLOEXEC);
      execve(path, arguments, environ);
    }
    int error = errno;
    if (write(report, &error, sizeof error) < 0) _exit(126);
    _exit(127);
  }
  close(told[1]);
  int error = pid < 0 ? errno : 0;
  if (pid > 0 && read(told[0], &error, sizeof error) == sizeof error) waitpid(pid, NULL, 0);
  close(told[0]);
  errno = error;
  return error == 0 ? pid : -1;
}
static void close_between(unsigned first, unsigned last) {
  if (close_range(first, last, 0) == 0) return;
  // Before Linux 5.9.
  for (unsigned fd = first; fd <= last && fd < 65536; fd++) close((int)fd);
}
int stubsave_fork_apart(const int *kept, int count) {
  signal(SIGCHLD, SIG_DFL);
  pid_t between = fork();
  if (between < 0) return -1;
  if (between > 0) {
    int status = 0;
    while (waitpid(between, &status, 0) < 0)
      if (errno != EINTR) return -1;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return 1;
    errno = WIFEXITED(status) ? WEXITSTATUS(status) : ECHILD;
    return -1;
  }
  pid_t apart = fork();
  if (apart < 0) _exit(errno);
  if (apart > 0) _exit(0);
  unsigned first = 0;
  for (int i = 0; i < count; i++) {
    if ((unsigned)kept[i] > first) close_between(first, (unsigned)kept[i] - 1);
    first = (unsigned)kept[i] + 1;
  }
  close_between(first, ~0U);
  return 0;
}
void stubsave_end_now(int code) { _exit(code); }
int stubsave_pidfd(int pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }
int stubsave_pidfd_signal(int fd, int number) { return (int)syscall(SYS_pidfd_send_signal, fd, number, NULL, 0); }
int stubsave_reap(int pid) {
  int status = 0;
  pid_t found = waitpid(pid, &status, WNOHANG);
  if (found == 0) errno = EAGAIN;
  if (found <= 0) return -1;
  return WIFSIGNALED(status) ? 256 + WTERMSIG(status) : WEXITSTATUS(status);
}
int stubsave_limit_files(int pid, unsigned long long bytes) {
  struct rlimit limit = {.rlim_cur = bytes, .rlim_max = bytes};
  return prlimit(pid, RLIMIT_FSIZE, &limit, NULL);
}
int stubsave_kill_group(int pid, int number) { return kill(-pid, number); }

int stubsave_dup(int fd, int as) {
  if (fd == as) return fcntl(fd, F_SETFD, 0) == 0 ? as : -1;
  return dup2(fd, as);
}

int stubsave_inotify(void) { return inotify_init1(IN_CLOEXEC | IN_NONBLOCK); }
int stubsave_inotify_watch(int fd, const char *path) {
  return inotify_add_watch(fd, path, IN_CREATE | IN_MOVED_TO | IN_ATTRIB);
}

struct fault {
  int is_on, call, error, is_persistent;
  long skip, calls;
};
static __thread struct fault own_fault = {0};
static __thread struct fault *shared_fault = NULL;
static struct fault *this_fault(void) { return shared_fault != NULL ? shared_fault : &own_fault; }
void stubsave_set_fault(int call, long skip, int error, int is_persistent) {
  *this_fault() = (struct fault){error != 0, call, error, is_persistent, skip, 0};
}
long stubsave_fault_calls(void) { return this_fault()->calls; }
int stubsave_fault(int call) {
  struct fault *fault = this_fault();
  if (!fault->is_on || (fault->call != -1 && fault->call != call)) return 0;
  long index = __atomic_fetch_add(&fault->calls, 1, __ATOMIC_RELAXED);
  return index == fault->skip || (index > fault->skip && fault->is_persistent) ? fault->error : 0;
}

void *stubsave_faults(void) { return this_fault(); }
void stubsave_share_faults(void *faults) { shared_fault = faults; }

int stubsave_processors(void) {
  cpu_set_t set;
  return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}
long long stubsave_seek_data(int fd, unsigned long long offset) {
  return lseek(fd, (off_t)offset, SEEK_DATA);
}
int stubsave_begin_writeback(int fd, unsigned long long offset, unsigned long long bytes) {
  return sync_file_range(fd, (off64_t)offset, (off64_t)bytes, SYNC_FILE_RANGE_WRITE);
}
