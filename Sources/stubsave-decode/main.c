extern int stubsave_decode_main(void);

int main(void) { return stubsave_decode_main(); }
