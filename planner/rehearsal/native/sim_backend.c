/* A Triton backend whose models take exactly as much memory and time as they are told.
 *
 * Parameters in config.pbtxt (all optional, string_value, whole numbers unless said otherwise):
 *
 *   gpu_bytes       steady GPU memory of one instance
 *   peak_bytes      GPU memory of one instance at the height of its load, gpu_bytes included (default: gpu_bytes);
 *                   the difference is taken first, held until the instance is loaded, then freed
 *   peak_ms         how long an instance stays at its peak
 *   residual_bytes  the part of gpu_bytes that stays with the process after the instance is unloaded
 *   base_bytes      GPU memory of the backend itself: taken when the first instance that names it comes to a device,
 *                   never given back; where models name different figures, the largest counts, once
 *   alloc_kb        host memory of the model, in KiB, touched
 *   load_ms         how long the model's load takes, before its instances are made
 *   unload_ms       how long its unload takes
 *   exec_us         how long one execution takes, whatever its batch
 *   fail            text: the load fails with it
 *   fail_file       path: the load fails while this file exists
 *   abort_file      path: the load ends the server's process, as a fault in a backend does, while this file exists
 *
 * GPU memory is taken by instances of KIND_GPU only. Inference is the identity: INPUT<k> comes back as OUTPUT<k>.
 */
#define _GNU_SOURCE
#include "json_text.h"
#include "triton_abi.h"

#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define MAX_DEVICES 64
#define MAX_TEXT 1024

typedef TRITONSERVER_Error Error;

struct model {
    uint64_t gpu_bytes, peak_bytes, residual_bytes, base_bytes;
    uint64_t alloc_kb, load_ms, unload_ms, peak_ms, exec_us;
    char fail[MAX_TEXT];
    char fail_file[MAX_TEXT];
    char abort_file[MAX_TEXT];
    char *host_memory;
};

/* Device memory of one instance; what stays behind has no owner and is not listed. */
struct instance {
    void *memory;
};

static Error *error_of(int code, const char *format, ...) {
    char message[MAX_TEXT + 128];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return TRITONSERVER_ErrorNew(code, message);
}

static void ignore(Error *error) {
    if (error) TRITONSERVER_ErrorDelete(error);
}

static void sleep_us(uint64_t duration_us) {
    struct timespec left = {(time_t)(duration_us / 1000000), (long)(duration_us % 1000000) * 1000};
    while (nanosleep(&left, &left) && errno == EINTR) continue;
}

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- parameters ------------------------------------------------------------------------------------------- */

static int read_text(const char *parameters, const char *key, char *out, size_t size) {
    return json_string(json_member(json_member(parameters, key), "string_value"), out, size);
}

/* Leaves *out as it is where the parameter is absent. */
static Error *read_number(const char *parameters, const char *key, uint64_t *out) {
    char text[64], *end;
    if (!read_text(parameters, key, text, sizeof text)) return NULL;
    errno = 0;
    uint64_t number = strtoull(text, &end, 10);
    if (errno || end == text || *end || strchr(text, '-')) {
        return error_of(ERROR_INVALID_ARG, "parameter '%s' is '%s', not a whole number", key, text);
    }
    *out = number;
    return NULL;
}

static Error *read_numbers(const char *parameters, struct model *model) {
    const struct {
        const char *key;
        uint64_t *out;
    } numbers[] = {
        {"gpu_bytes", &model->gpu_bytes},           {"peak_bytes", &model->peak_bytes},
        {"residual_bytes", &model->residual_bytes}, {"base_bytes", &model->base_bytes},
        {"alloc_kb", &model->alloc_kb},             {"load_ms", &model->load_ms},
        {"unload_ms", &model->unload_ms},           {"peak_ms", &model->peak_ms},
        {"exec_us", &model->exec_us},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        Error *error = read_number(parameters, numbers[i].key, numbers[i].out);
        if (error) return error;
    }
    return NULL;
}

