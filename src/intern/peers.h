/* peers.h: what processes of one user say to each other about device weights (COPPICE_SHARE_WEIGHTS; the nouns are in device/weights.h).
 *
 * There is no broker: descriptors of device pages are many and cannot be kept open, so who has a page hands out a descriptor when
 * he is asked. Each process with weights has a socket `weights-<pid>-<start time>` in the folder of the counters files, and a thread
 * that answers there, with the frames of channel.h:
 *   OFFER hashes  ->  ANSWER for each: 0, or the number of a page that has it
 *   FETCH number  ->  ANSWER with a descriptor of the page's handle, or without: not now
 * Who asks connects for one batch and hangs up. No frame is believed: sizes and the peer's uid are checked, what came along is checked
 * by the driver, and equality is settled by comparing bytes. Who breaks the rules is cut off with one line; who is silent is not
 * asked again for a while. */
#ifndef COPPICE_INTERN_PEERS_H
#define COPPICE_INTERN_PEERS_H

/* The device's weights may be shared with other processes from now on. Starts nothing before there are any. */
void peers_install(void);
void peers_fork_child(void);
#endif
