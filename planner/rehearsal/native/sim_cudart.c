/* A simulated CUDA runtime, preloaded before NVIDIA's libcudart.so.12 (LD_PRELOAD).
 *
 * It answers the functions of the runtime that a Triton server without a model calls, and those that a backend
 * needs to take and give back device memory. Device memory is host memory that costs nothing until it is touched;
 * what counts is the book-keeping: every byte is charged to this process in the ledger (simgpu.h), and a request
 * that does not fit fails with "out of memory" as it would on the device.
 *
 * A context is charged once to each (process, device), as the real runtime does since CUDA 12.0, by cudaSetDevice
 * and by everything that works on the current device.
 */
#define _GNU_SOURCE
#include "simgpu.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* cudaError_t, CUDA runtime API 12 */
enum {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    NO_DEVICE = 100,
    INVALID_DEVICE = 101,
};

#define CUDA_VERSION 12060 /* the runtime that the tested server was built with */

/* One live allocation. */
struct allocation {
    void *address;
    size_t size;
    int slot;
    struct allocation *next;
};

static struct allocation *allocations; /* guarded by the directory lock, like the ledger */
static __thread int current;           /* ordinal among the visible devices */
static int visible[SIMGPU_MAX_GPUS];   /* ordinal -> slot */
static int visible_count;
static pthread_once_t visible_once = PTHREAD_ONCE_INIT;

/* ---- which devices this process sees ------------------------------------------------------------------- */

static int is_usable(const struct simgpu_device *device) {
    return device->present && !device->error;
}

/* CUDA sees the instances of a GPU in MIG mode, not the GPU: without a UUID, the first one. */
static int slot_of_index(const struct simgpu_state *now, int index) {
    int mig = SIMGPU_WHOLE;
    if (index < 0 || index >= now->gpu_count) return -1;
    if (now->device[simgpu_slot(index, SIMGPU_WHOLE)].mig_mode) mig = 0;
    int slot = simgpu_slot(index, mig);
    return is_usable(&now->device[slot]) ? slot : -1;
}

/* CUDA accepts any unambiguous beginning of a UUID; here the first device that fits is meant. */
static int slot_of_uuid(const struct simgpu_state *now, const char *uuid) {
    for (int slot = 0; slot < SIMGPU_SLOTS; slot++) {
        const struct simgpu_device *device = &now->device[slot];
        if (is_usable(device) && !strncmp(device->uuid, uuid, strlen(uuid))) return slot;
    }
    return -1;
}

static int slot_of_token(const struct simgpu_state *now, const char *token) {
    char *end;
    if (!strncmp(token, "GPU-", 4) || !strncmp(token, "MIG-", 4)) return slot_of_uuid(now, token);
    long index = strtol(token, &end, 10);
    return end == token || *end ? -1 : slot_of_index(now, (int)index);
}

static void see_all(const struct simgpu_state *now) {
    for (int index = 0; index < now->gpu_count; index++) {
        int slot = slot_of_index(now, index);
        if (slot >= 0) visible[visible_count++] = slot;
    }
}

/* The first token that names no device hides all that follow it, as in CUDA. */
static void see_listed(const struct simgpu_state *now, const char *list) {
    char *copy = strdup(list), *rest = NULL;
    for (char *token = strtok_r(copy, ",", &rest); token; token = strtok_r(NULL, ",", &rest)) {
        int slot = slot_of_token(now, token);
        if (slot < 0 || visible_count == SIMGPU_MAX_GPUS) break;
        visible[visible_count++] = slot;
    }
    free(copy);
}

static void find_visible(void) {
    const char *list = getenv("CUDA_VISIBLE_DEVICES");
    const struct simgpu_state *now = simgpu_lock_state();
    if (!now) return;
    if (list) see_listed(now, list);
    else see_all(now);
    /* One process uses at most one MIG instance, and none beside whole GPUs: the first device decides. */
    for (int i = 0; i < visible_count; i++) {
        if (now->device[visible[i]].mig != SIMGPU_WHOLE) visible_count = i ? i : 1;
    }
    simgpu_unlock_state();
}

static int count_visible(void) {
    pthread_once(&visible_once, find_visible);
    return visible_count;
}

static int describe(int ordinal, struct simgpu_device *out) {
    if (ordinal < 0 || ordinal >= count_visible()) return INVALID_DEVICE;
    return simgpu_copy_device(visible[ordinal], out) ? SUCCESS : INVALID_DEVICE;
}

/* ---- taking and giving back ------------------------------------------------------------------------------ */

static uint64_t usable_bytes(const struct simgpu_device *device) {
    return device->total > device->reserved ? device->total - device->reserved : 0;
}

static uint64_t free_bytes(int slot, const struct simgpu_device *device) {
    uint64_t usable = usable_bytes(device), used = device->foreign + simgpu_held(slot);
    return usable > used ? usable - used : 0;
}

static void add(uint64_t *counter, uint64_t bytes) {
    __atomic_fetch_add(counter, bytes, __ATOMIC_RELAXED);
}

