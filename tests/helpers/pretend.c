/* What PyTorch asks the CUDA runtime and driver, answered for LIIF_PRETEND_GPUS devices that do
   not exist. Preloaded, so that these functions come before NVIDIA's; those that are missing here
   are NVIDIA's own, and fail with "no CUDA driver". Work is done at once, on the CPU: streams and
   events have nothing to wait for. */
#include <stdlib.h>
#include <time.h>

typedef void *handle;
static __thread int current;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

/* Devices. */
int cudaGetDeviceCount(int *count) { return *count = atoi(getenv("LIIF_PRETEND_GPUS")), 0; }
int cudaGetDevice(int *device) { return *device = current, 0; }
int cudaSetDevice(int device) { return current = device, 0; }
int cudaDeviceGetAttribute(int *value, int attribute, int device) { return *value = 0; }
int cudaDeviceGetStreamPriorityRange(int *least, int *most) { return *least = *most = 0; }
int cudaDeviceSynchronize(void) { return 0; }
int cudaDriverGetVersion(int *version) { return *version = 13000, 0; }
int cudaGetLastError(void) { return 0; }
int cudaPeekAtLastError(void) { return 0; }

/* Streams. */
int cudaStreamCreateWithPriority(handle *stream, unsigned flags, int priority) {
  return *stream = malloc(1), 0;
}
int cudaStreamQuery(handle stream) { return 0; }
int cudaStreamSynchronize(handle stream) { return 0; }
int cudaStreamWaitEvent(handle stream, handle event, unsigned flags) { return 0; }
int cudaStreamIsCapturing(handle stream, int *status) { return *status = 0; }
int cudaThreadExchangeStreamCaptureMode(int *mode) { return 0; }

/* An event is the time at which it was recorded, in milliseconds. */
int cudaEventCreateWithFlags(handle *event, unsigned flags) {
  return *event = calloc(1, sizeof(double)), 0;
}
int cudaEventRecord(handle event, handle stream) { return *(double *)event = now(), 0; }
int cudaEventRecordWithFlags(handle event, handle stream, unsigned flags) {
  return cudaEventRecord(event, stream);
}
int cudaEventQuery(handle event) { return 0; }
int cudaEventSynchronize(handle event) { return 0; }
int cudaEventDestroy(handle event) { return free(event), 0; }
int cudaEventElapsedTime(float *ms, handle start, handle end) {
  return *ms = *(double *)end - *(double *)start, 0;
}
int cudaEventElapsedTime_v2(float *ms, handle start, handle end) {
  return cudaEventElapsedTime(ms, start, end);
}

/* The driver. */
int cuInit(unsigned flags) { return 0; }
int cuDriverGetVersion(int *version) { return *version = 13000, 0; }
int cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active) {
  return *flags = 0, *active = 1, 0;
}
int cuGetErrorString(int error, const char **text) { return *text = "no such device", 0; }
