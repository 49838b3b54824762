#include <stdint.h>
#include <json-c/json.h>
#include <yajl/yajl_parse.h>

// Tells libFuzzer that something has been reached for which no code of ours stands (Engine/main.c).
void stubsave_fuzz_reached(uint32_t number);
