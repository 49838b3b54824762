// For the comparison with the consoles only. Gives QEMU standard output as fdset 1, and keeps the monitor's
// connection: with the last one QEMU drops the fdset.
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int ask(int monitor, const char *line, int fd) {
  struct iovec piece = {.iov_base = (void *)line, .iov_len = strlen(line)};
  char space[CMSG_SPACE(sizeof fd)] = {0};
  struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
  if (fd >= 0) {
    message.msg_control = space;
    message.msg_controllen = sizeof space;
    struct cmsghdr *passed = CMSG_FIRSTHDR(&message);
    *passed = (struct cmsghdr){
        .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fd)};
    memcpy(CMSG_DATA(passed), &fd, sizeof fd);
  }
  char reply[4096];
  return sendmsg(monitor, &message, 0) > 0 && read(monitor, reply, sizeof reply) > 0;
}

int main(int count, char **words) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int monitor = socket(AF_UNIX, SOCK_STREAM, 0);
  char greeting[4096];
  if (count != 2 || strlen(words[1]) >= sizeof address.sun_path) return 64;
  strcpy(address.sun_path, words[1]);
  if (connect(monitor, (struct sockaddr *)&address, sizeof address) != 0) return 1;
  if (read(monitor, greeting, sizeof greeting) <= 0) return 1;
  if (!ask(monitor, "{\"execute\":\"qmp_capabilities\"}\n", -1)) return 1;
  if (!ask(monitor, "{\"execute\":\"add-fd\",\"arguments\":{\"fdset-id\":1}}\n", 1)) return 1;
  close(1);
  while (read(monitor, greeting, sizeof greeting) > 0) continue;
  return 0;
}
