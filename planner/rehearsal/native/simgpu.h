/* The simulated GPUs of one machine, shared by the simulated NVML and the simulated CUDA runtime.
 *
 * Everything lies in one directory, $SHARDPACK_SIM_GPU_DIR:
 *
 *   state            the hardware, as text; written by planner/rehearsal/gpus.py, replaced by rename, re-read
 *                    when it changes. Records are "<kind> key=value ...", one a line; `name` comes last and
 *                    takes the rest of the line.
 *   process.<pid>    what one process holds (struct simgpu_ledger), mapped by its owner, read by everyone.
 *   lock             flock()ed around "is there room? then take it", so that two processes cannot both
 *                    take the last bytes.
 *
 * A ledger counts only while its process lives, so a killed server's memory is free at once.
 */
#ifndef SHARDPACK_SIMGPU_H
#define SHARDPACK_SIMGPU_H

#include <stdint.h>
#include <sys/types.h>

#define SIMGPU_MAX_GPUS 64
#define SIMGPU_MAX_MIG 8 /* MIG instances of one GPU; NVIDIA's limit is 7 */
#define SIMGPU_SLOTS (SIMGPU_MAX_GPUS * (SIMGPU_MAX_MIG + 1))
#define SIMGPU_TEXT 96 /* NVML's longest name and UUID buffers hold 96 bytes */
#define SIMGPU_WHOLE (-1)

/* What only a definition in the library itself may see stays hidden (-fvisibility=hidden). */
#define SIMGPU_EXPORT __attribute__((visibility("default")))

/* A GPU, or one MIG instance of it. Memory is in bytes. */
struct simgpu_device {
    int present;
    int gpu; /* index of the GPU */
    int mig; /* index of the instance in its GPU, SIMGPU_WHOLE for the GPU itself */
    char uuid[SIMGPU_TEXT];
    char name[SIMGPU_TEXT];
    uint64_t total;
    uint64_t reserved; /* by the driver; part of total */
    uint64_t context;  /* charged once to every process that uses the device */
    uint64_t foreign;  /* held by processes outside the simulation */
    unsigned utilization;
    int compute_major, compute_minor;
    int mig_mode;
    int gpu_instance, compute_instance;
    unsigned compute_slices, memory_slices;
    int error; /* NVML's code that every call on the device returns; 0 is none */
};

struct simgpu_state {
    char driver[80];
    int cuda_version; /* as NVML reports it: 12040 is 12.4 */
    int init_error;   /* what nvmlInit returns; 0 is success */
    int gpu_count;
    struct simgpu_device device[SIMGPU_SLOTS];
};

/* What one process holds on one device. */
struct simgpu_holding {
    uint64_t context;
    uint64_t allocated;
    uint64_t peak; /* the most that both were together; read by planner/rehearsal/gpus.py */
};

/* What one process holds. `started` is the process's start time, which tells it from a later process that
 * was given the same pid. */
struct simgpu_ledger {
    uint64_t started;
    struct simgpu_holding holding[SIMGPU_SLOTS];
};

/* The place of a device in the tables above. */
static inline int simgpu_slot(int gpu, int mig) {
    return gpu * (SIMGPU_MAX_MIG + 1) + mig + 1;
}

/* Re-read the state if it changed and return it with its mutex held; NULL, and nothing held, if there is none. */
const struct simgpu_state *simgpu_lock_state(void);
void simgpu_unlock_state(void);

/* Copy one device; 0 if it is not there (any more). */
int simgpu_copy_device(int slot, struct simgpu_device *out);

/* Take and release the machine-wide lock. The descriptor is -1 if the directory cannot be written. */
int simgpu_lock_directory(void);
void simgpu_unlock_directory(int descriptor);

/* This process's ledger, created on first use; NULL if it cannot be created. Call with the directory locked, which
 * also keeps this process's own threads apart. */
struct simgpu_ledger *simgpu_own_ledger(void);

/* Call visit(pid, bytes, argument) for every live process that holds memory in the slot. */
typedef void (*simgpu_visitor)(pid_t pid, uint64_t bytes, void *argument);
void simgpu_each_process(int slot, simgpu_visitor visit, void *argument);

/* Bytes that live processes of the simulation hold in the slot. */
uint64_t simgpu_held(int slot);

#endif
