/* A simulated NVML (libnvidia-ml.so.1): what inventory and agents ask a driver, answered from simgpu.h.
 *
 * Struct layouts and return codes are nvml.h's; FIDELITY.md says which were compared with what.
 */
#define _GNU_SOURCE
#include "simgpu.h"

#include <stdio.h>
#include <string.h>

/* nvmlReturn_t */
enum {
    SUCCESS = 0,
    UNINITIALIZED = 1,
    INVALID_ARGUMENT = 2,
    NOT_SUPPORTED = 3,
    NOT_FOUND = 6,
    INSUFFICIENT_SIZE = 7,
    DRIVER_NOT_LOADED = 9,
    GPU_IS_LOST = 15,
    ARGUMENT_VERSION_MISMATCH = 25,
    UNKNOWN = 999,
};

#define NO_INSTANCE 0xFFFFFFFFu /* the driver's gi and ci of a process outside MIG */
#define MAX_PROCESSES 1024

typedef void *nvml_device;

/* A handle is the address of a device's entry here, so it stays good while the state is re-read. */
static char handles[SIMGPU_SLOTS];
static int initialized;

static nvml_device handle_of(int slot) {
    return &handles[slot];
}

/* Copy the device behind a handle, or say why not. */
static int look_up(nvml_device handle, struct simgpu_device *out) {
    char *entry = handle;
    if (!initialized) return UNINITIALIZED;
    if (entry < handles || entry >= handles + SIMGPU_SLOTS) return INVALID_ARGUMENT;
    if (!simgpu_copy_device((int)(entry - handles), out)) return GPU_IS_LOST;
    return out->error;
}

static int look_up_mig(nvml_device handle, struct simgpu_device *out) {
    int code = look_up(handle, out);
    if (code) return code;
    return out->mig == SIMGPU_WHOLE ? INVALID_ARGUMENT : SUCCESS;
}

static int copy_out(const char *text, char *out, unsigned size) {
    if (strlen(text) + 1 > size) return INSUFFICIENT_SIZE;
    strcpy(out, text);
    return SUCCESS;
}

/* ---- the library and the driver --------------------------------------------------------------------------- */

SIMGPU_EXPORT int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    const struct simgpu_state *now = simgpu_lock_state();
    if (!now) return DRIVER_NOT_LOADED;
    int code = now->init_error;
    simgpu_unlock_state();
    if (!code) initialized++;
    return code;
}

SIMGPU_EXPORT int nvmlInit_v2(void) {
    return nvmlInitWithFlags(0);
}

SIMGPU_EXPORT int nvmlShutdown(void) {
    if (!initialized) return UNINITIALIZED;
    initialized--;
    return SUCCESS;
}

SIMGPU_EXPORT const char *nvmlErrorString(int code) {
    switch (code) {
    case SUCCESS: return "Success";
    case UNINITIALIZED: return "Uninitialized";
    case INVALID_ARGUMENT: return "Invalid Argument";
    case NOT_SUPPORTED: return "Not Supported";
    case NOT_FOUND: return "Not Found";
    case INSUFFICIENT_SIZE: return "Insufficient Size";
    case DRIVER_NOT_LOADED: return "Driver Not Loaded";
    case GPU_IS_LOST: return "GPU is lost";
    case ARGUMENT_VERSION_MISMATCH: return "Argument version mismatch";
    default: return "Unknown Error";
    }
}

SIMGPU_EXPORT int nvmlSystemGetDriverVersion(char *out, unsigned size) {
    char driver[sizeof((struct simgpu_state *)0)->driver];
    const struct simgpu_state *now = initialized ? simgpu_lock_state() : NULL;
    if (!now) return UNINITIALIZED;
    memcpy(driver, now->driver, sizeof driver);
    simgpu_unlock_state();
    return copy_out(driver, out, size);
}

SIMGPU_EXPORT int nvmlSystemGetNVMLVersion(char *out, unsigned size) {
    char driver[sizeof((struct simgpu_state *)0)->driver], version[sizeof driver + 4];
    int code = nvmlSystemGetDriverVersion(driver, sizeof driver);
    if (code) return code;
    snprintf(version, sizeof version, "12.%s", driver);
    return copy_out(version, out, size);
}

