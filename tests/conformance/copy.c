/* copy.c: copies and fills. */
#include "conform.h"

static CUdeviceptr alloc(size_t n) {
    CUdeviceptr p;
    OK(cuMemAlloc(&p, n));
    return p;
}

static unsigned char bytes[300000], back[300000];
static void pattern(void) { for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)(i * 7 + i / 255); }

BEHAVIOUR(copy_there_and_back, MEM) { begin(); pattern(); CUdeviceptr p = alloc(sizeof bytes); OK(cuMemcpyHtoD(p, bytes, sizeof bytes)); OK(cuMemcpyDtoH(back, p, sizeof back)); CHECK(memcmp(bytes, back, sizeof back) == 0); }
BEHAVIOUR(copy_between_device_buffers, MEM) { begin(); pattern(); CUdeviceptr p = alloc(5000), q = alloc(5000); OK(cuMemcpyHtoD(p, bytes, 5000)); OK(cuMemcpyDtoD(q, p, 5000)); OK(cuMemcpyDtoH(back, q, 5000)); CHECK(memcmp(bytes, back, 5000) == 0); }
BEHAVIOUR(copy_at_an_offset, MEM) { begin(); pattern(); CUdeviceptr p = alloc(5000); OK(cuMemcpyHtoD(p + 100, bytes, 50)); OK(cuMemcpyDtoH(back, p + 120, 10)); CHECK(memcmp(bytes + 20, back, 10) == 0); }
BEHAVIOUR(copy_of_nothing, MEM) { begin(); CUdeviceptr p = alloc(16); OK(cuMemcpyHtoD(p, bytes, 0)); }
BEHAVIOUR(unified_copy_infers_the_kinds, MEM) { begin(); pattern(); CUdeviceptr p = alloc(1000); OK(cuMemcpy(p, (CUdeviceptr)(uintptr_t)bytes, 1000)); OK(cuMemcpy((CUdeviceptr)(uintptr_t)back, p, 1000)); CHECK(memcmp(bytes, back, 1000) == 0); }
BEHAVIOUR(copy_2d_honours_pitches, MEM) {
    begin();
    pattern();
    CUdeviceptr p = alloc(64 * 10);
    CUDA_MEMCPY2D c = { .srcMemoryType = CU_MEMORYTYPE_HOST, .srcHost = bytes, .srcPitch = 100, .dstMemoryType = CU_MEMORYTYPE_DEVICE,
                        .dstDevice = p, .dstPitch = 64, .WidthInBytes = 50, .Height = 10 };
    OK(cuMemcpy2D(&c));
    for (int y = 0; y < 10; y++) {
        OK(cuMemcpyDtoH(back, p + 64 * (size_t)y, 50));
        CHECK(memcmp(back, bytes + 100 * y, 50) == 0);
    }
}
BEHAVIOUR(copy_2d_pitch_smaller_than_width_is_invalid, MEM) {
    begin();
    CUDA_MEMCPY2D c = { .srcMemoryType = CU_MEMORYTYPE_HOST, .srcHost = bytes, .srcPitch = 10, .dstMemoryType = CU_MEMORYTYPE_DEVICE,
                        .dstDevice = alloc(1000), .dstPitch = 64, .WidthInBytes = 50, .Height = 10 };
    WANT(cuMemcpy2D(&c), CUDA_ERROR_INVALID_VALUE);
}
BEHAVIOUR(copy_3d, MEM) {
    begin();
    pattern();
    CUdeviceptr p = alloc(10 * 5 * 3);
    CUDA_MEMCPY3D c = { .srcMemoryType = CU_MEMORYTYPE_HOST, .srcHost = bytes, .srcPitch = 20, .srcHeight = 6, .dstMemoryType = CU_MEMORYTYPE_DEVICE,
                        .dstDevice = p, .dstPitch = 10, .dstHeight = 5, .WidthInBytes = 10, .Height = 5, .Depth = 3 };
    OK(cuMemcpy3D(&c));
    OK(cuMemcpyDtoH(back, p, 150));
    for (int z = 0; z < 3; z++)
        for (int y = 0; y < 5; y++) CHECK(memcmp(back + z * 50 + y * 10, bytes + z * 120 + y * 20, 10) == 0);
}
BEHAVIOUR(copies_with_arrays, MEM) {
    CUarray a;
    begin();
    pattern();
    CUDA_ARRAY_DESCRIPTOR d = { .Width = 16, .Height = 8, .Format = CU_AD_FORMAT_UNSIGNED_INT8, .NumChannels = 1 };
    OK(cuArrayCreate(&a, &d));
    CUDA_MEMCPY2D in = { .srcMemoryType = CU_MEMORYTYPE_HOST, .srcHost = bytes, .srcPitch = 16, .dstMemoryType = CU_MEMORYTYPE_ARRAY, .dstArray = a, .WidthInBytes = 16, .Height = 8 };
    OK(cuMemcpy2D(&in));
    CUDA_MEMCPY2D out = { .dstMemoryType = CU_MEMORYTYPE_HOST, .dstHost = back, .dstPitch = 16, .srcMemoryType = CU_MEMORYTYPE_ARRAY, .srcArray = a, .WidthInBytes = 16, .Height = 8 };
    OK(cuMemcpy2D(&out));
    CHECK(memcmp(bytes, back, 128) == 0);
    OK(cuArrayDestroy(a));
}
BEHAVIOUR(fill_bytes, MEM) { begin(); CUdeviceptr p = alloc(1000); OK(cuMemsetD8(p, 0x5a, 1000)); OK(cuMemcpyDtoH(back, p, 1000)); for (int i = 0; i < 1000; i++) CHECK(back[i] == 0x5a); }
BEHAVIOUR(fill_words, MEM) { begin(); CUdeviceptr p = alloc(4000); OK(cuMemsetD32(p, 0xdeadbeef, 1000)); CHECK(read_word(p + 3996) == 0xdeadbeef); }
BEHAVIOUR(fill_halfwords, MEM) { begin(); CUdeviceptr p = alloc(4000); OK(cuMemsetD16(p, 0xbeef, 1000)); CHECK(read_word(p + 1996) == 0xbeefbeef); }
BEHAVIOUR(fill_2d_leaves_the_padding, MEM) {
    begin();
    CUdeviceptr p = alloc(640);
    OK(cuMemsetD8(p, 1, 640));
    OK(cuMemsetD2D8(p, 64, 2, 50, 10));
    OK(cuMemcpyDtoH(back, p, 640));
    CHECK(back[0] == 2 && back[49] == 2 && back[50] == 1 && back[63] == 1 && back[64] == 2);
}
BEHAVIOUR(misaligned_fill_is_invalid, MEM) { begin(); CUdeviceptr p = alloc(64); WANT(cuMemsetD32(p + 1, 1, 4), CUDA_ERROR_INVALID_VALUE); }
BEHAVIOUR(asynchronous_copy_of_pinned_memory_is_asynchronous, SYNC) {
    CUstream s;
    unsigned *h;
    struct gate g;
    begin();
    CUdeviceptr p = alloc(4096);
    OK(cuMemAllocHost((void **)&h, 4096));
    OK(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
    gate_close(&g, s);
    h[0] = 1;
    OK(cuMemcpyHtoDAsync(p, h, 4096, s));
    h[0] = 2;                            /* the copy has not read it yet */
    gate_open(&g);
    OK(cuStreamSynchronize(s));
    CHECK(read_word(p) == 2);
}
BEHAVIOUR(asynchronous_copy_from_pageable_memory_is_staged, SYNC) {
    CUstream s;
    unsigned h[16] = { 1 };
    struct gate g;
    begin();
    CUdeviceptr p = alloc(64);
    OK(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
    gate_close(&g, s);
    OK(cuMemcpyHtoDAsync(p, h, sizeof h, s));
    h[0] = 2;                            /* too late to matter */
    gate_open(&g);
    OK(cuStreamSynchronize(s));
    CHECK(read_word(p) == 1);
}
BEHAVIOUR(copy_to_pageable_memory_has_happened_on_return, SYNC) {
    CUstream s;
    begin();
    CUdeviceptr p = alloc(4096);
    OK(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
    launch_spin(20000000, s);
    launch_fill(p, 77, 1024, s);
    OK(cuMemcpyDtoHAsync(back, p, 4, s));
    CHECK(*(unsigned *)back == 77);
}
BEHAVIOUR(kernel_writes_arrive, EXEC) { begin(); CUdeviceptr p = alloc(4096); launch_fill(p, 0x1234, 1024, NULL); CHECK(read_word(p + 4092) == 0x1234); }
BEHAVIOUR(peer_copy_within_one_context, MEM) { CUcontext c = begin(); CUdeviceptr p = alloc(64), q = alloc(64); OK(cuMemsetD32(p, 5, 16)); OK(cuMemcpyPeer(q, c, p, c, 64)); CHECK(read_word(q) == 5); }
