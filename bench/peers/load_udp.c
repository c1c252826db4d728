/* Datagrams at any UDP server that answers in upper case, each reply checked.
 *
 *     load_udp PORT SIZE CLIENTS WINDOW SECONDS
 *
 * CLIENTS sockets keep WINDOW datagrams each on their way. A datagram is its number in eight
 * lower-case hexadecimal digits and letters up to SIZE bytes. One that stays unanswered for 200 ms
 * counts as lost and is replaced. Sends and receives many a call, so that the server is the
 * bottleneck. Prints one line of JSON.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

enum { BATCH = 64, MOST = 2048, MOST_CLIENTS = 1024, PATIENCE = 200 };

static char out[BATCH][MOST], in[BATCH][MOST], tail[MOST];
static struct mmsghdr sending[BATCH], receiving[BATCH];
static struct iovec out_parts[BATCH], in_parts[BATCH];
static int clients[MOST_CLIENTS], on_the_way[MOST_CLIENTS];
static double heard[MOST_CLIENTS];
static uint32_t next_number, lost, wrong;
static uint64_t right;
static size_t size;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void write_number(char *to, uint32_t number, const char *digits)
{
    for (int i = 7; i >= 0; i--, number >>= 4)
        to[i] = digits[number & 15];
}

static void top_up(int client, int window)
{
    int missing = window - on_the_way[client];
    while (missing > 0) {
        int count = missing < BATCH ? missing : BATCH;
        for (int i = 0; i < count; i++)
            write_number(out[i], next_number++, "0123456789abcdef");
        int sent = sendmmsg(clients[client], sending, (unsigned)count, 0);
        if (sent <= 0)
            return;
        on_the_way[client] += sent;
        missing -= sent;
    }
}

static void take(int client)
{
    int got = recvmmsg(clients[client], receiving, BATCH, MSG_DONTWAIT, NULL);
    for (int i = 0; i < got; i++) {
        char digits[9] = {0}, again[8];
        memcpy(digits, in[i], 8);
        write_number(again, (uint32_t)strtoul(digits, NULL, 16), "0123456789ABCDEF");
        if (receiving[i].msg_len == size && !memcmp(again, in[i], 8) &&
            !memcmp(in[i] + 8, tail, size - 8))
            right++;
        else
            wrong++;
        if (on_the_way[client])
            on_the_way[client]--;
    }
}

int main(int argc, char **argv)
{
    if (argc != 6)
        errx(2, "usage: load_udp PORT SIZE CLIENTS WINDOW SECONDS");
    size = (size_t)atoi(argv[2]);
    int count = atoi(argv[3]), window = atoi(argv[4]), epoll = epoll_create1(0);
    double seconds = atof(argv[5]);
    if (size < 8 || size > MOST || count > MOST_CLIENTS)
        errx(2, "SIZE is 8 to %d, CLIENTS up to %d", MOST, MOST_CLIENTS);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons((uint16_t)atoi(argv[1]))};
    for (int i = 0; i < BATCH; i++) {
        for (size_t at = 8; at < size; at++) {
            out[i][at] = (char)('a' + at % 26);
            tail[at - 8] = (char)('A' + at % 26);
        }
        out_parts[i] = (struct iovec){out[i], size};
        in_parts[i] = (struct iovec){in[i], MOST};
        sending[i].msg_hdr = (struct msghdr){.msg_iov = &out_parts[i], .msg_iovlen = 1};
        receiving[i].msg_hdr = (struct msghdr){.msg_iov = &in_parts[i], .msg_iovlen = 1};
    }
    for (int i = 0; i < count; i++) {
        clients[i] = socket(AF_INET, SOCK_DGRAM, 0);
        if (connect(clients[i], (struct sockaddr *)&to, sizeof to))
            err(1, "connect");
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
        epoll_ctl(epoll, EPOLL_CTL_ADD, clients[i], &event);
    }
    double start = now(), end = start + seconds, time = start, looked = start;
    for (int i = 0; i < count; i++) {
        heard[i] = start;
        top_up(i, window);
    }
    while (time < end) {
        struct epoll_event events[MOST_CLIENTS];
        int ready = epoll_wait(epoll, events, MOST_CLIENTS, PATIENCE / 4);
        time = now();
        for (int i = 0; i < ready; i++) {
            int client = (int)events[i].data.u32;
            take(client);
            heard[client] = time;
            top_up(client, window);
        }
        if (time - looked > PATIENCE / 4000.0) {
            looked = time;
            for (int i = 0; i < count; i++)
                if (time - heard[i] > PATIENCE / 1000.0) {
                    lost += (uint32_t)on_the_way[i];
                    on_the_way[i] = 0;
                    heard[i] = time;
                    top_up(i, window);
                }
        }
    }
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double busy = (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
                  (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    printf("{\"right\": %llu, \"wrong\": %u, \"lost\": %u, \"failed\": 0, \"seconds\": %.6f, "
           "\"load_cpu\": %.4f}\n",
           (unsigned long long)right, wrong, lost, time - start, busy / (time - start));
    return 0;
}
