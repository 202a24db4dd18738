/* import.h: blocks of other processes that were shown by handles of ours (export.h), as cuIpcOpenMemHandle maps them.
 *
 * An *import* is the pages of one such block, mapped side by side at addresses of their own, for one context. Opening the same handle in
 * the same context again counts, and answers the same address; the last close unmaps. Works with either backend. The device of
 * the context may reach it, and those whose contexts have opened peer access to it. Unmapping is not ordered with streams: the last
 * close waits for the context's work (that of a lost one as far as the driver lets it); while a stream captures nothing is waited for, and the import stays *idle* (count 0)
 * until a later call finds that its epoch has passed.
 *
 * Nothing that another process says is believed: sizes are compared with the handle's, descriptors are the driver's to judge, and who breaks
 * the rules costs one line and an error. */
#ifndef COPPICE_DEVICE_IMPORT_H
#define COPPICE_DEVICE_IMPORT_H
#include "device/export.h"

/* Is it a handle that a process with Coppice made, and not the driver? */
static inline bool import_is_ours(const CUipcMemHandle *bytes) { return export_read(bytes).magic == EXPORT_MAGIC; }
/* As cuIpcOpenMemHandle, for such a handle. */
CUresult import_open(CUdeviceptr *address, const CUipcMemHandle *bytes, unsigned flags);
/* As cuIpcCloseMemHandle. False: it is no import. */
bool import_close(CUdeviceptr address, CUresult *answer);

/* The imported block around an address. False: there is none. */
struct imported { CUdeviceptr address; uint64_t size; struct context *context; };
bool import_find(CUdeviceptr address, struct imported *found);
/* `device` may reach the context's memory from now on. */
void imports_admit(const struct context *c, CUdevice device);
/* The context is no more, and nothing in it uses them. */
void imports_context_ended(const struct context *c);
void imports_fork_child(void);
#endif
