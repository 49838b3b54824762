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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

static inline int stubsave_errno(void) { return errno; }

// Variadic in C, so not importable as they are.
static inline int stubsave_openat(int dir, const char *path, int flags, mode_t mode) {
  return openat(dir, path, flags, mode);
}
// SIG_IGN is a cast in C, so not importable.
void stubsave_ignore_signal(int signal);
// The function, which Swift takes for the structure of the same name.
int stubsave_flock(int fd, int operation);
int stubsave_blkgetsize64(int fd, unsigned long long *bytes);

// Want _GNU_SOURCE.
int stubsave_memfd_create(const char *name);
extern const int stubsave_O_TMPFILE;
extern const int stubsave_O_PATH;

#endif
