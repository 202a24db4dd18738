/* initialise.c: cuInit, versions, error names, entry points, devices. */
#include "conform.h"
#include <dlfcn.h>

extern void *conform_driver(const char *name);

static CUdriverProcAddressQueryResult status;
static void *address(const char *name, int version, cuuint64_t flags) {
    void *f = (void *)1;
    status = (CUdriverProcAddressQueryResult)77;
    OK(cuGetProcAddress(name, &f, version, flags, &status));
    return f;
}

BEHAVIOUR(calls_before_init_say_so, INIT) {
    int n;
    if (!conform_driver("cuInit")) conform_skip("no driver");
    WANT(cuDeviceGetCount(&n), CUDA_ERROR_NOT_INITIALIZED);
}
BEHAVIOUR(init_flags_must_be_zero, INIT) {
    if (!conform_driver("cuInit")) conform_skip("no driver");
    WANT(cuInit(1), CUDA_ERROR_INVALID_VALUE);
}
BEHAVIOUR(init_may_be_repeated, INIT) { begin(); OK(cuInit(0)); }
BEHAVIOUR(driver_version_before_init, DOC "group__CUDA__VERSION.html") {
    int v = 0;
    if (!conform_driver("cuInit")) conform_skip("no driver");
    OK(cuDriverGetVersion(&v));
    CHECK(v >= 12000 && v < 20000);
}
BEHAVIOUR(driver_version_needs_a_pointer, DOC "group__CUDA__VERSION.html") { begin(); WANT(cuDriverGetVersion(NULL), CUDA_ERROR_INVALID_VALUE); }

BEHAVIOUR(error_names_are_the_enumerators, ERRORS) {
    const char *s;
    begin();
    OK(cuGetErrorName(CUDA_ERROR_OUT_OF_MEMORY, &s));
    CHECK(strcmp(s, "CUDA_ERROR_OUT_OF_MEMORY") == 0);
}
BEHAVIOUR(error_strings_describe, ERRORS) {
    const char *s = NULL;
    begin();
    OK(cuGetErrorString(CUDA_ERROR_OUT_OF_MEMORY, &s));
    CHECK(s && strcmp(s, "out of memory") == 0);
}
BEHAVIOUR(unknown_errors_have_no_name, ERRORS) {
    const char *s = "x";
    begin();
    WANT(cuGetErrorName((CUresult)12345, &s), CUDA_ERROR_INVALID_VALUE);
    CHECK(s == NULL);
}

BEHAVIOUR(entry_point_of_a_version, ENTRY) {
    begin();
    CHECK(address("cuMemAlloc", 12000, 0) != NULL);
    CHECK(status == CU_GET_PROC_ADDRESS_SUCCESS);
}
BEHAVIOUR(entry_point_follows_the_version, ENTRY) {
    begin();
    void *old = address("cuStreamGetCaptureInfo", 10010, 0), *newer = address("cuStreamGetCaptureInfo", 11030, 0);
    CHECK(old && newer && old != newer);
}
BEHAVIOUR(entry_point_between_versions_is_the_older, ENTRY) {
    begin();
    CHECK(address("cuStreamGetCaptureInfo", 11000, 0) == address("cuStreamGetCaptureInfo", 10010, 0));
}
BEHAVIOUR(entry_point_per_thread_differs, ENTRY) {
    begin();
    void *legacy = address("cuMemcpyAsync", 12000, CU_GET_PROC_ADDRESS_LEGACY_STREAM);
    void *own = address("cuMemcpyAsync", 12000, CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM);
    CHECK(legacy && own && legacy != own);
}
BEHAVIOUR(entry_point_without_stream_is_the_same_per_thread, ENTRY) {
    begin();
    CHECK(address("cuMemAlloc", 12000, CU_GET_PROC_ADDRESS_LEGACY_STREAM) == address("cuMemAlloc", 12000, CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM));
}
BEHAVIOUR(unknown_entry_point_is_null_with_status, ENTRY) {
    begin();
    CHECK(address("cuNoSuchFunctionAtAll", 12000, 0) == NULL);
    CHECK(status == CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND);
}
BEHAVIOUR(too_old_a_version_says_so, ENTRY) {
    begin();
    CHECK(address("cuMemAllocAsync", 10000, 0) == NULL);
    CHECK(status == CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT);
}
BEHAVIOUR(entry_point_needs_a_place, ENTRY) { begin(); WANT(cuGetProcAddress("cuMemAlloc", NULL, 12000, 0, NULL), CUDA_ERROR_INVALID_VALUE); }
BEHAVIOUR(empty_entry_point_name_does_no_harm, ENTRY) {
    void *f = NULL;
    begin();
    (void)cuGetProcAddress("", &f, 12000, 0, &status);
    CHECK(f == NULL);
}
BEHAVIOUR(entry_point_of_itself, ENTRY) {
    begin();
    void *a = address("cuGetProcAddress", 11030, 0), *b = address("cuGetProcAddress", 12000, 0);
    CHECK(a && b && a != b);
}
BEHAVIOUR(entry_point_is_callable, ENTRY) {
    begin();
    CUresult (*f)(CUdevice *) = (__typeof__(f))address("cuCtxGetDevice", 12000, 0);
    CUdevice d = -1;
    OK(f(&d));
    CHECK(d == 0);
}
BEHAVIOUR(context_record_event_is_found_at_12050, ENTRY) { begin(); CHECK(address("cuCtxRecordEvent", 12050, 0) != NULL); }
BEHAVIOUR(context_synchronize_changed_at_13000, ENTRY) {
    int v;
    begin();
    OK(cuDriverGetVersion(&v));
    if (v < 13000) conform_skip("driver before 13.0");
    CHECK(address("cuCtxSynchronize", 12000, 0) != address("cuCtxSynchronize", 13000, 0));
}