/* The directory is locked, so nobody else writes. */
static void note_peak(struct simgpu_holding *holding) {
    uint64_t held = holding->context + holding->allocated;
    if (held > holding->peak) __atomic_store_n(&holding->peak, held, __ATOMIC_RELAXED);
}

/* Charge the context if this process has none in the slot yet. The directory is locked. */
static int take_context(struct simgpu_ledger *ledger, int slot, const struct simgpu_device *device) {
    struct simgpu_holding *holding = &ledger->holding[slot];
    if (holding->context) return SUCCESS;
    if (device->context > free_bytes(slot, device)) return OUT_OF_MEMORY;
    add(&holding->context, device->context);
    return SUCCESS;
}

/* Charge the context and `bytes` of the current device to this process. The directory is locked. */
static int take_locked(uint64_t bytes) {
    struct simgpu_device device;
    int code = describe(current, &device);
    if (code) return code;
    int slot = visible[current];
    struct simgpu_ledger *ledger = simgpu_own_ledger();
    if (!ledger) return OUT_OF_MEMORY;
    code = take_context(ledger, slot, &device);
    if (code) return code;
    if (bytes > free_bytes(slot, &device)) return OUT_OF_MEMORY;
    add(&ledger->holding[slot].allocated, bytes);
    note_peak(&ledger->holding[slot]);
    return SUCCESS;
}

static int enter_context(void) {
    if (!count_visible()) return NO_DEVICE;
    int lock = simgpu_lock_directory();
    int code = take_locked(0);
    simgpu_unlock_directory(lock);
    return code;
}

/* Untouched pages of a private mapping cost no host memory, so 80 GiB of it are as cheap as a byte. */
static void *map_memory(size_t size) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void *address = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, -1, 0);
    return address == MAP_FAILED ? NULL : address;
}

static int remember(void *address, size_t size) {
    struct allocation *entry = malloc(sizeof *entry);
    if (!entry) return OUT_OF_MEMORY;
    *entry = (struct allocation){address, size, visible[current], allocations};
    allocations = entry;
    return SUCCESS;
}

static int allocate_locked(void **out, size_t size) {
    void *address = map_memory(size);
    if (!address) return OUT_OF_MEMORY;
    int code = take_locked(size);
    if (!code) code = remember(address, size);
    if (code) munmap(address, size);
    else *out = address;
    return code;
}

static struct allocation *forget(void *address) {
    for (struct allocation **place = &allocations; *place; place = &(*place)->next) {
        struct allocation *entry = *place;
        if (entry->address != address) continue;
        *place = entry->next;
        return entry;
    }
    return NULL;
}

/* Device memory does not survive a fork. */
static void forget_all_in_child(void) {
    allocations = NULL;
}

__attribute__((constructor)) static void watch_forks(void) {
    pthread_atfork(NULL, NULL, forget_all_in_child);
}

/* ---- memory ----------------------------------------------------------------------------------------------- */

SIMGPU_EXPORT int cudaMalloc(void **out, size_t size) {
    if (!out) return INVALID_VALUE;
    if (!count_visible()) return NO_DEVICE;
    *out = NULL;
    if (!size) return enter_context();
    int lock = simgpu_lock_directory();
    int code = allocate_locked(out, size);
    simgpu_unlock_directory(lock);
    return code;
}

SIMGPU_EXPORT int cudaMallocManaged(void **out, size_t size, unsigned flags) {
    (void)flags;
    return cudaMalloc(out, size);
}

SIMGPU_EXPORT int cudaFree(void *address) {
    if (!address) return enter_context(); /* the customary way to create the context */
    int lock = simgpu_lock_directory();
    struct allocation *entry = forget(address);
    if (entry) add(&simgpu_own_ledger()->holding[entry->slot].allocated, -(uint64_t)entry->size);
    simgpu_unlock_directory(lock);
    if (!entry) return INVALID_VALUE;
    munmap(entry->address, entry->size);
    free(entry);
    return SUCCESS;
}

SIMGPU_EXPORT int cudaMemGetInfo(size_t *free_out, size_t *total_out) {
    struct simgpu_device device;
    int code = enter_context();
    if (!code) code = describe(current, &device);
    if (code) return code;
    *free_out = free_bytes(visible[current], &device);
    *total_out = usable_bytes(&device);
    return SUCCESS;
}

SIMGPU_EXPORT int cudaHostAlloc(void **out, size_t size, unsigned flags) {
    (void)flags;
    *out = malloc(size);
    return *out ? SUCCESS : OUT_OF_MEMORY;
}

SIMGPU_EXPORT int cudaFreeHost(void *address) {
    free(address);
    return SUCCESS;
}

SIMGPU_EXPORT int cudaMemcpy(void *to, const void *from, size_t size, int kind) {
    (void)kind;
    memcpy(to, from, size);
    return SUCCESS;
}

SIMGPU_EXPORT int cudaMemcpyAsync(void *to, const void *from, size_t size, int kind, void *stream) {
    (void)stream;
    return cudaMemcpy(to, from, size, kind);
}

