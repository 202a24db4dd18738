/* share.h: equal pages of the heap, held once, within a process and across processes of a user (COPPICE_INTERN=pages).
 *
 * A thread *looks* at the heap's pages, 2 MiB (a *chunk*) at a time (intern/look.h): a page that has come to rest is *known* by its hash, and is
 * offered to the broker (intern/channel.h). Where somebody else has one like it, one of them publishes a sealed copy; then each takes its
 * page out of everybody's reach (heap/reach.h), compares all bytes with the copy, and maps the copy in its place, privately: who writes
 * there gets a page of his own, as after a fork. A chunk that keeps changing is looked at less and less often, and so is one that has
 * been settled. Where full userfaultfd is not permitted but the kernel merges pages (KSM), chunks with many equal pages are advised
 * MADV_MERGEABLE instead. Where there is neither, one line says so and nothing is done. */
#ifndef COPPICE_INTERN_SHARE_H
#define COPPICE_INTERN_SHARE_H

/* Starts the thread if there is none. For a process whose heap has become large. */
void share_start(void);
void share_fork_child(void);
#endif
