#include "CProgram.h"

#include <getopt.h>
#include <stddef.h>

enum { HELP = 'h', CONFIG = 0x100, PROGRAM };

// tools/vchan/vchan-socket-proxy.c, with what Qubes OS and OpenXT add (reconnect-marker); the last
// three are ours.
static const struct option options[] = {
    {"mode", required_argument, NULL, 'm'},
    {"verbose", no_argument, NULL, 'v'},
    {"state-path", required_argument, NULL, 's'},
    {"reconnect-marker", required_argument, NULL, 'r'},
    {"help", no_argument, NULL, HELP},
    {"config", required_argument, NULL, CONFIG},
    {"program", required_argument, NULL, PROGRAM},
    {},
};

int stubsave_proxy_option(const char **value) {
  opterr = 0;
  int found =
      getopt_long(stubsave_argument_count(), stubsave_arguments(), "m:vs:r:h", options, NULL);
  *value = optarg;
  switch (found) {
  case -1: return STUBSAVE_PROXY_END;
  case 'm': return STUBSAVE_PROXY_MODE;
  case 'v': return STUBSAVE_PROXY_VERBOSE;
  case 's': return STUBSAVE_PROXY_STATE_PATH;
  case 'r': return STUBSAVE_PROXY_RECONNECT_MARKER;
  case HELP: return STUBSAVE_PROXY_HELP;
  case CONFIG: return STUBSAVE_PROXY_CONFIG;
  case PROGRAM: return STUBSAVE_PROXY_PROGRAM;
  default: return STUBSAVE_PROXY_WRONG;
  }
}

int stubsave_proxy_operand(void) { return optind; }
