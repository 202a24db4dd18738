/* virtual_memory.c: reserve, create, map, set access, unmap, release, across processes. */
#define _GNU_SOURCE
#include "conform.h"

static size_t G;
static CUdeviceptr reserve(size_t n) { CUdeviceptr p; OK(cuMemAddressReserve(&p, n, 0, 0, 0)); return p; }
static CUmemGenericAllocationHandle create(size_t n) {
    CUmemGenericAllocationHandle h;
    CUmemAllocationProp p = pinned_on_device();
    OK(cuMemCreate(&h, n, &p, 0));
    return h;
}
static void allow(CUdeviceptr p, size_t n) { CUmemAccessDesc a = read_write(); OK(cuMemSetAccess(p, n, &a, 1)); }
static void start(void) { begin(); G = granularity(); }

BEHAVIOUR(granularity_is_a_power_of_two, VMM) { start(); CHECK(G && (G & (G - 1)) == 0); }
BEHAVIOUR(reserve_map_access_use, VMM) { start(); CUdeviceptr p = reserve(G); CUmemGenericAllocationHandle h = create(G); OK(cuMemMap(p, G, 0, h, 0)); allow(p, G); OK(cuMemsetD32(p, 3, 8)); CHECK(read_word(p) == 3); }
BEHAVIOUR(reserve_size_zero_is_invalid, VMM) { CUdeviceptr p; start(); WANT(cuMemAddressReserve(&p, 0, 0, 0, 0), CUDA_ERROR_INVALID_VALUE); }
BEHAVIOUR(reserve_size_must_be_a_multiple, VMM) { CUdeviceptr p; start(); WANT(cuMemAddressReserve(&p, G + 4096, 0, 0, 0), CUDA_ERROR_INVALID_VALUE); }
BEHAVIOUR(reserve_alignment_must_be_a_power_of_two, VMM) { CUdeviceptr p; start(); WANT(cuMemAddressReserve(&p, G, 3 * G, 0, 0), CUDA_ERROR_INVALID_VALUE); }
BEHAVIOUR(reserve_honours_the_alignment, VMM) { CUdeviceptr p; start(); OK(cuMemAddressReserve(&p, G, 64 * G, 0, 0)); CHECK(p % (64 * G) == 0); }
BEHAVIOUR(address_free_wants_the_same_size, VMM) { start(); CUdeviceptr p = reserve(4 * G); FAILS(cuMemAddressFree(p, 2 * G)); OK(cuMemAddressFree(p, 4 * G)); }
BEHAVIOUR(address_free_wants_the_same_pointer, VMM) { start(); CUdeviceptr p = reserve(4 * G); FAILS(cuMemAddressFree(p + G, 3 * G)); OK(cuMemAddressFree(p, 4 * G)); }
BEHAVIOUR(create_size_must_be_a_multiple, VMM) { CUmemGenericAllocationHandle h; CUmemAllocationProp p = pinned_on_device(); start(); WANT(cuMemCreate(&h, G + 1, &p, 0), CUDA_ERROR_INVALID_VALUE); }
BEHAVIOUR(create_size_zero_is_invalid, VMM) { CUmemGenericAllocationHandle h; CUmemAllocationProp p = pinned_on_device(); start(); WANT(cuMemCreate(&h, 0, &p, 0), CUDA_ERROR_INVALID_VALUE); }
BEHAVIOUR(create_too_much_is_out_of_memory, VMM) { CUmemGenericAllocationHandle h; CUmemAllocationProp p = pinned_on_device(); start(); WANT(cuMemCreate(&h, (size_t)1 << 44, &p, 0), CUDA_ERROR_OUT_OF_MEMORY); }
BEHAVIOUR(create_takes_memory_and_release_returns_it, VMM) { start(); size_t f = free_memory(); CUmemGenericAllocationHandle h = create(64 * G); CHECK(f - free_memory() >= 64 * G); OK(cuMemRelease(h)); CHECK(free_memory() == f); }
BEHAVIOUR(reserve_takes_no_memory, VMM) { start(); size_t f = free_memory(); reserve(64 * G); CHECK(free_memory() == f); }
BEHAVIOUR(map_outside_a_reservation_is_invalid, VMM) { start(); CUdeviceptr p = reserve(G); CUmemGenericAllocationHandle h = create(2 * G); FAILS(cuMemMap(p, 2 * G, 0, h, 0)); }
BEHAVIOUR(map_over_a_mapping_is_refused, VMM) { start(); CUdeviceptr p = reserve(G); OK(cuMemMap(p, G, 0, create(G), 0)); FAILS(cuMemMap(p, G, 0, create(G), 0)); }
BEHAVIOUR(map_offset_must_be_zero, VMM) { start(); CUdeviceptr p = reserve(G); WANT(cuMemMap(p, G, G, create(2 * G), 0), CUDA_ERROR_INVALID_VALUE); }
BEHAVIOUR(mapping_without_access_faults, VMM) {
    start();
    CUdeviceptr p = reserve(G);
    OK(cuMemMap(p, G, 0, create(G), 0));
    launch_fill(p, 1, 1, NULL);
    FAILS(cuCtxSynchronize());
}
BEHAVIOUR(access_can_be_queried, VMM) {
    start();
    unsigned long long flags = 9;
    CUmemLocation here = { .type = CU_MEM_LOCATION_TYPE_DEVICE };
    CUdeviceptr p = reserve(G);
    OK(cuMemMap(p, G, 0, create(G), 0));
    allow(p, G);
    OK(cuMemGetAccess(&flags, &here, p));
    CHECK(flags == CU_MEM_ACCESS_FLAGS_PROT_READWRITE);
}
BEHAVIOUR(set_access_on_unmapped_is_invalid, VMM) { start(); CUdeviceptr p = reserve(G); CUmemAccessDesc a = read_write(); FAILS(cuMemSetAccess(p, G, &a, 1)); }
BEHAVIOUR(two_handles_make_one_range, VMM) {
    start();
    CUdeviceptr p = reserve(2 * G);
    OK(cuMemMap(p, G, 0, create(G), 0));
    OK(cuMemMap(p + G, G, 0, create(G), 0));
    allow(p, 2 * G);
    OK(cuMemsetD8(p, 9, 2 * G));
    CHECK(read_word(p + G) == 0x09090909 && read_word(p + G - 4) == 0x09090909);
}
BEHAVIOUR(one_handle_mapped_twice_shows_the_same_bytes, VMM) {
    start();
    CUdeviceptr p = reserve(2 * G);
    CUmemGenericAllocationHandle h = create(G);
    OK(cuMemMap(p, G, 0, h, 0));
    OK(cuMemMap(p + G, G, 0, h, 0));
    allow(p, 2 * G);
    OK(cuMemsetD32(p, 0x42, 1));
    CHECK(read_word(p + G) == 0x42);
}
BEHAVIOUR(one_handle_mapped_twice_is_counted_once, VMM) {
    start();
    CUdeviceptr p = reserve(64 * G);
    CUmemGenericAllocationHandle h = create(32 * G);
    size_t f = free_memory();
    OK(cuMemMap(p, 32 * G, 0, h, 0));
    OK(cuMemMap(p + 32 * G, 32 * G, 0, h, 0));
    CHECK(f - free_memory() < 32 * G);
}
BEHAVIOUR(unmap_a_part_is_refused, VMM) { start(); CUdeviceptr p = reserve(2 * G); OK(cuMemMap(p, 2 * G, 0, create(2 * G), 0)); FAILS(cuMemUnmap(p, G)); OK(cuMemUnmap(p, 2 * G)); }
BEHAVIOUR(unmap_a_union_of_mappings, VMM) { start(); CUdeviceptr p = reserve(2 * G); OK(cuMemMap(p, G, 0, create(G), 0)); OK(cuMemMap(p + G, G, 0, create(G), 0)); OK(cuMemUnmap(p, 2 * G)); OK(cuMemAddressFree(p, 2 * G)); }
BEHAVIOUR(unmapped_address_faults, VMM) {
    start();
    CUdeviceptr p = reserve(G);
    OK(cuMemMap(p, G, 0, create(G), 0));
    allow(p, G);
    OK(cuMemUnmap(p, G));
    launch_fill(p, 1, 1, NULL);
    FAILS(cuCtxSynchronize());
}
BEHAVIOUR(released_handle_lives_while_mapped, VMM) {
    start();
    CUdeviceptr p = reserve(G);
    CUmemGenericAllocationHandle h = create(G);
    OK(cuMemMap(p, G, 0, h, 0));
    allow(p, G);
    OK(cuMemRelease(h));
    OK(cuMemsetD32(p, 7, 4));
    CHECK(read_word(p) == 7);
}
BEHAVIOUR(memory_returns_after_the_last_unmap, VMM) {
    start();
    size_t f = free_memory();
    CUdeviceptr p = reserve(64 * G);
    CUmemGenericAllocationHandle h = create(64 * G);
    OK(cuMemMap(p, 64 * G, 0, h, 0));
    OK(cuMemRelease(h));
    CHECK(f - free_memory() >= 64 * G);
    OK(cuMemUnmap(p, 64 * G));
    CHECK(free_memory() == f);
}
BEHAVIOUR(release_of_a_dead_handle_is_invalid, VMM) { start(); CUmemGenericAllocationHandle h = create(G); OK(cuMemRelease(h)); WANT(cuMemRelease(h), CUDA_ERROR_INVALID_VALUE); }
BEHAVIOUR(retain_adds_a_reference, VMM) {
    start();
    size_t f = free_memory();
    CUmemGenericAllocationHandle h = create(64 * G), again;
    CUdeviceptr p = reserve(64 * G);
    OK(cuMemMap(p, 64 * G, 0, h, 0));
    OK(cuMemRetainAllocationHandle(&again, (void *)(uintptr_t)(p + 5)));
    OK(cuMemUnmap(p, 64 * G));
    OK(cuMemRelease(h));
    CHECK(f - free_memory() >= 64 * G);
    OK(cuMemRelease(again));
    CHECK(free_memory() == f);
}
BEHAVIOUR(retain_of_unmapped_is_invalid, VMM) { CUmemGenericAllocationHandle h; start(); WANT(cuMemRetainAllocationHandle(&h, (void *)(uintptr_t)reserve(G)), CUDA_ERROR_INVALID_VALUE); }
BEHAVIOUR(properties_are_remembered, VMM) { CUmemAllocationProp p; start(); OK(cuMemGetAllocationPropertiesFromHandle(&p, create(G))); CHECK(p.type == CU_MEM_ALLOCATION_TYPE_PINNED && p.location.type == CU_MEM_LOCATION_TYPE_DEVICE && p.location.id == 0); }
BEHAVIOUR(export_needs_the_requested_type, VMM) { int fd; start(); FAILS(cuMemExportToShareableHandle(&fd, create(G), CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0)); }
BEHAVIOUR(mapping_is_not_freed_by_mem_free, VMM) { start(); CUdeviceptr p = reserve(G); OK(cuMemMap(p, G, 0, create(G), 0)); WANT(cuMemFree(p), CUDA_ERROR_INVALID_VALUE); }

