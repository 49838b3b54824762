extern int stubsave_decode_main(void);

#if __has_feature(address_sanitizer)
// Started without an environment, it would look for leaks, and write what it finds to its output.
const char *__asan_default_options(void) { return "detect_leaks=0"; }
#endif

int main(void) { return stubsave_decode_main(); }
