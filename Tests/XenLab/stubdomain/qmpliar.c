// qmpliar SOCKET PROXY WORDS... - runs libxl's proxy between QEMU and dom0, with itself between the proxy and
// QEMU, and lies as the file /tmp/lie says each time that dom0 has a state saved:
//   doubled   QEMU's reply, twice
//   early     a success, before QEMU has been told; QEMU's own reply does not come through
//   escaped   a success whose "id" is spelled with an escape
//   endless   a line that does not end, once QEMU has saved
// and otherwise passes on what both say.
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { LINE_BYTES = 1 << 16, ENDLESS_BYTES = 4 << 20 };

// A line of one of the two sides, as far as it has come.
struct side {
  int fd;
  size_t length;
  char line[LINE_BYTES + 1];
};

static struct side qemu, dom0 = {.fd = -1};
static char lie[16], id[32];

static void say(int fd, const char *text, size_t length) {
  while (length > 0) {
    ssize_t written = write(fd, text, length);
    if (written <= 0) exit(1);
    text += written;
    length -= (size_t)written;
  }
}

static void success(const char *name) {
  char line[128];
  say(dom0.fd, line, (size_t)snprintf(line, sizeof line, "{\"return\": {}, \"%s\": %s}\r\n", name, id));
}

// From dom0. True if QEMU is to have it.
static int command(const char *line) {
  const char *found = strstr(line, "\"id\":");
  if (!strstr(line, "xen-save-devices-state") || !found) return 1;
  found += strcspn(found, "0123456789");
  snprintf(id, sizeof id, "%.*s", (int)strspn(found, "0123456789"), found);
  memset(lie, 0, sizeof lie);
  int file = open("/tmp/lie", O_RDONLY);
  if (file >= 0) {
    if (read(file, lie, sizeof lie - 1) < 0) exit(1);
    close(file);
  }
  if (strcmp(lie, "early") == 0) {
    success("id");
    return 0;
  }
  return 1;
}

// From QEMU. True if dom0 is to have it.
static int reply(const char *line, size_t length) {
  char wanted[48];
  snprintf(wanted, sizeof wanted, "\"id\": %s}", id);
  if (!*id || !strstr(line, wanted)) return 1;
  *id = 0;
  if (strcmp(lie, "doubled") == 0) say(dom0.fd, line, length);
  if (strcmp(lie, "endless") == 0) {
    static char piece[4096];
    memset(piece, 'x', sizeof piece);
    say(dom0.fd, "{\"x\": \"", 7);
    for (int sent = 0; sent < ENDLESS_BYTES; sent += (int)sizeof piece) say(dom0.fd, piece, sizeof piece);
    return 0;
  }
  if (strcmp(lie, "escaped") == 0) {
    snprintf(id, sizeof id, "%.*s", (int)strspn(wanted + 6, "0123456789"), wanted + 6);
    success("\\u0069d");
    *id = 0;
    return 0;
  }
  return 1;
}

// What has come, line by line.
static void take(struct side *from) {
  ssize_t count = read(from->fd, from->line + from->length, LINE_BYTES - from->length);
  if (count <= 0) exit(1);
  from->length += (size_t)count;
  char *end;
  while ((end = memchr(from->line, '\n', from->length))) {
    size_t length = (size_t)(end - from->line) + 1;
    char after = from->line[length];
    from->line[length] = 0;
    if (from == &dom0 ? command(from->line) : reply(from->line, length))
      say(from == &dom0 ? qemu.fd : dom0.fd, from->line, length);
    from->line[length] = after;
    from->length -= length;
    memmove(from->line, from->line + length, from->length);
  }
  if (from->length == LINE_BYTES) exit(1);
}

int main(int count, char **words) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int pair[2];
  if (count < 3 || strlen(words[1]) >= sizeof address.sun_path) return 64;
  strcpy(address.sun_path, words[1]);
  qemu.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connect(qemu.fd, (struct sockaddr *)&address, sizeof address) != 0) return 1;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) return 1;
  if (fork() == 0) {
    dup2(pair[0], 0);
    dup2(pair[0], 1);
    execvp(words[2], words + 2);
    _exit(127);
  }
  close(pair[0]);
  dom0.fd = pair[1];
  struct pollfd both[] = {{.fd = qemu.fd, .events = POLLIN}, {.fd = dom0.fd, .events = POLLIN}};
  while (poll(both, 2, -1) > 0) {
    if (both[0].revents) take(&qemu);
    if (both[1].revents) take(&dom0);
  }
  return 1;
}
