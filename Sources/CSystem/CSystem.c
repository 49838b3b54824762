#define _GNU_SOURCE 1
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "CSystem.h"

const int stubsave_O_TMPFILE = O_TMPFILE;
const int stubsave_O_PATH = O_PATH;

int stubsave_blkgetsize64(int fd, unsigned long long *bytes) {
  return ioctl(fd, BLKGETSIZE64, bytes);
}

void stubsave_ignore_signal(int number) { signal(number, SIG_IGN); }

int stubsave_memfd_create(const char *name) { return memfd_create(name, MFD_CLOEXEC); }

int stubsave_flock(int fd, int operation) { return flock(fd, operation); }
