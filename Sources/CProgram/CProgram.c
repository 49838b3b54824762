#include "CProgram.h"

#include <stdlib.h>

static int argument_count;
static char **arguments;

// glibc gives main's arguments to constructors, too. Before Swift's runtime starts: without /proc it
// would end the process while it looks for its program for backtraces, which is not shipped.
__attribute__((constructor(101))) static void start(int count, char **values) {
  argument_count = count;
  arguments = values;
  setenv("SWIFT_BACKTRACE", "enable=no,swift-backtrace=/nonexistent", 0);
}

int stubsave_argument_count(void) { return argument_count; }
const char *stubsave_argument(int index) { return arguments[index]; }
char **stubsave_arguments(void) { return arguments; }