static Error *check(const struct model *model) {
    if (model->peak_bytes < model->gpu_bytes) {
        return error_of(ERROR_INVALID_ARG, "peak_bytes %" PRIu64 " is less than gpu_bytes %" PRIu64,
                        model->peak_bytes, model->gpu_bytes);
    }
    if (model->residual_bytes > model->gpu_bytes) {
        return error_of(ERROR_INVALID_ARG, "residual_bytes %" PRIu64 " is more than gpu_bytes %" PRIu64,
                        model->residual_bytes, model->gpu_bytes);
    }
    return NULL;
}

static Error *read_model(const char *config, struct model *model) {
    const char *parameters = json_member(config, "parameters");
    read_text(parameters, "fail", model->fail, sizeof model->fail);
    read_text(parameters, "fail_file", model->fail_file, sizeof model->fail_file);
    read_text(parameters, "abort_file", model->abort_file, sizeof model->abort_file);
    Error *error = read_numbers(parameters, model);
    if (error) return error;
    if (!model->peak_bytes) model->peak_bytes = model->gpu_bytes;
    return check(model);
}

/* The model's configuration as a C string that the caller frees. */
static Error *config_text(TRITONBACKEND_Model *triton_model, char **out) {
    TRITONSERVER_Message *message;
    const char *text;
    size_t size;
    Error *error = TRITONBACKEND_ModelConfig(triton_model, 1, &message);
    if (error) return error;
    error = TRITONSERVER_MessageSerializeToJson(message, &text, &size);
    if (!error) *out = strndup(text, size);
    ignore(TRITONSERVER_MessageDelete(message));
    return error;
}

/* ---- the model -------------------------------------------------------------------------------------------- */

static Error *load(struct model *model) {
    sleep_us(model->load_ms * 1000);
    if (*model->abort_file && access(model->abort_file, F_OK) == 0) abort();
    if (*model->fail) return error_of(ERROR_INTERNAL, "%s", model->fail);
    if (*model->fail_file && access(model->fail_file, F_OK) == 0) {
        return error_of(ERROR_UNAVAILABLE, "the file '%s' exists, so this load fails", model->fail_file);
    }
    if (!model->alloc_kb) return NULL;
    model->host_memory = malloc(model->alloc_kb * 1024);
    if (!model->host_memory) return error_of(ERROR_INTERNAL, "no %" PRIu64 " KiB of host memory", model->alloc_kb);
    memset(model->host_memory, 1, model->alloc_kb * 1024);
    return NULL;
}

EXPORT Error *TRITONBACKEND_ModelInitialize(TRITONBACKEND_Model *triton_model) {
    char *config;
    Error *error = config_text(triton_model, &config);
    if (error) return error;
    struct model *model = calloc(1, sizeof *model);
    error = model ? read_model(config, model) : error_of(ERROR_INTERNAL, "no memory");
    free(config);
    if (!error) error = load(model);
    if (!error) error = TRITONBACKEND_ModelSetState(triton_model, model);
    if (error) free(model);
    return error;
}

EXPORT Error *TRITONBACKEND_ModelFinalize(TRITONBACKEND_Model *triton_model) {
    struct model *model = NULL;
    ignore(TRITONBACKEND_ModelState(triton_model, (void **)&model));
    if (!model) return NULL;
    sleep_us(model->unload_ms * 1000);
    free(model->host_memory);
    free(model);
    return NULL;
}

static Error *model_of(TRITONBACKEND_ModelInstance *triton_instance, struct model **out) {
    TRITONBACKEND_Model *triton_model;
    Error *error = TRITONBACKEND_ModelInstanceModel(triton_instance, &triton_model);
    return error ? error : TRITONBACKEND_ModelState(triton_model, (void **)out);
}

/* ---- GPU memory ------------------------------------------------------------------------------------------- */

/* The CUDA runtime that the server itself uses; found at run time, so that the backend also loads without one. */
static int cuda_call(const char *name, void **function) {
    *function = dlsym(RTLD_DEFAULT, name);
    return *function != NULL;
}

