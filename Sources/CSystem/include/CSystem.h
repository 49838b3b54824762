// libc as SystemIO sees it. Embedded Swift has no Glibc module, and Glibc's module hides
// O_DIRECT and O_TMPFILE; so both builds come through here.
//
// _GNU_SOURCE must not be defined here: it changes fd_set, and Swift then refuses to use this
// module beside Dispatch's ("fds_bits is not present in definition of fd_set"). What needs it is
// wrapped in CSystem.c.
#ifndef STUBSAVE_CSYSTEM_H
#define STUBSAVE_CSYSTEM_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "CIsolation.h"

static inline int stubsave_errno(void) { return errno; }

// Variadic in C, so not importable as they are.
static inline int stubsave_openat(int dir, const char *path, int flags, mode_t mode) {
  return openat(dir, path, flags, mode);
}
// SIG_IGN is a cast in C, so not importable.
void stubsave_ignore_signal(int signal);
// The function, which Swift takes for the structure of the same name.
int stubsave_flock(int fd, int operation);

// Want _GNU_SOURCE. find: where `word` begins, -1 if it is not there.
long stubsave_find(const void *bytes, size_t count, const void *word, size_t length);
int stubsave_memfd_create(const char *name);
extern const int stubsave_O_TMPFILE;
extern const int stubsave_O_PATH;
extern const int stubsave_O_DIRECT;

// openat2(2), Linux 5.6: links, also absolute ones and "..", stay below `root`.
int stubsave_openat_in_root(int root, const char *path, int flags);
// renameat2(2) with RENAME_EXCHANGE, within one directory.
int stubsave_exchange(int dir, const char *name, const char *other);

// Block devices (linux/fs.h). `range` is an offset and a length, in bytes.
int stubsave_blkgetsize64(int fd, unsigned long long *bytes);
int stubsave_blksszget(int fd, int *bytes);
int stubsave_blkroget(int fd, int *is_read_only);
int stubsave_blkzeroout(int fd, const unsigned long long range[2]);

// Loop devices (linux/loop.h). Flags: autoclear.
int stubsave_loop_get_free(int control);
int stubsave_loop_configure(int loop, int backing, unsigned int block_bytes);

// A write lock on the whole file that belongs to the open file description (F_OFD_SETLK).
int stubsave_ofd_lock(int fd);
// Whether another open file description has such a lock (F_OFD_GETLK): 1, 0, or -1.
int stubsave_ofd_is_locked(int fd);
// F_SETLEASE with F_RDLCK or F_UNLCK.
int stubsave_set_read_lease(int fd, int is_set);

// The new mount calls (fsopen(2) and on, Linux 5.2), which Debian 12's libc has, older ones do not.
int stubsave_fsopen_tmpfs(void);
int stubsave_fsconfig_string(int fs, const char *key, const char *value);
int stubsave_fsconfig_create(int fs);
int stubsave_fsmount(int fs);

// Unix sockets. connect: `path` of `length` bytes, without the NUL. send: at most one descriptor,
// -1 for none.
int stubsave_socket(void);
int stubsave_connect(int fd, const char *path, size_t length);
extern const size_t stubsave_max_socket_path;
// For its owner alone. accept: EAGAIN if nobody waits.
int stubsave_listen(int fd, const char *path, size_t length);
int stubsave_accept(int fd);
ssize_t stubsave_send(int fd, const void *bytes, size_t count, int passed);
ssize_t stubsave_receive(int fd, void *bytes, size_t count);
int stubsave_is_packet_socket(int fd);

// SIGHUP, SIGINT and SIGTERM, unless ignored: held back or let through; and a descriptor that is
// readable once one has come in.
int stubsave_hold_ending_signals(int is_held);
void stubsave_ignore_ending_signals(void);
// SIGPIPE and SIGXFSZ, before another program takes this one's place.
void stubsave_default_ignored_signals(void);
int stubsave_ending_signals_descriptor(void);

// dup2, and not closed on exec even if both are the same.
int stubsave_dup(int fd, int as);

// Two connected sockets of the kind SOCK_SEQPACKET; a pipe whose reading end does not block.
int stubsave_packet_sockets(int fds[2]);
int stubsave_pipe(int fds[2]);
void stubsave_finish_sending(int fd);
// Starts a program in a process group of its own, with `files` as its open files 0, 1 and so on and
// no others, no signal held back or ignored; the place of a file -1 stays empty. `environment`: NULL
// is this process's. With `has_session` it has a session of its own, too. Its process id; -1 and errno.
int stubsave_spawn(
    const char *path, char *const *arguments, char *const *environment, const int *files, int count,
    int has_session);