/* ---- two processes */
static CUmemGenericAllocationHandle exportable(size_t n) {
    CUmemGenericAllocationHandle h;
    CUmemAllocationProp p = pinned_on_device();
    p.requestedHandleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
    OK(cuMemCreate(&h, n, &p, 0));
    return h;
}

static CUdeviceptr map_received(int socket) {
    CUmemGenericAllocationHandle h;
    int fd = receive_descriptor(socket);
    OK(cuMemImportFromShareableHandle(&h, (void *)(intptr_t)fd, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR));
    close(fd);
    CUdeviceptr p = reserve(8 * G);
    OK(cuMemMap(p, 8 * G, 0, h, 0));
    OK(cuMemRelease(h));
    allow(p, 8 * G);
    return p;
}

static CUdeviceptr send_mapped(int socket) {
    int fd;
    CUmemGenericAllocationHandle h = exportable(8 * G);
    OK(cuMemExportToShareableHandle(&fd, h, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0));
    send_descriptor(socket, fd);
    close(fd);
    CUdeviceptr p = reserve(8 * G);
    OK(cuMemMap(p, 8 * G, 0, h, 0));
    allow(p, 8 * G);
    OK(cuMemRelease(h));
    return p;
}

static void peer_reads_and_writes(int s) {
    char byte;
    start();
    CUdeviceptr p = map_received(s);
    receive_bytes(s, &byte, 1);
    CHECK(read_word(p) == 0x77);
    OK(cuMemsetD32(p + 4, 0x88, 1));
    OK(cuCtxSynchronize());
    send_bytes(s, &byte, 1);
}
BEHAVIOUR(exported_memory_is_shared, VMM) {
    char byte = 1;
    int s = peer_start(peer_reads_and_writes);
    start();
    CUdeviceptr p = send_mapped(s);
    OK(cuMemsetD32(p, 0x77, 1));
    OK(cuCtxSynchronize());
    send_bytes(s, &byte, 1);
    receive_bytes(s, &byte, 1);
    CHECK(read_word(p + 4) == 0x88);
    peer_finish();
}

