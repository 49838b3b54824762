// Lets Debian's xenstored run as a plain process, with domains that are plain processes too.
//
// Preloaded into xenstored it stands in for the Xen libraries: a domain's ring page is a file that
// domain.py maps as well, event channels are FIFOs, and a domain is dead once a file says so.
// Everything else, permissions above all, is xenstored's own.
//
//   $STUBSAVE_XEN/ring.DOMID     the page (xen/include/public/io/xs_wire.h)
//   $STUBSAVE_XEN/to-xenstored   ports that have an event pending, a u32 each
//   $STUBSAVE_XEN/to-DOMID       a byte for each notification of a domain
//   $STUBSAVE_XEN/dead.DOMID     the domain has died
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <xenctrl.h>
#include <xenevtchn.h>
#include <xengnttab.h>

enum { FIRST_PORT = 1000, VIRQ_PORT = 1, RING_BYTES = 4096 };
static int events = -1;

static int in_directory(const char *name, unsigned number, int flags) {
  char path[512];
  const char *directory = getenv("STUBSAVE_XEN");
  if (!directory) abort();
  snprintf(path, sizeof path, number == ~0u ? "%s/%s" : "%s/%s%u", directory, name, number);
  return (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0600);
}

xc_interface *xc_interface_open(xentoollog_logger *a, xentoollog_logger *b, unsigned f) {
  return calloc(1, 64);
}
int xc_interface_close(xc_interface *interface) { return 0; }
int xc_domain_getinfo(xc_interface *interface, uint32_t domid, unsigned count, xc_dominfo_t *info) {
  int dead = in_directory("dead.", domid, O_RDONLY);
  memset(info, 0, sizeof *info);
  info->domid = domid;
  info->running = dead < 0;
  info->dying = info->shutdown = dead >= 0;
  if (dead >= 0) close(dead);
  return 1;
}

xenevtchn_handle *xenevtchn_open(xentoollog_logger *logger, unsigned flags) {
  return xenevtchn_fdopen(logger, in_directory("to-xenstored", ~0u, O_RDWR | O_NONBLOCK), flags);
}
xenevtchn_handle *xenevtchn_fdopen(xentoollog_logger *logger, int fd, unsigned flags) {
  events = fd;
  return calloc(1, 64);
}
int xenevtchn_fd(xenevtchn_handle *handle) { return events; }
xenevtchn_port_or_error_t xenevtchn_bind_virq(xenevtchn_handle *handle, unsigned virq) {
  return VIRQ_PORT;
}
xenevtchn_port_or_error_t xenevtchn_bind_interdomain(xenevtchn_handle *handle, uint32_t domid,
                                                     evtchn_port_t port) {
  return FIRST_PORT + domid;
}
xenevtchn_port_or_error_t xenevtchn_pending(xenevtchn_handle *handle) {
  uint32_t port;
  return read(events, &port, sizeof port) == sizeof port ? (xenevtchn_port_or_error_t)port : -1;
}
int xenevtchn_unmask(xenevtchn_handle *handle, evtchn_port_t port) { return 0; }
int xenevtchn_notify(xenevtchn_handle *handle, evtchn_port_t port) {
  if (port < FIRST_PORT) return 0;
  int fd = in_directory("to-", port - FIRST_PORT, O_RDWR | O_NONBLOCK);
  if (fd >= 0) {
    if (write(fd, "", 1) < 0 && errno != EAGAIN) abort();
    close(fd);
  }
  return 0;
}
int xenevtchn_unbind(xenevtchn_handle *handle, evtchn_port_t port) { return 0; }

xengnttab_handle *xengnttab_open(xentoollog_logger *logger, unsigned flags) {
  return calloc(1, 64);
}
int xengnttab_close(xengnttab_handle *handle) { return 0; }
int xengnttab_set_max_grants(xengnttab_handle *handle, uint32_t count) { return 0; }
void *xengnttab_map_grant_ref(xengnttab_handle *handle, uint32_t domid, uint32_t ref, int prot) {
  int fd = in_directory("ring.", domid, O_RDWR);
  if (fd < 0) return NULL;
  void *page = mmap(NULL, RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  return page == MAP_FAILED ? NULL : page;
}
int xengnttab_unmap(xengnttab_handle *handle, void *page, uint32_t count) {
  return munmap(page, RING_BYTES);
}

// dom0's own ring, which nobody uses here: its port and page as the kernel's files give them.
static int fake(const char *path) {
  if (path && !strcmp(path, "/proc/xen/xsd_port")) {
    int fd = memfd_create("xsd_port", 0);
    if (fd < 0 || write(fd, "1", 1) != 1) abort();
    lseek(fd, 0, SEEK_SET);
    return fd;
  }
  if (path && !strcmp(path, "/proc/xen/xsd_kva")) {
    int fd = memfd_create("xsd_kva", 0);
    if (fd < 0 || ftruncate(fd, RING_BYTES)) abort();
    return fd;
  }
  return -1;
}
static int open_really(const char *path, int flags, va_list arguments) {
  int fd = fake(path);
  if (fd >= 0) return fd;
  return (int)syscall(SYS_openat, AT_FDCWD, path, flags, va_arg(arguments, int));
}
int open(const char *path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  int fd = open_really(path, flags, arguments);
  va_end(arguments);
  return fd;
}
int open64(const char *path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  int fd = open_really(path, flags, arguments);
  va_end(arguments);
  return fd;
}
