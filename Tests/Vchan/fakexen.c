// Event channels and grants without Xen: what libxenevtchn and libxengnttab do is done by fakexen.py,
// which a process reaches over a socket at $FAKEXEN. As domain $FAKEXEN_DOMID. libxenvchan, libxenstore and
// all that use them are the real ones.
//
// A handle is a connection, so a process that is killed lets go of everything, as it does of the
// kernel's devices.
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <xenevtchn.h>
#include <xengnttab.h>

enum { HELLO, UNBOUND, INTERDOMAIN, UNBIND, NOTIFY, UNMASK, SHARE, UNSHARE, MAP, UNMAP, EVENT, REPLY };
enum { PAGE_BYTES = 4096, MOST_PAGES = 8 };

struct handle {
  int fd;
  struct { void *page; uint32_t id; } pages[MOST_PAGES];
};

struct message { uint32_t kind, words[4]; };

static void say(struct handle *handle, uint32_t kind, uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
  struct message message = {kind, {a, b, c, d}};
  if (send(handle->fd, &message, sizeof message, MSG_NOSIGNAL) != sizeof message) abort();
}

// The reply's word, or -1 and errno; a descriptor that comes with it, or -1.
static long hear(struct handle *handle, int *passed) {
  struct message message;
  struct iovec vector = {&message, sizeof message};
  union { struct cmsghdr header; char bytes[CMSG_SPACE(sizeof(int))]; } control;
  struct msghdr header = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control,
                          .msg_controllen = sizeof control};
  if (recvmsg(handle->fd, &header, MSG_CMSG_CLOEXEC) != sizeof message || message.kind != REPLY) abort();
  struct cmsghdr *found = CMSG_FIRSTHDR(&header);
  if (passed) *passed = found ? *(int *)CMSG_DATA(found) : -1;
  if (message.words[0]) {
    errno = (int)message.words[0];
    return -1;
  }
  return message.words[1];
}

static struct handle *make(void) {
  struct handle *handle = calloc(1, sizeof *handle);
  struct sockaddr_un address = {AF_UNIX};
  const char *path = getenv("FAKEXEN"), *domid = getenv("FAKEXEN_DOMID");
  if (!handle || !path || !domid || strlen(path) >= sizeof address.sun_path) abort();
  strcpy(address.sun_path, path);
  handle->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (connect(handle->fd, (struct sockaddr *)&address, sizeof address)) abort();
  say(handle, HELLO, (uint32_t)atoi(domid), 0, 0, 0);
  return handle;
}

static int destroy(struct handle *handle) {
  if (!handle) return 0;
  for (int i = 0; i < MOST_PAGES; i++)
    if (handle->pages[i].page) munmap(handle->pages[i].page, PAGE_BYTES);
  close(handle->fd);
  free(handle);
  return 0;
}

static void *map(struct handle *handle, int protection) {
  int fd = -1;
  long id = hear(handle, &fd);
  if (id < 0) return NULL;
  void *page = mmap(NULL, PAGE_BYTES, protection, MAP_SHARED, fd, 0);
  close(fd);
  if (page == MAP_FAILED) abort();
  for (int i = 0; i < MOST_PAGES; i++)
    if (!handle->pages[i].page) {
      handle->pages[i].page = page;
      handle->pages[i].id = (uint32_t)id;
      return page;
    }
  abort();
}

// munmap and what the kernel does then: the byte is cleared and the event sent before it is back.
static int unmap(struct handle *handle, void *page, uint32_t kind) {
  for (int i = 0; i < MOST_PAGES; i++)
    if (handle->pages[i].page == page) {
      handle->pages[i].page = NULL;
      munmap(page, PAGE_BYTES);
      say(handle, kind, handle->pages[i].id, 0, 0, 0);
      return hear(handle, NULL) < 0 ? -1 : 0;
    }
  abort();
}

#define EVENTS(handle) ((struct handle *)(handle))