BEHAVIOUR(device_count_is_positive, DEVICE) { int n = 0; begin(); OK(cuDeviceGetCount(&n)); CHECK(n >= 1); }
BEHAVIOUR(device_ordinal_out_of_range, DEVICE) { CUdevice d; int n; begin(); OK(cuDeviceGetCount(&n)); WANT(cuDeviceGet(&d, n), CUDA_ERROR_INVALID_DEVICE); }
BEHAVIOUR(device_negative_ordinal, DEVICE) { CUdevice d; begin(); WANT(cuDeviceGet(&d, -1), CUDA_ERROR_INVALID_DEVICE); }
BEHAVIOUR(device_name_fits_the_buffer, DEVICE) { char s[4] = "xxx"; begin(); OK(cuDeviceGetName(s, 4, 0)); CHECK(memchr(s, 0, 4)); }
BEHAVIOUR(device_total_memory, DEVICE) { size_t n = 0, t; begin(); OK(cuDeviceTotalMem(&n, 0)); OK(cuMemGetInfo(NULL, &t)); CHECK(n >= t && n > 0); }
BEHAVIOUR(device_warp_size, DEVICE) { int v; begin(); OK(cuDeviceGetAttribute(&v, CU_DEVICE_ATTRIBUTE_WARP_SIZE, 0)); CHECK(v == 32); }
BEHAVIOUR(device_compute_capability, DEVICE) { int v; begin(); OK(cuDeviceGetAttribute(&v, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 0)); CHECK(v >= 5); }
BEHAVIOUR(device_unified_addressing, DEVICE) { int v; begin(); OK(cuDeviceGetAttribute(&v, CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING, 0)); CHECK(v == 1); }
BEHAVIOUR(device_attribute_unknown, DEVICE) { int v; begin(); WANT(cuDeviceGetAttribute(&v, (CUdevice_attribute)9999, 0), CUDA_ERROR_INVALID_VALUE); }
BEHAVIOUR(device_uuid_is_stable, DEVICE) { CUuuid a, b; begin(); OK(cuDeviceGetUuid(&a, 0)); OK(cuDeviceGetUuid(&b, 0)); CHECK(memcmp(&a, &b, sizeof a) == 0); }
BEHAVIOUR(device_found_by_pci_id, DEVICE) {
    char id[32];
    CUdevice d = -1;
    begin();
    OK(cuDeviceGetPCIBusId(id, sizeof id, 0));
    OK(cuDeviceGetByPCIBusId(&d, id));
    CHECK(d == 0);
}
BEHAVIOUR(visible_devices_empty_means_none, GUIDE "#cuda-environment-variables") {
    if (!conform_driver("cuInit")) conform_skip("no driver");
    setenv("CUDA_VISIBLE_DEVICES", "", 1);
    WANT(cuInit(0), CUDA_ERROR_NO_DEVICE);
}
BEHAVIOUR(visible_devices_stop_at_the_first_bad_one, GUIDE "#cuda-environment-variables") {
    int n = 0;
    if (!conform_driver("cuInit")) conform_skip("no driver");
    setenv("CUDA_VISIBLE_DEVICES", "0,-1,0", 1);
    CUresult r = cuInit(0);
    if (r == CUDA_ERROR_NO_DEVICE) conform_skip("no device");
    OK(r);
    OK(cuDeviceGetCount(&n));
    CHECK(n == 1);
}
BEHAVIOUR(export_tables_are_not_offered, SIMULATED) {
    const void *t = (void *)1;
    CUuuid id = { { 0 } };
    begin();
    only_simulated();
    WANT(cuGetExportTable(&t, &id), CUDA_ERROR_NOT_SUPPORTED);
    CHECK(t == NULL);
}
BEHAVIOUR(every_declared_function_is_exported, SIMULATED) {
    begin();
    only_simulated();
    CHECK(conform_driver("cuTexRefSetAddress2D_v3") && conform_driver("cuMemcpyHtoA_v2_ptds") && conform_driver("cuGreenCtxCreate"));
    WANT(cuGreenCtxCreate(NULL, NULL, 0, 0), CUDA_ERROR_NOT_SUPPORTED);
}
