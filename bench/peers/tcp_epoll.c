/* The peer of `stretta tcp server`: one epoll loop that answers in ASCII upper case.
 *
 *     tcp_epoll PORT
 *
 * As fast as the plain way gets: level-triggered, one recv and one send an event, one buffer for
 * everybody, and a buffer of its own only for a connection whose client reads too slowly.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST_EVENTS = 256, CHUNK = 256 * 1024, MOST_FILES = 65536 };

static struct {
    char *unsent;
    size_t at, length;
} waiting[MOST_FILES];

static char chunk[CHUNK];

static void upper(char *data, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        uint8_t c = (uint8_t)data[i];
        data[i] = (char)(c - ((uint8_t)(c - 'a') < 26 ? 32 : 0));
    }
}

static void watch(int epoll, int operation, int file, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = file};
    if (epoll_ctl(epoll, operation, file, &event))
        err(1, "epoll_ctl");
}

static void forget(int file)
{
    free(waiting[file].unsent);
    waiting[file].unsent = NULL;
    close(file);
}

/* Send what did not fit before. */
static void go_on(int epoll, int file)
{
    ssize_t sent = send(file, waiting[file].unsent + waiting[file].at,
                        waiting[file].length - waiting[file].at, MSG_NOSIGNAL);
    if (sent < 0) {
        if (errno != EAGAIN)
            forget(file);
        return;
    }
    waiting[file].at += (size_t)sent;
    if (waiting[file].at == waiting[file].length) {
        free(waiting[file].unsent);
        waiting[file].unsent = NULL;
        watch(epoll, EPOLL_CTL_MOD, file, EPOLLIN);
    }
}

static void answer(int epoll, int file)
{
    ssize_t got = recv(file, chunk, CHUNK, 0);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN)
            forget(file);
        return;
    }
    upper(chunk, (size_t)got);
    ssize_t sent = send(file, chunk, (size_t)got, MSG_NOSIGNAL);
    if (sent == got)
        return;
    if (sent < 0) {
        if (errno != EAGAIN) {
            forget(file);
            return;
        }
        sent = 0;
    }
    waiting[file].at = 0;
    waiting[file].length = (size_t)(got - sent);
    waiting[file].unsent = malloc(waiting[file].length);
    if (!waiting[file].unsent)
        err(1, "malloc");
    memcpy(waiting[file].unsent, chunk + sent, waiting[file].length);
    watch(epoll, EPOLL_CTL_MOD, file, EPOLLOUT);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        errx(2, "usage: tcp_epoll PORT");
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons((uint16_t)atoi(argv[1]))};
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 4096))
        err(1, "port %s", argv[1]);
    int epoll = epoll_create1(0);
    watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN);
    for (;;) {
        struct epoll_event events[MOST_EVENTS];
        int ready = epoll_wait(epoll, events, MOST_EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            int file = events[i].data.fd;
            if (file == listener) {
                int accepted;
                while ((accepted = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    if (accepted >= MOST_FILES) {
                        close(accepted);
                        continue;
                    }
                    setsockopt(accepted, IPPROTO_TCP, 1 /* TCP_NODELAY */, &one, sizeof one);
                    watch(epoll, EPOLL_CTL_ADD, accepted, EPOLLIN);
                }
            } else if (waiting[file].unsent)
                go_on(epoll, file);
            else
                answer(epoll, file);
        }
    }
}
