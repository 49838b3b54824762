// Walls that a process builds around itself, each one call or little more. All return 0, or -1 and
// errno.
#ifndef STUBSAVE_CISOLATION_H
#define STUBSAVE_CISOLATION_H

// Kills this process when its parent ends; ESRCH if `parent` is its parent no longer.
int stubsave_die_with_parent(int parent);
// Neither this process nor a program that it becomes gets what it has not (PR_SET_NO_NEW_PRIVS).
int stubsave_no_new_privileges(void);
// No core is dumped of it, and no process of the same user looks into it (PR_SET_DUMPABLE).
int stubsave_not_dumpable(void);
int stubsave_close_from(int first);
int stubsave_is_root(void);
// A user namespace of its own, in which nobody is anybody: an ordinary user may build the walls there.
int stubsave_own_user_namespace(void);
// System V IPC, message queues and the network, without anything in them.
int stubsave_own_ipc_namespace(void);
int stubsave_own_network_namespace(void);
// The directory of a process that has ended as the root: nothing is in it, and nothing can be made.
int stubsave_empty_root(void);
// A user and a group of that number, no other groups, no way back.
int stubsave_become_user(unsigned int id);
int stubsave_drop_capabilities(void);

// Resource limits, soft and hard: never above the hard limit that there is.
enum {
  STUBSAVE_LIMIT_CORE, STUBSAVE_LIMIT_CPU_SECONDS, STUBSAVE_LIMIT_FILE_BYTES,
  STUBSAVE_LIMIT_OPEN_FILES, STUBSAVE_LIMIT_PROCESSES, STUBSAVE_LIMIT_LOCKED_BYTES,
  STUBSAVE_LIMIT_QUEUE_BYTES,
};
int stubsave_set_limit(int limit, unsigned long long value);
// A build with a sanitizer, whose memory and system calls cannot be bounded: for tests.
int stubsave_is_sanitized(void);
// So much address space beside what the process has already.
int stubsave_limit_memory(unsigned long long more_bytes);

#ifdef STUBSAVE_PLANTED_BUG
// For a test: any system call at all.
long stubsave_planted_call(long number, long a, long b, long c, long d, long e, long f);
#endif

#endif
