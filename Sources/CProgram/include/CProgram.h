// How the program was called, as the kernel has handed it over.
#ifndef STUBSAVE_CPROGRAM_H
#define STUBSAVE_CPROGRAM_H

// Swift's CommandLine looks for the arguments in /proc/self/maps, and has none if that cannot be
// read: a command would then do nothing and end well.
int stubsave_argument_count(void);
const char *stubsave_argument(int index);

#endif
