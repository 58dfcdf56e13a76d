/* Occupies schedulers, which no Erlang code can: a NIF that does not return
 * holds the thread it runs on. Built and loaded by erlmcp_ct_block.erl. */
#include <dlfcn.h>
#include <erl_nif.h>
#include <string.h>
#include <time.h>

typedef ERL_NIF_TERM (*function_t)(ErlNifEnv *, int, const ERL_NIF_TERM[]);

static void sleep_us(long us) {
  struct timespec time = {us / 1000000, us % 1000000 * 1000};
  while (nanosleep(&time, &time) != 0)
    ;
}

static ERL_NIF_TERM block(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
  int ms;
  if (argc != 1 || !enif_get_int(env, argv[0], &ms))
    return enif_make_badarg(env);
  sleep_us(ms * 1000L);
  return enif_make_atom(env, "ok");
}

/* count/3 of the library at a path, as the thread of a dirty scheduler may call
 * it: found by the table that the library gives to the VM. */
static function_t find_count(const char *path) {
  void *library = dlopen(path, RTLD_NOW | RTLD_NOLOAD);
  ErlNifEntry *(*init)(void) = library ? dlsym(library, "nif_init") : NULL;
  ErlNifEntry *entry = init ? init() : NULL;
  for (int i = 0; entry && i < entry->num_of_funcs; i++)
    if (entry->funcs[i].arity == 3 && strcmp(entry->funcs[i].name, "count") == 0)
      return entry->funcs[i].fptr;
  return NULL;
}

/* record(Path, Name, Labels, Ms) -> how often it has counted one. */
static ERL_NIF_TERM record(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
  char path[4096];
  int ms;
  if (argc != 4 || enif_get_string(env, argv[0], path, sizeof path, ERL_NIF_LATIN1) <= 0 ||
      !enif_get_int(env, argv[3], &ms))
    return enif_make_badarg(env);
  function_t count = find_count(path);
  if (!count)
    return enif_make_atom(env, "no_count");
  ERL_NIF_TERM arguments[] = {argv[1], enif_make_int(env, 1), argv[2]};
  ErlNifTime end = enif_monotonic_time(ERL_NIF_MSEC) + ms;
  unsigned counted = 0;
  while (enif_monotonic_time(ERL_NIF_MSEC) < end) {
    if (!enif_is_identical(count(env, 3, arguments), enif_make_atom(env, "ok")))
      return enif_make_atom(env, "refused");
    counted++;
    sleep_us(200);
  }
  return enif_make_uint(env, counted);
}

static ErlNifFunc functions[] = {{"block", 1, block, 0},
                                 {"record", 4, record, ERL_NIF_DIRTY_JOB_IO_BOUND}};

ERL_NIF_INIT(erlmcp_ct_block, functions, NULL, NULL, NULL, NULL)
