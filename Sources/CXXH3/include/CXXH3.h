// libxxhash's two functions that all bytes of a disk go through, with 256 bits at a time where the
// processor has AVX2: Debian's library is built for every amd64, and uses SSE2. The values are the same.
#ifndef STUBSAVE_CXXH3_H
#define STUBSAVE_CXXH3_H

#include <stddef.h>
#include <stdint.h>

uint64_t stubsave_xxh3_64(const void *bytes, size_t count, uint64_t seed);
// `state` is libxxhash's XXH3_state_t, reset for 128 bits.
void stubsave_xxh3_128_update(void *state, const void *bytes, size_t count);

#endif
