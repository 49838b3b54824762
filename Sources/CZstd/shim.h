// For decoding block by block: ZSTD_decompressContinue.
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>