// A pipe whose ends block, and the flags of an open file (F_GETFL) and of a descriptor (F_GETFD).
int stubsave_blocking_pipe(int fds[2]);
// What a pipe holds (F_SETPIPE_SZ): at least so many bytes.
int stubsave_set_pipe_bytes(int fd, int bytes);
int stubsave_file_flags(int fd);
int stubsave_descriptor_flags(int fd);
// O_NONBLOCK of an open file that is shared with nobody.
int stubsave_set_nonblocking(int fd, int is_set);
// Whether what the descriptor stands for lies in a file system of the kernel's own, such as /proc.
int stubsave_is_kernels(int fd);
// The same of one that is told to end (SIGTERM) when this process has ended, however that was.
int stubsave_spawn_bound(const char *path, char *const *arguments, const int *files, int count);
// Goes on as two processes (fork(2)): 0 in the new one, which is nobody's child here and is init's to reap;
// it has only those of its `kept` open files that are named, in ascending order. 1 in the old one; -1 and
// errno. For a process with one thread.
int stubsave_fork_apart(const int *kept, int count);
// Ends this process at once: nothing is written, and nothing of it is cleaned up.
_Noreturn void stubsave_end_now(int code);
// A descriptor that is readable once the process has ended.
int stubsave_pidfd(int pid);
int stubsave_pidfd_signal(int fd, int number);
// Of a process that has ended: its exit code, or 256 and the number of its signal. EAGAIN if not.
int stubsave_reap(int pid);
// No file that the process writes grows beyond that (RLIMIT_FSIZE).
int stubsave_limit_files(int pid, unsigned long long bytes);
int stubsave_kill_group(int pid, int signal);

// Tells of files that come, go or change in a directory (inotify(7)).
int stubsave_inotify(void);
int stubsave_inotify_watch(int fd, const char *path);

// The faults of this thread, and having those of another one.
void *stubsave_faults(void);
void stubsave_share_faults(void *faults);

// A thread that no signal is delivered to, with a small stack; it shares the faults of the thread
// that starts it. 0 or an error number. Here, and not in CSystem.c, because libc's threads bring half
// its resolver along: the agent, which has none, must not even name them.
struct stubsave_start {
  void *(*body)(void *);
  void *argument;
  void *faults;
};
static inline void *stubsave_run_thread(void *given) {
  struct stubsave_start start = *(struct stubsave_start *)given;
  free(given);
  stubsave_share_faults(start.faults);
  return start.body(start.argument);
}
static inline int stubsave_thread_start(pthread_t *thread, void *(*body)(void *), void *argument) {
  struct stubsave_start *start = (struct stubsave_start *)malloc(sizeof *start);
  if (start == NULL) return ENOMEM;
  *start = (struct stubsave_start){body, argument, stubsave_faults()};
  // What ends the process, or is waited for by a descriptor, is the first thread's to get.
  sigset_t all, before;
  sigfillset(&all);
  pthread_attr_t attributes;
  int error = pthread_attr_init(&attributes);
  if (error == 0) {
    // LZ4 and zstd keep up to some 20 KiB on the stack; pages that are not touched take no memory.
    error = pthread_attr_setstacksize(&attributes, 512 << 10);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (error == 0) error = pthread_create(thread, &attributes, stubsave_run_thread, start);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
  }
  if (error != 0) free(start);
  return error;
}
// How many threads can run at once (sched_getaffinity).
int stubsave_processors(void);
// lseek(2) with SEEK_DATA, which needs _GNU_SOURCE.
long long stubsave_seek_data(int fd, unsigned long long offset);
// Begins to write a range of a file back, without waiting for the end (sync_file_range(2)).
int stubsave_begin_writeback(int fd, unsigned long long offset, unsigned long long bytes);

// Counted faults of this thread, for tests; see Faults.swift. `call` is a SystemCall's number, -1
// for any. fault() counts a call and gives the errno with which it has to fail, or 0, or that it is to
// move fewer bytes than it is asked to.
enum { STUBSAVE_FAULT_SHORT = -1 };
void stubsave_set_fault(int call, long skip, int error, int is_persistent);
long stubsave_fault_calls(void);
int stubsave_fault(int call);

#endif
