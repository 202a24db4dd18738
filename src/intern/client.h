/* client.h: a process's side of the channel to the broker (intern/channel.h). One thread. */
#ifndef COPPICE_INTERN_CLIENT_H
#define COPPICE_INTERN_CLIENT_H
#include "intern/sealed.h"
#include <stdbool.h>
#include <stdint.h>

/* Is there a broker to talk to? Becomes one, or connects to it; after a failure not before some seconds have passed. */
bool client_ready(void);
/* Offers `count` hashes; the answers (channel.h), all NONE when the broker is gone. */
bool client_offer(const uint64_t *hash, uint32_t count, bool only_count, uint32_t *answer);
/* Hands a sealed file over; its number, 0: it was not taken. */
uint32_t client_publish(const struct sealed *file);
/* Gets the file of this number, if there is one that is as it must be. It stays until client_put_files. */
void client_fetch(uint32_t number);
/* It, if it was fetched; else NULL. Asks nobody. */
const struct sealed *client_file(uint32_t number);
/* How many files the broker has been given by now. */
uint32_t client_published(void);
void client_put_files(void);
void client_fork_child(void);
#endif