SIMGPU_EXPORT int cudaMemcpyPeer(void *to, int to_device, const void *from, int from_device, size_t size) {
    (void)to_device;
    (void)from_device;
    memcpy(to, from, size);
    return SUCCESS;
}

SIMGPU_EXPORT int cudaMemset(void *address, int value, size_t size) {
    memset(address, value, size);
    return SUCCESS;
}

SIMGPU_EXPORT int cudaMemPrefetchAsync(const void *address, size_t size, int device, void *stream) {
    (void)address;
    (void)size;
    (void)device;
    (void)stream;
    return SUCCESS;
}

/* ---- devices ---------------------------------------------------------------------------------------------- */

SIMGPU_EXPORT int cudaGetDeviceCount(int *out) {
    *out = count_visible();
    return *out ? SUCCESS : NO_DEVICE;
}

SIMGPU_EXPORT int cudaGetDevice(int *out) {
    *out = current;
    return count_visible() ? SUCCESS : NO_DEVICE;
}

SIMGPU_EXPORT int cudaSetDevice(int ordinal) {
    if (ordinal < 0 || ordinal >= count_visible()) return INVALID_DEVICE;
    current = ordinal;
    return enter_context();
}

/* struct cudaDeviceProp of CUDA 12 is 1,032 bytes long; these are the fields that the server reads. */
SIMGPU_EXPORT int cudaGetDeviceProperties_v2(char *properties, int ordinal) {
    struct simgpu_device device;
    int code = describe(ordinal, &device);
    if (code) return code;
    memset(properties, 0, 1032);
    memcpy(properties, device.name, sizeof device.name);             /* char name[256] */
    *(size_t *)(void *)(properties + 288) = usable_bytes(&device);   /* size_t totalGlobalMem */
    *(int *)(void *)(properties + 360) = device.compute_major;       /* int major */
    *(int *)(void *)(properties + 364) = device.compute_minor;       /* int minor */
    return SUCCESS;
}

SIMGPU_EXPORT int cudaDeviceGetPCIBusId(char *out, int size, int ordinal) {
    struct simgpu_device device;
    int code = describe(ordinal, &device);
    if (code) return code;
    snprintf(out, (size_t)size, "0000:%02X:00.0", (unsigned)device.gpu + 1);
    return SUCCESS;
}

SIMGPU_EXPORT int cudaDeviceCanAccessPeer(int *out, int device, int peer) {
    (void)device;
    (void)peer;
    *out = 0;
    return SUCCESS;
}

SIMGPU_EXPORT int cudaDeviceEnablePeerAccess(int peer, unsigned flags) {
    (void)peer;
    (void)flags;
    return SUCCESS;
}

SIMGPU_EXPORT int cudaDeviceGetStreamPriorityRange(int *least, int *greatest) {
    *least = *greatest = 0;
    return SUCCESS;
}

/* ---- streams: everything is done when the call returns ---------------------------------------------------- */

SIMGPU_EXPORT int cudaStreamCreate(void **out) {
    int code = enter_context();
    if (code) return code;
    *out = malloc(1); /* only its address matters */
    return *out ? SUCCESS : OUT_OF_MEMORY;
}

SIMGPU_EXPORT int cudaStreamCreateWithPriority(void **out, unsigned flags, int priority) {
    (void)flags;
    (void)priority;
    return cudaStreamCreate(out);
}

SIMGPU_EXPORT int cudaStreamDestroy(void *stream) {
    free(stream);
    return SUCCESS;
}

SIMGPU_EXPORT int cudaStreamSynchronize(void *stream) {
    (void)stream;
    return SUCCESS;
}

SIMGPU_EXPORT int cudaStreamGetFlags(void *stream, unsigned *out) {
    (void)stream;
    *out = 0;
    return SUCCESS;
}

SIMGPU_EXPORT int cudaLaunchHostFunc(void *stream, void (*function)(void *), void *argument) {
    (void)stream;
    function(argument);
    return SUCCESS;
}

/* ---- errors and versions ---------------------------------------------------------------------------------- */

SIMGPU_EXPORT const char *cudaGetErrorString(int code) {
    switch (code) {
    case SUCCESS: return "no error";
    case INVALID_VALUE: return "invalid argument";
    case OUT_OF_MEMORY: return "out of memory";
    case NO_DEVICE: return "no CUDA-capable device is detected";
    case INVALID_DEVICE: return "invalid device ordinal";
    default: return "unrecognized error code";
    }
}

SIMGPU_EXPORT int cudaGetLastError(void) {
    return SUCCESS;
}

SIMGPU_EXPORT int cudaPeekAtLastError(void) {
    return SUCCESS;
}

SIMGPU_EXPORT int cudaRuntimeGetVersion(int *out) {
    *out = CUDA_VERSION;
    return SUCCESS;
}

SIMGPU_EXPORT int cudaDriverGetVersion(int *out) {
    *out = CUDA_VERSION;
    return SUCCESS;
}