SIMGPU_EXPORT int nvmlSystemGetCudaDriverVersion_v2(int *out) {
    const struct simgpu_state *now = initialized ? simgpu_lock_state() : NULL;
    if (!now) return UNINITIALIZED;
    *out = now->cuda_version;
    simgpu_unlock_state();
    return SUCCESS;
}

SIMGPU_EXPORT int nvmlSystemGetCudaDriverVersion(int *out) {
    return nvmlSystemGetCudaDriverVersion_v2(out);
}

/* ---- finding devices -------------------------------------------------------------------------------------- */

SIMGPU_EXPORT int nvmlDeviceGetCount_v2(unsigned *out) {
    const struct simgpu_state *now = initialized ? simgpu_lock_state() : NULL;
    if (!now) return UNINITIALIZED;
    *out = (unsigned)now->gpu_count;
    simgpu_unlock_state();
    return SUCCESS;
}

SIMGPU_EXPORT int nvmlDeviceGetHandleByIndex_v2(unsigned index, nvml_device *out) {
    struct simgpu_device device;
    if (!initialized) return UNINITIALIZED;
    if (index >= SIMGPU_MAX_GPUS) return INVALID_ARGUMENT;
    int slot = simgpu_slot((int)index, SIMGPU_WHOLE);
    if (!simgpu_copy_device(slot, &device)) return INVALID_ARGUMENT;
    *out = handle_of(slot);
    return device.error;
}

SIMGPU_EXPORT int nvmlDeviceGetHandleByUUID(const char *uuid, nvml_device *out) {
    const struct simgpu_state *now = initialized ? simgpu_lock_state() : NULL;
    if (!now) return UNINITIALIZED;
    int code = NOT_FOUND;
    for (int slot = 0; slot < SIMGPU_SLOTS && code == NOT_FOUND; slot++) {
        if (!now->device[slot].present || strcmp(now->device[slot].uuid, uuid)) continue;
        *out = handle_of(slot);
        code = now->device[slot].error;
    }
    simgpu_unlock_state();
    return code;
}

SIMGPU_EXPORT int nvmlDeviceGetMaxMigDeviceCount(nvml_device handle, unsigned *out) {
    struct simgpu_device device;
    int code = look_up(handle, &device);
    if (!code) *out = device.compute_major >= 8 ? 7 : 0;
    return code;
}

SIMGPU_EXPORT int nvmlDeviceGetMigDeviceHandleByIndex(nvml_device handle, unsigned index, nvml_device *out) {
    struct simgpu_device gpu, instance;
    int code = look_up(handle, &gpu);
    if (code) return code;
    if (gpu.mig != SIMGPU_WHOLE) return INVALID_ARGUMENT;
    if (!gpu.mig_mode || index >= SIMGPU_MAX_MIG) return NOT_FOUND;
    int slot = simgpu_slot(gpu.gpu, (int)index);
    if (!simgpu_copy_device(slot, &instance)) return NOT_FOUND;
    *out = handle_of(slot);
    return SUCCESS;
}

SIMGPU_EXPORT int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(nvml_device handle, nvml_device *out) {
    struct simgpu_device device;
    int code = look_up_mig(handle, &device);
    if (!code) *out = handle_of(simgpu_slot(device.gpu, SIMGPU_WHOLE));
    return code;
}

/* ---- describing a device ---------------------------------------------------------------------------------- */

SIMGPU_EXPORT int nvmlDeviceGetName(nvml_device handle, char *out, unsigned size) {
    struct simgpu_device device;
    int code = look_up(handle, &device);
    return code ? code : copy_out(device.name, out, size);
}

SIMGPU_EXPORT int nvmlDeviceGetUUID(nvml_device handle, char *out, unsigned size) {
    struct simgpu_device device;
    int code = look_up(handle, &device);
    return code ? code : copy_out(device.uuid, out, size);
}

SIMGPU_EXPORT int nvmlDeviceGetIndex(nvml_device handle, unsigned *out) {
    struct simgpu_device device;
    int code = look_up(handle, &device);
    if (!code) *out = (unsigned)(device.mig == SIMGPU_WHOLE ? device.gpu : device.mig);
    return code;
}

SIMGPU_EXPORT int nvmlDeviceGetMinorNumber(nvml_device handle, unsigned *out) {
    struct simgpu_device device;
    int code = look_up(handle, &device);
    if (!code) *out = (unsigned)device.gpu;
    return code;
}

