/* frames.h: what a process says to its peers, written by hand: for tests of peers that break the rules of src/intern/channel.h. */
#ifndef COPPICE_FRAMES_H
#define COPPICE_FRAMES_H
#include "cuda_test.h"
#include "../../src/intern/channel.h"
#include <sys/socket.h>

/* Any bytes, with a descriptor or (-1) without. */
static void send_frame(int fd, const void *bytes, size_t n, int descriptor) {
    char room[CMSG_SPACE(sizeof(int))] = { 0 };
    struct iovec part = { (void *)bytes, n };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
    if (descriptor >= 0) {
        message.msg_control = room, message.msg_controllen = sizeof room;
        struct cmsghdr *c = CMSG_FIRSTHDR(&message);
        c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_RIGHTS, c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &descriptor, sizeof(int));
    }
    sendmsg(fd, &message, MSG_NOSIGNAL);
}

/* A descriptor of memory that others may map. */
static int shareable_memory(size_t size) {
    void *driver = dlopen("libcuda.so.1", RTLD_NOW);
    __typeof__(&cuMemExportToShareableHandle) export = (__typeof__(export))dlsym(driver, "cuMemExportToShareableHandle");
    CUmemGenericAllocationHandle handle;
    CUmemAllocationProp prop = { .type = CU_MEM_ALLOCATION_TYPE_PINNED, .location.type = CU_MEM_LOCATION_TYPE_DEVICE,
                                 .requestedHandleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR };
    int fd;
    OK(p_cuMemCreate(&handle, size, &prop, 0));
    OK(export(&fd, handle, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0));
    return fd;
}
#endif
