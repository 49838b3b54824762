// libxxhash's own code once more, from its header, translated for AVX2.
#if defined(__x86_64__)
#include <immintrin.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#define XXH_INLINE_ALL
#define XXH_VECTOR XXH_AVX2
#include <xxhash.h>

uint64_t stubsave_xxh3_64_avx2(const void *bytes, size_t count, uint64_t seed) {
  return XXH3_64bits_withSeed(bytes, count, seed);
}

void stubsave_xxh3_128_update_avx2(void *state, const void *bytes, size_t count) {
  XXH3_128bits_update(state, bytes, count);
}
#pragma clang attribute pop
#endif
