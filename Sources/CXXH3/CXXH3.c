#include "CXXH3.h"

#include <xxhash.h>

#if defined(__x86_64__)
uint64_t stubsave_xxh3_64_avx2(const void *bytes, size_t count, uint64_t seed);
void stubsave_xxh3_128_update_avx2(void *state, const void *bytes, size_t count);
#define HAS_AVX2 __builtin_cpu_supports("avx2")
#else
#define HAS_AVX2 0
#define stubsave_xxh3_64_avx2(bytes, count, seed) 0
#define stubsave_xxh3_128_update_avx2(state, bytes, count) (void)0
#endif

uint64_t stubsave_xxh3_64(const void *bytes, size_t count, uint64_t seed) {
  return HAS_AVX2 ? stubsave_xxh3_64_avx2(bytes, count, seed)
                  : XXH3_64bits_withSeed(bytes, count, seed);
}

void stubsave_xxh3_128_update(void *state, const void *bytes, size_t count) {
  if (HAS_AVX2)
    stubsave_xxh3_128_update_avx2(state, bytes, count);
  else
    XXH3_128bits_update(state, bytes, count);
}
