#define _GNU_SOURCE 1
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "CSystem.h"

const int stubsave_O_TMPFILE = O_TMPFILE;

int stubsave_blkgetsize64(int fd, unsigned long long *bytes) {
  return ioctl(fd, BLKGETSIZE64, bytes);
}

int stubsave_memfd_create(const char *name) { return memfd_create(name, MFD_CLOEXEC); }