static int set_device(int32_t device) {
    int (*function)(int);
    return cuda_call("cudaSetDevice", (void **)&function) ? function(device) : -1;
}

/* On the current device of this thread. */
static int take(uint64_t bytes, void **out) {
    int (*function)(void **, size_t);
    *out = NULL;
    if (!bytes) return 0;
    return cuda_call("cudaMalloc", (void **)&function) ? function(out, bytes) : -1;
}

static void give_back(void *memory) {
    int (*function)(void *);
    if (memory && cuda_call("cudaFree", (void **)&function)) function(memory);
}

static Error *cuda_error(int code, const char *what, uint64_t bytes, int32_t device) {
    const char *(*describe)(int);
    const char *text = code == -1 ? "no CUDA runtime in this process" : "error";
    if (code != -1 && cuda_call("cudaGetErrorString", (void **)&describe)) text = describe(code);
    return error_of(ERROR_INTERNAL, "CUDA error %d (%s): %" PRIu64 " bytes for %s on GPU %d", code, text, bytes,
                    what, device);
}

/* The backend's own memory on a device: taken once, topped up where a model asks for more. */
static Error *take_base(uint64_t bytes, int32_t device) {
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static uint64_t taken[MAX_DEVICES];
    void *memory;
    int code = 0;
    pthread_mutex_lock(&mutex);
    uint64_t missing = bytes > taken[device] ? bytes - taken[device] : 0;
    if (missing) code = take(missing, &memory);
    if (!code) taken[device] += missing;
    pthread_mutex_unlock(&mutex);
    return code ? cuda_error(code, "the backend's base", missing, device) : NULL;
}

/* Load one instance: climb to the peak, stay there, come down to the steady figure. */
static Error *take_instance(const struct model *model, int32_t device, struct instance *instance) {
    void *residual = NULL, *scratch = NULL;
    uint64_t scratch_bytes = model->peak_bytes - model->gpu_bytes;
    int code = take(scratch_bytes, &scratch);
    if (!code) code = take(model->gpu_bytes - model->residual_bytes, &instance->memory);
    if (!code) code = take(model->residual_bytes, &residual); /* last: nobody gives it back */
    if (!code) sleep_us(model->peak_ms * 1000);
    give_back(scratch);
    if (!code) return NULL;
    give_back(instance->memory);
    return cuda_error(code, "an instance", model->peak_bytes, device);
}

static Error *load_on_gpu(const struct model *model, int32_t device, struct instance *instance) {
    if (device < 0 || device >= MAX_DEVICES) return error_of(ERROR_INVALID_ARG, "no GPU %d", device);
    int code = set_device(device);
    if (code) return cuda_error(code, "the context", 0, device);
    Error *error = take_base(model->base_bytes, device);
    return error ? error : take_instance(model, device, instance);
}

EXPORT Error *TRITONBACKEND_ModelInstanceInitialize(TRITONBACKEND_ModelInstance *triton_instance) {
    struct model *model;
    int kind = 0;
    int32_t device = 0;
    Error *error = model_of(triton_instance, &model);
    if (!error) error = TRITONBACKEND_ModelInstanceKind(triton_instance, &kind);
    if (!error) error = TRITONBACKEND_ModelInstanceDeviceId(triton_instance, &device);
    if (error || kind != KIND_GPU) return error;
    struct instance *instance = calloc(1, sizeof *instance);
    if (!instance) return error_of(ERROR_INTERNAL, "no memory");
    error = load_on_gpu(model, device, instance);
    if (!error) error = TRITONBACKEND_ModelInstanceSetState(triton_instance, instance);
    if (error) free(instance);
    return error;
}

EXPORT Error *TRITONBACKEND_ModelInstanceFinalize(TRITONBACKEND_ModelInstance *triton_instance) {
    struct instance *instance = NULL;
    ignore(TRITONBACKEND_ModelInstanceState(triton_instance, (void **)&instance));
    if (!instance) return NULL;
    give_back(instance->memory);
    free(instance);
    return NULL;
}

