/*
 * A ClickHouse server from the embedded library: `clickhouse-server CONFIG DATA`.
 *
 * chdb_query_cmdline runs the statement below and blocks until its standard input ends. The statement opens the ports; the
 * end of the input closes them in order. So SIGTERM and SIGINT close the input: a thread waits for them.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define START "SYSTEM START LISTEN HTTP; SYSTEM START LISTEN TCP; SELECT count() FROM table"

static int input[2];

static void *close_input_on_signal(void *signals) {
  int signal_number;
  sigwait(signals, &signal_number);
  fprintf(stderr, "clickhouse-server: signal %d, stopping\n", signal_number);
  close(input[1]);
  return NULL;
}

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: clickhouse-server CONFIG DATA\n");
    return 2;
  }
  void *library = dlopen("libchdb.so", RTLD_NOW | RTLD_GLOBAL);
  if (library == NULL) {
    fprintf(stderr, "clickhouse-server: %s\n", dlerror());
    return 1;
  }
  void *(*run)(int, char **) = (void *(*)(int, char **))dlsym(library, "chdb_query_cmdline");
  size_t (*length_of)(void *) = (size_t (*)(void *))dlsym(library, "chdb_result_length");
  void (*own_handlers)(int) = (void (*)(int))dlsym(library, "chdb_set_signal_handlers_enabled");
  if (run == NULL || length_of == NULL || pipe(input) != 0 || dup2(input[0], STDIN_FILENO) < 0) {
    perror("clickhouse-server");
    return 1;
  }
  if (own_handlers != NULL) own_handlers(0);

  /* Blocked here, before any thread starts: all threads inherit it, and the signals reach sigwait alone. */
  static sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, NULL);
  pthread_t waiter;
  if (pthread_create(&waiter, NULL, close_input_on_signal, &signals) != 0) return 1;

  char config[4096], data[4096];
  snprintf(config, sizeof config, "--config-file=%s", argv[1]);
  snprintf(data, sizeof data, "--path=%s", argv[2]);
  char *arguments[] = {"clickhouse", config, data, "--input-format=LineAsString", "-q", START, NULL};
  void *result = run(6, arguments);
  /* The library prints the error of a statement that failed, which has no answer. Its result has no error either. */
  return result != NULL && length_of(result) > 0 ? 0 : 1;
}