SIMGPU_EXPORT int nvmlDeviceGetCudaComputeCapability(nvml_device handle, int *major, int *minor) {
    struct simgpu_device device;
    int code = look_up(handle, &device);
    if (code) return code;
    *major = device.compute_major;
    *minor = device.compute_minor;
    return SUCCESS;
}

/* nvmlPciInfo_t */
struct pci_info {
    char legacy_id[16];
    unsigned domain, bus, device, device_id, subsystem_id;
    char id[32];
};
_Static_assert(sizeof(struct pci_info) == 68, "nvml.h");

SIMGPU_EXPORT int nvmlDeviceGetPciInfo_v3(nvml_device handle, struct pci_info *out) {
    struct simgpu_device device;
    int code = look_up(handle, &device);
    if (code) return code;
    memset(out, 0, sizeof *out);
    out->bus = (unsigned)device.gpu + 1;
    snprintf(out->legacy_id, sizeof out->legacy_id, "0000:%02X:00.0", out->bus);
    snprintf(out->id, sizeof out->id, "00000000:%02X:00.0", out->bus);
    return SUCCESS;
}

SIMGPU_EXPORT int nvmlDeviceGetMigMode(nvml_device handle, unsigned *current, unsigned *pending) {
    struct simgpu_device device;
    int code = look_up(handle, &device);
    if (code) return code;
    if (device.mig != SIMGPU_WHOLE) return INVALID_ARGUMENT;
    if (device.compute_major < 8) return NOT_SUPPORTED; /* MIG came with Ampere */
    *current = *pending = (unsigned)device.mig_mode;
    return SUCCESS;
}

SIMGPU_EXPORT int nvmlDeviceIsMigDeviceHandle(nvml_device handle, unsigned *out) {
    struct simgpu_device device;
    int code = look_up(handle, &device);
    if (!code) *out = device.mig != SIMGPU_WHOLE;
    return code;
}

SIMGPU_EXPORT int nvmlDeviceGetGpuInstanceId(nvml_device handle, unsigned *out) {
    struct simgpu_device device;
    int code = look_up_mig(handle, &device);
    if (!code) *out = (unsigned)device.gpu_instance;
    return code;
}

SIMGPU_EXPORT int nvmlDeviceGetComputeInstanceId(nvml_device handle, unsigned *out) {
    struct simgpu_device device;
    int code = look_up_mig(handle, &device);
    if (!code) *out = (unsigned)device.compute_instance;
    return code;
}

/* nvmlDeviceAttributes_t */
struct attributes {
    unsigned multiprocessors, copy_engines, decoders, encoders, jpegs, ofas;
    unsigned gpu_instance_slices, compute_instance_slices;
    uint64_t memory_mb;
};
_Static_assert(sizeof(struct attributes) == 40, "nvml.h");

SIMGPU_EXPORT int nvmlDeviceGetAttributes_v2(nvml_device handle, struct attributes *out) {
    struct simgpu_device device;
    int code = look_up(handle, &device);
    if (code) return code;
    if (device.mig == SIMGPU_WHOLE) return NOT_SUPPORTED;
    memset(out, 0, sizeof *out);
    out->gpu_instance_slices = out->compute_instance_slices = device.compute_slices;
    out->memory_mb = device.total >> 20;
    return SUCCESS;
}

/* ---- what is used ----------------------------------------------------------------------------------------- */

/* Bytes used on a device, the driver's reservation apart; a GPU's include those of its MIG instances. */
static uint64_t used_bytes(const struct simgpu_device *device) {
    int last = device->mig == SIMGPU_WHOLE ? SIMGPU_MAX_MIG - 1 : device->mig;
    uint64_t used = 0;
    for (int mig = device->mig; mig <= last; mig++) {
        struct simgpu_device part;
        int slot = simgpu_slot(device->gpu, mig);
        if (simgpu_copy_device(slot, &part)) used += part.foreign + simgpu_held(slot);
    }
    return used;
}

static uint64_t rest_of(uint64_t total, uint64_t taken) {
    return total > taken ? total - taken : 0;
}

/* nvmlMemory_t */
struct memory_v1 {
    uint64_t total, free, used;
};
_Static_assert(sizeof(struct memory_v1) == 24, "nvml.h");

