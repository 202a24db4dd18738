/* broker.h: the thread that knows which pages processes of this user have in common; see channel.h. It keeps for each hash who offered it
 * last, or in which file its content lies, and the files themselves for as long as one of those who fetched or published them is
 * connected. */
#ifndef COPPICE_INTERN_BROKER_H
#define COPPICE_INTERN_BROKER_H
#include <stdbool.h>

/* Becomes the broker at this path if there is none; false: there is one, or it cannot be. May start a thread. */
bool broker_start(const char *path);
/* In a fork's child: the broker stayed behind. */
void broker_fork_child(void);
#endif