static void peer_holds_until_told(int s) {
    char byte = 1;
    start();
    CUdeviceptr p = map_received(s);
    send_bytes(s, &byte, 1);
    receive_bytes(s, &byte, 1);
    OK(cuMemsetD32(p, 1, 1));
    CHECK(read_word(p) == 1);
    OK(cuMemUnmap(p, 8 * G));
    send_bytes(s, &byte, 1);
    receive_bytes(s, &byte, 1);
}
BEHAVIOUR(imported_memory_outlives_the_exporters_mapping, VMM) {
    char byte = 1;
    int s = peer_start(peer_holds_until_told);
    start();
    size_t f = free_memory();
    CUdeviceptr p = send_mapped(s);
    receive_bytes(s, &byte, 1);
    OK(cuMemUnmap(p, 8 * G));
    if (simulated()) CHECK(f - free_memory() == 8 * G);        /* held by the other, counted once */
    send_bytes(s, &byte, 1);
    receive_bytes(s, &byte, 1);
    if (simulated()) CHECK(free_memory() == f);
    send_bytes(s, &byte, 1);
    peer_finish();
}
BEHAVIOUR(exported_descriptor_keeps_the_memory, VMM) {
    int fd;
    start();
    only_simulated();
    size_t f = free_memory();
    CUmemGenericAllocationHandle h = exportable(8 * G), again;
    CUdeviceptr p = reserve(8 * G);
    OK(cuMemMap(p, 8 * G, 0, h, 0));
    allow(p, 8 * G);
    OK(cuMemsetD32(p, 0x99, 1));
    OK(cuCtxSynchronize());
    OK(cuMemExportToShareableHandle(&fd, h, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0));
    OK(cuMemUnmap(p, 8 * G));
    OK(cuMemRelease(h));
    CHECK(f - free_memory() == 8 * G);
    OK(cuMemImportFromShareableHandle(&again, (void *)(intptr_t)fd, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR));
    close(fd);
    OK(cuMemMap(p, 8 * G, 0, again, 0));
    allow(p, 8 * G);
    CHECK(read_word(p) == 0x99);
    OK(cuMemUnmap(p, 8 * G));
    OK(cuMemRelease(again));
    CHECK(free_memory() == f);
}
BEHAVIOUR(import_of_a_foreign_descriptor_fails, VMM) { CUmemGenericAllocationHandle h; start(); FAILS(cuMemImportFromShareableHandle(&h, (void *)(intptr_t)0, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR)); }
