// How the program was called, as the kernel has handed it over.
#ifndef STUBSAVE_CPROGRAM_H
#define STUBSAVE_CPROGRAM_H

// Swift's CommandLine looks for the arguments in /proc/self/maps, and has none if that cannot be
// read: a command would then do nothing and end well.
int stubsave_argument_count(void);
const char *stubsave_argument(int index);
char **stubsave_arguments(void);

// vchan-socket-proxy's command line, by the same getopt_long(3): abbreviations, joined values and
// operands in between are as there.
enum {
  STUBSAVE_PROXY_END,
  STUBSAVE_PROXY_WRONG,
  STUBSAVE_PROXY_MODE,
  STUBSAVE_PROXY_VERBOSE,
  STUBSAVE_PROXY_STATE_PATH,
  STUBSAVE_PROXY_RECONNECT_MARKER,
  STUBSAVE_PROXY_HELP,
  STUBSAVE_PROXY_CONFIG,
  STUBSAVE_PROXY_PROGRAM,
};
// The next option, and its value. Puts operands behind them.
int stubsave_proxy_option(const char **value);
// After the last: which argument is the first operand.
int stubsave_proxy_operand(void);

#endif
