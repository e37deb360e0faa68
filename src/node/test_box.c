// The one program of the tests' image: does what its arguments say, in order, words of one action to the next comma. Static.
//   print TEXT | write FILE TEXT | cat FILE | sleep SECONDS | exists FILE (else ends with 1) | remove FILE | exit CODE
//   flood BYTES (of output lines) | stubborn (ignores SIGTERM) | connect HOST PORT | serve PORT FILE (HTTP: 200 while FILE exists, else
//   500) count FILE (appends a line) | seccomp (the line of that name of /proc/self/status)
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void terminated(int number) { _exit(128 + number); }

static int show(const char* path, const char* prefix) {
  char line[4096];
  FILE* file = fopen(path, "r");
  if (file == NULL) return 1;
  while (fgets(line, sizeof(line), file) != NULL)
    if (strncmp(line, prefix, strlen(prefix)) == 0) fputs(line, stdout);
  fclose(file);
  return 0;
}

static int append(const char* path, const char* text, const char* how) {
  FILE* file = fopen(path, how);
  if (file == NULL) return 1;
  fprintf(file, "%s\n", text);
  return fclose(file);
}

static struct sockaddr_in address(const char* host, const char* port) {
  struct sockaddr_in at;
  memset(&at, 0, sizeof(at));
  at.sin_family = AF_INET;
  at.sin_port = htons((unsigned short)atoi(port));
  inet_pton(AF_INET, host, &at.sin_addr);
  return at;
}

static int reach(const char* host, const char* port) {
  struct sockaddr_in at = address(host, port);
  int socketFd = socket(AF_INET, SOCK_STREAM, 0);
  int failed = connect(socketFd, (struct sockaddr*)&at, sizeof(at));
  close(socketFd);
  return failed != 0;
}

static int serve(const char* port, const char* path) {
  struct sockaddr_in at = address("0.0.0.0", port);
  int on = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (bind(listener, (struct sockaddr*)&at, sizeof(at)) != 0 || listen(listener, 16) != 0) return 1;
  for (;;) {
    char request[4096];
    int client = accept(listener, NULL, NULL);
    if (client < 0 || read(client, request, sizeof(request)) <= 0) {
      close(client);
      continue;
    }
    const int good = access(path, F_OK) == 0;
    dprintf(client, "HTTP/1.1 %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", good ? "200 OK" : "500 Internal Server Error");
    close(client);
  }
}

static int flood(long bytes) {
  static char line[1000];
  memset(line, 'x', sizeof(line) - 1);
  for (; bytes > 0; bytes -= (long)sizeof(line)) puts(line);
  return 0;
}

static int act(char** words, int count) {
  const char* what = words[0];
  if (count == 1 && strcmp(what, "stubborn") == 0) return signal(SIGTERM, SIG_IGN) == SIG_ERR;
  if (count == 1 && strcmp(what, "seccomp") == 0) return show("/proc/self/status", "Seccomp:");
  if (count == 2 && strcmp(what, "print") == 0) return puts(words[1]) < 0;
  if (count == 2 && strcmp(what, "cat") == 0) return show(words[1], "");
  if (count == 2 && strcmp(what, "exists") == 0) return access(words[1], F_OK) != 0;
  if (count == 2 && strcmp(what, "remove") == 0) return unlink(words[1]) != 0;
  if (count == 2 && strcmp(what, "count") == 0) return append(words[1], "once", "a");
  if (count == 2 && strcmp(what, "flood") == 0) return flood(atol(words[1]));
  if (count == 2 && strcmp(what, "sleep") == 0) return usleep((useconds_t)(atof(words[1]) * 1e6)) != 0;
  if (count == 2 && strcmp(what, "exit") == 0) exit(atoi(words[1]));
  if (count == 3 && strcmp(what, "write") == 0) return append(words[1], words[2], "w");
  if (count == 3 && strcmp(what, "connect") == 0) return reach(words[1], words[2]);
  if (count == 3 && strcmp(what, "serve") == 0) return serve(words[1], words[2]);
  fprintf(stderr, "cannot %s with %d words\n", what, count - 1);
  return 2;
}

int main(int count, char** words) {
  signal(SIGTERM, terminated);  // as the first process of a container it would be ignored otherwise
  setvbuf(stdout, NULL, _IONBF, 0);
  for (int from = 1; from < count;) {
    int to = from;
    while (to < count && strcmp(words[to], ",") != 0) ++to;
    const int failed = act(words + from, to - from);
    if (failed) return failed;
    from = to + 1;
  }
  return 0;
}