/* ---- inference -------------------------------------------------------------------------------------------- */

static Error *copy_buffers(TRITONBACKEND_Input *input, uint32_t buffers, char *out) {
    for (uint32_t i = 0; i < buffers; i++) {
        const void *part;
        uint64_t size;
        int memory_type = MEMORY_CPU;
        int64_t memory_id = 0;
        Error *error = TRITONBACKEND_InputBuffer(input, i, &part, &size, &memory_type, &memory_id);
        if (error) return error;
        memcpy(out, part, size); /* simulated device memory is host memory as well */
        out += size;
    }
    return NULL;
}

/* The server lists inputs in no particular order, so an output follows its input's name, not its place. */
static Error *output_name(const char *input, char *out, size_t size) {
    if (strncmp(input, "INPUT", 5)) return error_of(ERROR_INVALID_ARG, "input '%s' is not named INPUT<k>", input);
    snprintf(out, size, "OUTPUT%s", input + 5);
    return NULL;
}

static Error *answer_input(TRITONBACKEND_Input *input, TRITONBACKEND_Response *response) {
    const char *input_name;
    const int64_t *shape;
    char name[256];
    int datatype, memory_type = MEMORY_CPU;
    uint32_t dimensions, buffers;
    uint64_t byte_size;
    int64_t memory_id = 0;
    TRITONBACKEND_Output *output;
    void *out;
    Error *error =
        TRITONBACKEND_InputProperties(input, &input_name, &datatype, &shape, &dimensions, &byte_size, &buffers);
    if (!error) error = output_name(input_name, name, sizeof name);
    if (!error) error = TRITONBACKEND_ResponseOutput(response, &output, name, datatype, shape, dimensions);
    if (!error) error = TRITONBACKEND_OutputBuffer(output, &out, byte_size, &memory_type, &memory_id);
    return error ? error : copy_buffers(input, buffers, out);
}

static Error *answer_inputs(TRITONBACKEND_Request *request, TRITONBACKEND_Response *response) {
    uint32_t count = 0;
    Error *error = TRITONBACKEND_RequestInputCount(request, &count);
    for (uint32_t i = 0; i < count && !error; i++) {
        TRITONBACKEND_Input *input;
        error = TRITONBACKEND_RequestInputByIndex(request, i, &input);
        if (!error) error = answer_input(input, response);
    }
    return error;
}

/* Returns whether the request was answered well. */
static int answer(TRITONBACKEND_Request *request) {
    TRITONBACKEND_Response *response;
    Error *error = TRITONBACKEND_ResponseNew(&response, request);
    if (error) {
        ignore(error);
        return 0;
    }
    error = answer_inputs(request, response);
    int success = error == NULL;
    ignore(TRITONBACKEND_ResponseSend(response, FINAL, error));
    ignore(error);
    return success;
}

EXPORT Error *TRITONBACKEND_ModelInstanceExecute(TRITONBACKEND_ModelInstance *triton_instance,
                                                 TRITONBACKEND_Request **requests, const uint32_t count) {
    struct model *model;
    Error *error = model_of(triton_instance, &model);
    if (error) return error; /* the server answers the requests */
    uint64_t start = now_ns();
    sleep_us(model->exec_us);
    for (uint32_t i = 0; i < count; i++) {
        int success = answer(requests[i]);
        uint64_t end = now_ns();
        ignore(TRITONBACKEND_ModelInstanceReportStatistics(triton_instance, requests[i], success, start, start,
                                                           end, end));
        ignore(TRITONBACKEND_RequestRelease(requests[i], RELEASE_ALL));
    }
    uint64_t end = now_ns();
    ignore(TRITONBACKEND_ModelInstanceReportBatchStatistics(triton_instance, count, start, start, end, end));
    return NULL;
}
