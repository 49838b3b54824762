// What libFuzzer calls: one program, its target named by --target=NAME.
//
// Bytes are libFuzzer's own mutation first; what FuzzTargets makes of them then gets behind the
// checksums, or has another structure.

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef void run_function(const uint8_t *bytes, size_t count);
typedef size_t mutate_function(uint8_t *bytes, size_t count, size_t room, uint32_t seed);

size_t LLVMFuzzerMutate(uint8_t *bytes, size_t count, size_t room);

extern run_function stubsave_fuzz_header, stubsave_fuzz_disk, stubsave_fuzz_codec,
    stubsave_fuzz_trailer, stubsave_fuzz_sections, stubsave_fuzz_json, stubsave_fuzz_relay,
    stubsave_fuzz_monitor, stubsave_fuzz_xenstore, stubsave_fuzz_messages, stubsave_fuzz_values,
    stubsave_fuzz_xl, stubsave_fuzz_libvirt, stubsave_fuzz_libxl, stubsave_fuzz_xenopsd;
extern mutate_function stubsave_mutate_header, stubsave_mutate_disk, stubsave_mutate_codec,
    stubsave_mutate_trailer, stubsave_mutate_xl, stubsave_mutate_libvirt, stubsave_mutate_libxl,
    stubsave_mutate_xenopsd;

static const struct target {
  const char *name;
  run_function *run;
  mutate_function *mutate;
} targets[] = {
    {"header", stubsave_fuzz_header, stubsave_mutate_header},
    {"disk", stubsave_fuzz_disk, stubsave_mutate_disk},
    {"codec", stubsave_fuzz_codec, stubsave_mutate_codec},
    {"trailer", stubsave_fuzz_trailer, stubsave_mutate_trailer},
    {"sections", stubsave_fuzz_sections, NULL},
    {"json", stubsave_fuzz_json, NULL},
    {"relay", stubsave_fuzz_relay, NULL},
    {"monitor", stubsave_fuzz_monitor, NULL},
    {"xenstore", stubsave_fuzz_xenstore, NULL},
    {"messages", stubsave_fuzz_messages, NULL},
    {"values", stubsave_fuzz_values, NULL},
    {"xl", stubsave_fuzz_xl, stubsave_mutate_xl},
    {"libvirt", stubsave_fuzz_libvirt, stubsave_mutate_libvirt},
    {"libxl", stubsave_fuzz_libxl, stubsave_mutate_libxl},
    {"xenopsd", stubsave_fuzz_xenopsd, stubsave_mutate_xenopsd},
};

static const struct target *chosen;

// Beside the coverage of code: how far a library has come that is not instrumented.
__attribute__((section("__libfuzzer_extra_counters"), used)) static volatile uint8_t reached[1024];

void stubsave_fuzz_reached(uint32_t number) { reached[number % sizeof reached] = 1; }

// libFuzzer passes over what begins with two dashes.
int LLVMFuzzerInitialize(int *count, char ***words) {
  const char option[] = "--target=";
  for (int i = 1; i < *count; i++) {
    if (strncmp((*words)[i], option, sizeof option - 1) != 0) continue;
    for (size_t t = 0; t < sizeof targets / sizeof *targets; t++)
      if (strcmp((*words)[i] + sizeof option - 1, targets[t].name) == 0) chosen = &targets[t];
  }
  if (chosen == NULL) {
    fprintf(stderr, "--target=NAME, one of:");
    for (size_t t = 0; t < sizeof targets / sizeof *targets; t++)
      fprintf(stderr, " %s", targets[t].name);
    fprintf(stderr, "\n");
    exit(64);
  }
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
  chosen->run(bytes, count);
  return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t count, size_t room, unsigned int seed) {
  if (chosen->mutate == NULL) return LLVMFuzzerMutate(bytes, count, room);
  // A third keeps the bytes as they are for a change of structure alone.
  if (seed % 3 != 0) count = LLVMFuzzerMutate(bytes, count, room);
  return chosen->mutate(bytes, count, room, seed / 3);
}