/* Version 1 counts the driver's reservation as used. */
SIMGPU_EXPORT int nvmlDeviceGetMemoryInfo(nvml_device handle, struct memory_v1 *out) {
    struct simgpu_device device;
    int code = look_up(handle, &device);
    if (code) return code;
    out->total = device.total;
    out->used = device.reserved + used_bytes(&device);
    out->free = rest_of(out->total, out->used);
    return SUCCESS;
}

/* nvmlMemory_v2_t */
struct memory_v2 {
    unsigned version;
    uint64_t total, reserved, free, used;
};
_Static_assert(sizeof(struct memory_v2) == 40, "nvml.h");

#define MEMORY_V2 (sizeof(struct memory_v2) | 2u << 24)

SIMGPU_EXPORT int nvmlDeviceGetMemoryInfo_v2(nvml_device handle, struct memory_v2 *out) {
    struct simgpu_device device;
    int code = look_up(handle, &device);
    if (code) return code;
    if (out->version != MEMORY_V2) return ARGUMENT_VERSION_MISMATCH;
    out->total = device.total;
    out->reserved = device.reserved;
    out->used = used_bytes(&device);
    out->free = rest_of(out->total, out->reserved + out->used);
    return SUCCESS;
}

/* nvmlUtilization_t */
struct utilization {
    unsigned gpu, memory;
};
_Static_assert(sizeof(struct utilization) == 8, "nvml.h");

SIMGPU_EXPORT int nvmlDeviceGetUtilizationRates(nvml_device handle, struct utilization *out) {
    struct simgpu_device device;
    int code = look_up(handle, &device);
    if (code) return code;
    if (device.mig != SIMGPU_WHOLE || device.mig_mode) return NOT_SUPPORTED; /* as the driver says under MIG */
    out->gpu = device.utilization;
    out->memory = 0;
    return SUCCESS;
}

/* nvmlProcessInfo_v2_t, which the third version of the call uses as well */
struct process_info {
    unsigned pid;
    uint64_t used;
    unsigned gpu_instance, compute_instance;
};
_Static_assert(sizeof(struct process_info) == 24, "nvml.h");

struct process_list {
    struct process_info entry[MAX_PROCESSES];
    unsigned count;
    unsigned gpu_instance, compute_instance; /* of the device that is being read */
};

static void add_process(pid_t pid, uint64_t bytes, void *argument) {
    struct process_list *list = argument;
    if (list->count == MAX_PROCESSES) return;
    struct process_info *entry = &list->entry[list->count++];
    *entry = (struct process_info){(unsigned)pid, bytes, list->gpu_instance, list->compute_instance};
}

static void add_processes_of(const struct simgpu_device *device, struct process_list *list) {
    int in_mig = device->mig != SIMGPU_WHOLE;
    list->gpu_instance = in_mig ? (unsigned)device->gpu_instance : NO_INSTANCE;
    list->compute_instance = in_mig ? (unsigned)device->compute_instance : NO_INSTANCE;
    simgpu_each_process(simgpu_slot(device->gpu, device->mig), add_process, list);
}

static void list_processes(const struct simgpu_device *device, struct process_list *list) {
    int last = device->mig == SIMGPU_WHOLE ? SIMGPU_MAX_MIG - 1 : device->mig;
    list->count = 0;
    for (int mig = device->mig; mig <= last; mig++) {
        struct simgpu_device part;
        if (simgpu_copy_device(simgpu_slot(device->gpu, mig), &part)) add_processes_of(&part, list);
    }
}

SIMGPU_EXPORT int nvmlDeviceGetComputeRunningProcesses_v3(nvml_device handle, unsigned *count,
                                                          struct process_info *out) {
    struct simgpu_device device;
    struct process_list list;
    int code = look_up(handle, &device);
    if (code) return code;
    list_processes(&device, &list);
    int fits = list.count == 0 || (out && *count >= list.count);
    *count = list.count;
    if (!fits) return INSUFFICIENT_SIZE;
    if (list.count) memcpy(out, list.entry, list.count * sizeof *out);
    return SUCCESS;
}

SIMGPU_EXPORT int nvmlDeviceGetComputeRunningProcesses_v2(nvml_device handle, unsigned *count,
                                                          struct process_info *out) {
    return nvmlDeviceGetComputeRunningProcesses_v3(handle, count, out);
}
