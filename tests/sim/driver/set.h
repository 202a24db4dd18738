/* set.h: the part of a device that all processes see.
 *
 * A *set* of devices is named by SIM_DEVICE_NAME and lives in a shared file. Each process that initialises the driver owns a
 * *slot* of it. The truth about who holds what is in the slots; a device's own numbers are their sum. Everything is written
 * under `lock`, a robust mutex: when its owner dies, the next one recomputes the devices from the slots.
 * A slot whose process has died (pid and start time no longer match) is *reaped* by whoever next runs out of memory, asks for
 * memory info, initialises, or reads from outside.
 * An *object* is memory that another process may hold as well (an exported physical handle, a legacy IPC handle). It is
 * charged once, to its `charged` slot; when that process lets go or dies, the charge moves to another holder.
 * live is what was asked for, to the byte; reserved is what is taken from the capacity (rounded to 512 B up to 1 MiB, 2 MiB above).
 * Only gen_driver's name table decides SET_NAMES; the file is not meant to outlive a build (a version mismatch renames the set). */
#ifndef SIM_SET_H
#define SIM_SET_H
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SET_DEVICES = 8, SET_SLOTS = 64, SET_NAMES = 704, SET_OBJECTS = 8192, SET_EVENTS = 512, SET_VERSION = 4 };
#define SET_MAGIC 0x436f70536d536574ull

struct set_usage { uint64_t live, reserved, peak_live, peak_reserved, allocs, frees; };

struct set_slot {
    uint32_t pid;                        /* 0: free */
    uint64_t start;                      /* start time of that process, from /proc */
    char command[32];
    struct set_usage dev[SET_DEVICES];   /* peaks here are the process's own */
    _Atomic uint64_t calls[SET_NAMES];   /* written by their process without the lock */
    _Atomic uint64_t wrong[SET_NAMES];
};

struct set_object {
    uint32_t used, device;
    uint64_t id, live, reserved;
    uint64_t holders;                    /* bit set of slots */
    uint32_t charged;                    /* the slot that pays */
    uint32_t orphan;                     /* nobody holds it, but its owner may still be asked to recycle the memory */
    uint64_t inode, offset;              /* where the bytes are: the owner's arena file */
    uint64_t flags;
};

struct set_event { uint32_t used, holders_pid; _Atomic uint64_t recorded, completed; uint32_t refs; };

struct set {
    uint64_t magic, version;
    pthread_mutex_t lock;
    uint32_t devices, names;
    uint32_t slots_used, objects_used;   /* how many of each were ever used: what lies behind is never read, so never committed */
    uint64_t capacity[SET_DEVICES];
    struct set_usage dev[SET_DEVICES];
    uint64_t next_id;                    /* of objects and buffers; never repeats */
    uint64_t past_calls[SET_NAMES], past_wrong[SET_NAMES];      /* of slots that were reused */
    char name[SET_NAMES][56];
    struct set_slot slot[SET_SLOTS];
    struct set_object object[SET_OBJECTS];
    struct set_event event[SET_EVENTS];
};

/* Maps the set of that name (NULL: SIM_DEVICE_NAME, or "default"), making it when `create`. NULL with errno on failure. */
struct set *set_open(const char *name, bool create, uint64_t capacity, int devices);
void set_lock(struct set *set);
void set_unlock(struct set *set);
int set_reap(struct set *set);           /* under the lock: how many dead processes were cleaned up */
uint64_t process_start_time(int pid);    /* 0: no such process */

/* For the process that owns slot `me`; the callers hold no lock. */
bool set_charge(struct set *set, int me, int device, uint64_t live, uint64_t reserved);
void set_uncharge(struct set *set, int me, int device, uint64_t live, uint64_t reserved);
int set_join(struct set *set);           /* takes a slot; -1: none free */
bool set_remove(const char *name);       /* the file, when no process uses it */
struct set_object *set_object_find(struct set *set, uint64_t inode, uint64_t offset);   /* under the lock */
struct set_object *set_object_by_id(struct set *set, uint64_t id);                      /* under the lock */
#endif
