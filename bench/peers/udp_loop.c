/* The peer of `stretta udp server`: recvfrom, ASCII upper case, sendto.
 *
 *     udp_loop PORT
 */
#include <arpa/inet.h>
#include <err.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>

static char data[65536];

int main(int argc, char **argv)
{
    if (argc != 2)
        errx(2, "usage: udp_loop PORT");
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons((uint16_t)atoi(argv[1]))};
    int file = socket(AF_INET, SOCK_DGRAM, 0);
    if (bind(file, (struct sockaddr *)&at, sizeof at))
        err(1, "port %s", argv[1]);
    for (;;) {
        struct sockaddr_in from;
        socklen_t length = sizeof from;
        ssize_t got = recvfrom(file, data, sizeof data, 0, (struct sockaddr *)&from, &length);
        if (got < 0)
            continue;
        for (ssize_t i = 0; i < got; i++) {
            uint8_t c = (uint8_t)data[i];
            data[i] = (char)(c - ((uint8_t)(c - 'a') < 26 ? 32 : 0));
        }
        sendto(file, data, (size_t)got, 0, (struct sockaddr *)&from, length);
    }
}
