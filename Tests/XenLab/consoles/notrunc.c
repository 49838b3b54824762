// For the comparison with the consoles only. QEMU since 5.2 truncates the file that it saves to, which a
// console refuses (EINVAL), and the save with it: loaded before QEMU, this lets it pass.
#define _GNU_SOURCE
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int truncated(int fd, off_t length) {
  struct stat status;
  if (fstat(fd, &status) == 0 && !S_ISREG(status.st_mode)) return 0;
  return (int)syscall(SYS_ftruncate, fd, length);
}
int ftruncate(int fd, off_t length) { return truncated(fd, length); }
int ftruncate64(int fd, off_t length) { return truncated(fd, length); }
