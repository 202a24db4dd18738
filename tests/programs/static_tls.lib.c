/* A library with static TLS, as many numeric ones have: it can be loaded only while some of the surplus is left. */
static _Thread_local char block[1200] __attribute__((tls_model("initial-exec")));
int use_block(int i) { return ++block[i % 1200]; }
