/* Reading the simulated hardware and keeping the books of who holds how much of it. See simgpu.h. */
#define _GNU_SOURCE
#include "simgpu.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_mutex_t state_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct simgpu_state state;
static struct stat state_seen; /* of the file that `state` was read from; st_ino 0 before the first read */
static struct simgpu_ledger *own_ledger;

static void path_of(const char *name, char *out, size_t size) {
    const char *directory = getenv("SHARDPACK_SIM_GPU_DIR");
    snprintf(out, size, "%s/%s", directory ? directory : ".", name);
}

/* ---- the state file ------------------------------------------------------------------------------------- */

static void copy_text(char out[SIMGPU_TEXT], const char *text) {
    snprintf(out, SIMGPU_TEXT, "%s", text);
}

static void set_memory_field(struct simgpu_device *device, const char *key, const char *value) {
    uint64_t bytes = strtoull(value, NULL, 10);
    if (!strcmp(key, "total")) device->total = bytes;
    else if (!strcmp(key, "reserved")) device->reserved = bytes;
    else if (!strcmp(key, "context")) device->context = bytes;
    else if (!strcmp(key, "foreign")) device->foreign = bytes;
}

static void set_shape_field(struct simgpu_device *device, const char *key, const char *value) {
    int number = atoi(value);
    if (!strcmp(key, "gpu")) device->gpu = number;
    else if (!strcmp(key, "utilization")) device->utilization = (unsigned)number;
    else if (!strcmp(key, "mig_mode")) device->mig_mode = number;
    else if (!strcmp(key, "gi")) device->gpu_instance = number;
    else if (!strcmp(key, "ci")) device->compute_instance = number;
    else if (!strcmp(key, "compute_slices")) device->compute_slices = (unsigned)number;
    else if (!strcmp(key, "memory_slices")) device->memory_slices = (unsigned)number;
    else if (!strcmp(key, "error")) device->error = number;
    else if (!strcmp(key, "compute")) sscanf(value, "%d.%d", &device->compute_major, &device->compute_minor);
}

/* Read "key=value key=value name=the rest" into device; returns the record's own index, -1 if it has none. */
static int read_device(struct simgpu_device *device, char *text) {
    int index = -1;
    while (*text) {
        text += strspn(text, " ");
        char *value = strchr(text, '=');
        if (!value) break;
        *value++ = '\0';
        int last = !strcmp(text, "name");
        char *end = last ? value + strlen(value) : value + strcspn(value, " ");
        char *next = *end ? end + 1 : end;
        *end = '\0';
        if (last) copy_text(device->name, value);
        else if (!strcmp(text, "uuid")) copy_text(device->uuid, value);
        else if (!strcmp(text, "index")) index = atoi(value);
        set_memory_field(device, text, value);
        set_shape_field(device, text, value);
        text = next;
    }
    return index;
}

static void add_gpu(char *text) {
    struct simgpu_device device = {.present = 1, .mig = SIMGPU_WHOLE, .compute_major = 8};
    int index = read_device(&device, text);
    if (index < 0 || index >= SIMGPU_MAX_GPUS) return;
    device.gpu = index;
    state.device[simgpu_slot(index, SIMGPU_WHOLE)] = device;
    if (index >= state.gpu_count) state.gpu_count = index + 1;
}

static void add_mig(char *text) {
    struct simgpu_device device = {.present = 1, .gpu = -1};
    int index = read_device(&device, text);
    if (index < 0 || index >= SIMGPU_MAX_MIG || device.gpu < 0 || device.gpu >= SIMGPU_MAX_GPUS) return;
    device.mig = index;
    state.device[simgpu_slot(device.gpu, index)] = device;
}

static void read_record(char *line) {
    line[strcspn(line, "\n")] = '\0';
    char *rest = strchr(line, ' ');
    if (!rest) return;
    *rest++ = '\0';
    if (!strcmp(line, "gpu")) add_gpu(rest);
    else if (!strcmp(line, "mig")) add_mig(rest);
    else if (!strcmp(line, "driver")) snprintf(state.driver, sizeof state.driver, "%s", rest);
    else if (!strcmp(line, "cuda")) state.cuda_version = atoi(rest);
    else if (!strcmp(line, "init_error")) state.init_error = atoi(rest);
}

