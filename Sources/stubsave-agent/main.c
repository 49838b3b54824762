// Embedded Swift has no CommandLine: the arguments come in here.
extern int stubsave_agent_main(int argc, const char *const *argv);

int main(int argc, char **argv) {
  return stubsave_agent_main(argc, (const char *const *)argv);
}