xenevtchn_handle *xenevtchn_open(struct xentoollog_logger *logger, unsigned flags) {
  return (xenevtchn_handle *)make();
}
int xenevtchn_close(xenevtchn_handle *handle) { return destroy(EVENTS(handle)); }
int xenevtchn_fd(xenevtchn_handle *handle) { return EVENTS(handle)->fd; }
xenevtchn_port_or_error_t xenevtchn_bind_unbound_port(xenevtchn_handle *handle, uint32_t domid) {
  say(EVENTS(handle), UNBOUND, domid, 0, 0, 0);
  return (int)hear(EVENTS(handle), NULL);
}
xenevtchn_port_or_error_t xenevtchn_bind_interdomain(xenevtchn_handle *handle, uint32_t domid,
                                                     evtchn_port_t port) {
  say(EVENTS(handle), INTERDOMAIN, domid, port, 0, 0);
  return (int)hear(EVENTS(handle), NULL);
}
int xenevtchn_unbind(xenevtchn_handle *handle, evtchn_port_t port) {
  say(EVENTS(handle), UNBIND, port, 0, 0, 0);
  return 0;
}
int xenevtchn_notify(xenevtchn_handle *handle, evtchn_port_t port) {
  say(EVENTS(handle), NOTIFY, port, 0, 0, 0);
  return 0;
}
int xenevtchn_unmask(xenevtchn_handle *handle, evtchn_port_t port) {
  say(EVENTS(handle), UNMASK, port, 0, 0, 0);
  return 0;
}
xenevtchn_port_or_error_t xenevtchn_pending(xenevtchn_handle *handle) {
  struct message message;
  if (recv(EVENTS(handle)->fd, &message, sizeof message, 0) != sizeof message || message.kind != EVENT)
    return -1;
  return (int)message.words[0];
}

xengntshr_handle *xengntshr_open(struct xentoollog_logger *logger, unsigned flags) {
  return (xengntshr_handle *)make();
}
int xengntshr_close(xengntshr_handle *handle) { return destroy((struct handle *)handle); }
void *xengntshr_share_page_notify(xengntshr_handle *handle, uint32_t domid, uint32_t *ref, int writable,
                                  uint32_t offset, evtchn_port_t port) {
  say((struct handle *)handle, SHARE, domid, offset, port, 0);
  void *page = map((struct handle *)handle, PROT_READ | PROT_WRITE);
  if (page)
    for (int i = 0; i < MOST_PAGES; i++)
      if (((struct handle *)handle)->pages[i].page == page) *ref = ((struct handle *)handle)->pages[i].id;
  return page;
}
// Rings of more than a page are not used.
void *xengntshr_share_pages(xengntshr_handle *handle, uint32_t domid, int count, uint32_t *refs, int w) {
  errno = ENOSYS;
  return NULL;
}
int xengntshr_unshare(xengntshr_handle *handle, void *page, uint32_t count) {
  return unmap((struct handle *)handle, page, UNSHARE);
}

xengnttab_handle *xengnttab_open(struct xentoollog_logger *logger, unsigned flags) {
  return (xengnttab_handle *)make();
}
int xengnttab_close(xengnttab_handle *handle) { return destroy((struct handle *)handle); }
void *xengnttab_map_grant_ref_notify(xengnttab_handle *handle, uint32_t domid, uint32_t ref, int protection,
                                     uint32_t offset, evtchn_port_t port) {
  say((struct handle *)handle, MAP, domid, ref, offset, port);
  return map((struct handle *)handle, protection);
}
// Without a notification, as the console's ring is mapped: that is not tried here.
void *xengnttab_map_grant_ref(xengnttab_handle *handle, uint32_t domid, uint32_t ref, int protection) {
  errno = ENOSYS;
  return NULL;
}
void *xengnttab_map_domain_grant_refs(xengnttab_handle *handle, uint32_t count, uint32_t domid,
                                      uint32_t *refs, int protection) {
  errno = ENOSYS;
  return NULL;
}
int xengnttab_unmap(xengnttab_handle *handle, void *page, uint32_t count) {
  return unmap((struct handle *)handle, page, UNMAP);
}

// vchan-socket-proxy asks whether the other domain is there: of what is filled in, the first words are enough
// (xenctrl.h of 4.17: a domid, then flags in the third; public/domctl.h: 16 bits of domid, flags in the second).
void *xc_interface_open(void *logger, void *other, unsigned flags) { return calloc(1, 64); }
int xc_interface_close(void *interface) {
  free(interface);
  return 0;
}
int xc_domain_getinfo(void *interface, uint32_t domid, unsigned count, uint32_t *info) {
  info[0] = domid;
  info[1] = info[2] = 0;
  return 1;
}
int xc_domain_getinfo_single(void *interface, uint32_t domid, uint32_t *info) {
  info[0] = domid;
  info[1] = 0;
  return 0;
}