static int same_file(const struct stat *a, const struct stat *b) {
    return a->st_ino == b->st_ino && a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* Returns 0 if there is no state to read. */
static int refresh_state(void) {
    char path[PATH_MAX], line[1024];
    struct stat now;
    path_of("state", path, sizeof path);
    FILE *file = fopen(path, "re");
    if (!file) return 0;
    if (fstat(fileno(file), &now) == 0 && !same_file(&now, &state_seen)) {
        memset(&state, 0, sizeof state);
        while (fgets(line, sizeof line, file)) read_record(line);
        state_seen = now;
    }
    fclose(file);
    return 1;
}

const struct simgpu_state *simgpu_lock_state(void) {
    pthread_mutex_lock(&state_mutex);
    if (refresh_state()) return &state;
    pthread_mutex_unlock(&state_mutex);
    return NULL;
}

void simgpu_unlock_state(void) {
    pthread_mutex_unlock(&state_mutex);
}

int simgpu_copy_device(int slot, struct simgpu_device *out) {
    const struct simgpu_state *now = simgpu_lock_state();
    if (!now) return 0;
    *out = now->device[slot];
    simgpu_unlock_state();
    return out->present;
}

/* ---- processes ------------------------------------------------------------------------------------------ */

/* Start time of a process in clock ticks since boot, or 0 if it is dead. A process that was killed but not yet
 * waited for (a zombie) is dead: the driver frees its memory when it exits. */
static uint64_t start_time(pid_t pid) {
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    if (!file) return 0;
    size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[length] = '\0';
    char *after_name = strrchr(text, ')'); /* the name is in brackets and may hold anything */
    if (!after_name) return 0;
    char status = 0;
    unsigned long long started = 0;
    /* proc(5): state is field 3, starttime field 22; after_name stands behind field 2. */
    int fields = sscanf(after_name + 1,
                        " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu",
                        &status, &started);
    return fields == 2 && status != 'Z' && status != 'X' ? started : 0;
}

int simgpu_lock_directory(void) {
    char path[PATH_MAX];
    path_of("lock", path, sizeof path);
    int descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (descriptor >= 0) flock(descriptor, LOCK_EX);
    return descriptor;
}

void simgpu_unlock_directory(int descriptor) {
    if (descriptor >= 0) close(descriptor); /* which unlocks: nobody else has this open file */
}

/* ---- ledgers -------------------------------------------------------------------------------------------- */

static int pid_of_ledger(const char *file_name) {
    int pid = 0, length = 0;
    if (sscanf(file_name, "process.%d%n", &pid, &length) != 1 || file_name[length]) return 0;
    return pid;
}

/* Bytes that the process holds in the slot, 0 if it is dead; *live says which. */
static uint64_t read_holding(pid_t pid, int slot, int *live) {
    char name[64], path[PATH_MAX];
    uint64_t started = 0;
    struct simgpu_holding holding = {0};
    *live = 0;
    snprintf(name, sizeof name, "process.%d", (int)pid);
    path_of(name, path, sizeof path);
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return 0;
    off_t place = offsetof(struct simgpu_ledger, holding) + slot * (off_t)sizeof holding;
    int complete = pread(descriptor, &started, sizeof started, 0) == sizeof started &&
                   pread(descriptor, &holding, sizeof holding, place) == sizeof holding;
    close(descriptor);
    *live = complete && started && start_time(pid) == started;
    return *live ? holding.context + holding.allocated : 0;
}

void simgpu_each_process(int slot, simgpu_visitor visit, void *argument) {
    char path[PATH_MAX];
    path_of("", path, sizeof path);
    DIR *directory = opendir(path);
    if (!directory) return;
    for (struct dirent *entry; (entry = readdir(directory));) {
        int live, pid = pid_of_ledger(entry->d_name);
        uint64_t bytes = pid ? read_holding(pid, slot, &live) : 0;
        if (bytes) visit(pid, bytes, argument);
    }
    closedir(directory);
}

static void add_bytes(pid_t pid, uint64_t bytes, void *argument) {
    (void)pid;
    *(uint64_t *)argument += bytes;
}

uint64_t simgpu_held(int slot) {
    uint64_t sum = 0;
    simgpu_each_process(slot, add_bytes, &sum);
    return sum;
}

/* Remove what dead processes left. Called with the directory locked, so no ledger is being created. */
static void remove_dead_ledgers(void) {
    char path[PATH_MAX];
    path_of("", path, sizeof path);
    DIR *directory = opendir(path);
    if (!directory) return;
    for (struct dirent *entry; (entry = readdir(directory));) {
        int live, pid = pid_of_ledger(entry->d_name);
        if (!pid) continue;
        read_holding(pid, 0, &live);
        if (!live) unlinkat(dirfd(directory), entry->d_name, 0);
    }
    closedir(directory);
}

/* A forked child has its parent's memory but not its GPU memory. */
static void forget_in_child(void) {
    own_ledger = NULL;
    pthread_mutex_init(&state_mutex, NULL);
}

__attribute__((constructor)) static void watch_forks(void) {
    pthread_atfork(NULL, NULL, forget_in_child);
}

static struct simgpu_ledger *map_ledger(int descriptor) {
    if (ftruncate(descriptor, sizeof(struct simgpu_ledger))) return NULL;
    void *memory = mmap(NULL, sizeof(struct simgpu_ledger), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

struct simgpu_ledger *simgpu_own_ledger(void) {
    char name[64], path[PATH_MAX];
    if (own_ledger) return own_ledger;
    remove_dead_ledgers();
    snprintf(name, sizeof name, "process.%d", (int)getpid());
    path_of(name, path, sizeof path);
    int descriptor = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (descriptor < 0) return NULL;
    own_ledger = map_ledger(descriptor);
    close(descriptor);
    if (own_ledger) __atomic_store_n(&own_ledger->started, start_time(getpid()), __ATOMIC_RELEASE);
    return own_ledger;
}
