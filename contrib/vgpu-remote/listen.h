/*
 * The server's listening socket.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef LISTEN_H
#define LISTEN_H

/**
 * listen_at: listen at @path, in place of a socket that a dead server left.
 *
 * Only the server's user may connect. Ends the process with a sentence if that
 * cannot be.
 */
int listen_at(const char *path);

/** listen_stop: close @fd and remove @path, if it is still our socket. */
void listen_stop(int fd, const char *path);

#endif
