/* Exchanges with any TCP or HTTP/1.1 server, every reply checked.
 *
 *     load_tcp PORT SCRIPT CONNECTIONS AT_ONCE SECONDS RATE [close] [tls] [hold]
 *
 * SCRIPT is a file of exchanges, asked in turn, each as three 32-bit integers (this machine's order)
 * and two strings: length of the request, status, length of the body; request; body. With status 0
 * the reply is the body and nothing else; otherwise it is an HTTP reply of that status, whose
 * Content-Length must be right too. Each byte is compared of bodies of up to WINDOW bytes; of longer
 * ones, WINDOW bytes at a place that changes, and the others are only counted (MSG_TRUNC in tcp(7)):
 * to take and compare them all would take longer than to serve them.
 *
 * CONNECTIONS stay open; AT_ONCE of them, in turn, wait for a reply. RATE 0 asks again as soon as
 * a reply is whole; else so many requests a second fall due whatever the server does, and
 * the time of each is counted from when it was due. With `close` each exchange has a connection of
 * its own. With `hold` each connection does one exchange, then all rest until standard input ends,
 * and do another. Prints one line of JSON; times are in seconds.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK = 256 * 1024, MOST_HEAD = 4096, MOST_EVENTS = 512, SOURCES = 32, WINDOW = 16 * 1024, BUCKETS = 64 * 40 };

struct exchange {
    const char *request, *body;
    uint32_t request_length, body_length, status;
};

struct connection {
    int file;
    SSL *tls;
    const struct exchange *exchange;
    uint32_t sent, got, window; /* where the bytes begin that are compared */
    uint32_t head_length; /* of a head that has not come whole */
    int head_done, wants_out;
    double due;
    char head[MOST_HEAD];
};

static struct exchange *script;
static size_t script_length, script_at;
static struct connection *all, **idle;
static size_t count, at_once, idle_first, idle_count, under_way;
static uint64_t right, wrong, failed, histogram[BUCKETS];
static int epoll, closes, held;
static uint16_t port;
static SSL_CTX *context;
static char chunk[CHUNK];

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Latencies, in buckets a 64th of a power of two wide. */

static void note(double seconds)
{
    uint64_t ns = seconds > 0 ? (uint64_t)(seconds * 1e9) : 0;
    int shift = ns < 64 ? 0 : 57 - __builtin_clzll(ns);
    uint64_t bucket = ns < 64 ? ns : (uint64_t)shift * 64 + (ns >> shift);
    histogram[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
}

static double percentile(double share)
{
    uint64_t total = 0, seen = 0;
    for (int i = 0; i < BUCKETS; i++)
        total += histogram[i];
    for (uint64_t i = 0; i < BUCKETS; i++) {
        seen += histogram[i];
        if (seen && (double)seen >= share * (double)total)
            return (i < 64 ? (double)i : (double)((i % 64 + 64) << (i / 64 - 1))) / 1e9;
    }
    return 0;
}

static void load_script(const char *path)
{
    int file = open(path, O_RDONLY);
    struct stat status;
    if (file < 0 || fstat(file, &status))
        err(1, "%s", path);
    const char *at = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, file, 0);
    const char *end = at + status.st_size;
    size_t room = 0;
    while (at < end) {
        if (script_length == room) {
            room = room ? room * 2 : 64;
            script = realloc(script, room * sizeof *script);
        }
        struct exchange *one = &script[script_length++];
        uint32_t numbers[3];
        memcpy(numbers, at, sizeof numbers);
        one->request_length = numbers[0];
        one->status = numbers[1];
        one->body_length = numbers[2];
        one->request = at + sizeof numbers;
        one->body = one->request + one->request_length;
        at = one->body + one->body_length;
    }
    if (!script_length)
        errx(1, "%s holds no exchange", path);
}

static void connect_one(struct connection *c)
{
    static uint32_t next_source;
    int one = 1;
    c->file = socket(AF_INET, SOCK_STREAM, 0);
    if (c->file < 0)
        err(1, "socket");
    /* many addresses, since each has only so many ports, and a closed one rests for a while */
    struct sockaddr_in from = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + next_source++ % SOURCES)};
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons(port)};
    setsockopt(c->file, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    setsockopt(c->file, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (bind(c->file, (struct sockaddr *)&from, sizeof from) ||
        connect(c->file, (struct sockaddr *)&to, sizeof to))
        err(1, "connect");
    fcntl(c->file, F_SETFL, O_NONBLOCK);
    if (context) {
        c->tls = SSL_new(context);
        SSL_set_fd(c->tls, c->file);
        SSL_set_connect_state(c->tls);
    }
    c->wants_out = 0;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(epoll, EPOLL_CTL_ADD, c->file, &event);
}

static void disconnect(struct connection *c)
{
    if (c->tls) {
        SSL_free(c->tls);
        c->tls = NULL;
    }
    close(c->file);
    c->file = -1;
}

static ssize_t blocked(ssize_t result)
{
    if (result > 0)
        return result;
    return result < 0 && (errno == EAGAIN || errno == EINPROGRESS) ? -1 : 0;
}

/* Whether not all of a body is compared. TLS has to be decrypted anyway. */
static int is_long(const struct connection *c)
{
    return c->exchange && !c->tls && c->exchange->body_length > WINDOW;
}

/* Receive or send: the number of bytes, -1 where it has to wait, 0 where the connection is over. */

static ssize_t take(struct connection *c)
{
    if (!c->tls)
        return blocked(recv(c->file, chunk, is_long(c) && !c->head_done ? MOST_HEAD : CHUNK, 0));
    int got = SSL_read(c->tls, chunk, CHUNK);
    if (got > 0)
        return got;
    int why = SSL_get_error(c->tls, got);
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? -1 : 0;
}

static ssize_t give(struct connection *c)
{
    const char *rest = c->exchange->request + c->sent;
    uint32_t left = c->exchange->request_length - c->sent;
    if (!c->tls)
        return blocked(send(c->file, rest, left, MSG_NOSIGNAL));
    int sent = SSL_write(c->tls, rest, (int)left);
    if (sent > 0)
        return sent;
    int why = SSL_get_error(c->tls, sent);
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? -1 : 0;
}

static void want_out(struct connection *c, int wanted)
{
    if (c->wants_out == wanted)
        return;
    c->wants_out = wanted;
    struct epoll_event event = {.events = EPOLLIN | (wanted ? EPOLLOUT : 0), .data.ptr = c};
    epoll_ctl(epoll, EPOLL_CTL_MOD, c->file, &event);
}

static void rest(struct connection *c)
{
    c->exchange = NULL;
    idle[(idle_first + idle_count++) % count] = c;
    under_way--;
}

static void lose(struct connection *c, uint64_t *what)
{
    (*what)++;
    disconnect(c);
    if (!closes)
        connect_one(c);
    rest(c);
}

static void push(struct connection *c)
{
    while (c->sent < c->exchange->request_length) {
        ssize_t sent = give(c);
        if (sent <= 0) {
            if (sent == 0)
                lose(c, &failed);
            else
                want_out(c, !c->tls);
            return;
        }
        c->sent += (uint32_t)sent;
    }
    want_out(c, 0);
}

static void ask(double due)
{
    struct connection *c = idle[idle_first];
    idle_first = (idle_first + 1) % count;
    idle_count--;
    under_way++;
    c->exchange = &script[script_at];
    script_at = (script_at + 1) % script_length;
    c->sent = c->got = c->head_length = 0;
    c->head_done = c->exchange->status == 0;
    c->due = due;
    static uint32_t place;
    if (c->exchange->body_length > WINDOW)
        c->window = (place += 7919) % (c->exchange->body_length - WINDOW + 1);
    if (closes)
        connect_one(c);
    push(c);
}

/* The head of a reply: -1 it is wrong, 0 it is not whole, else the bytes that it takes of these. */
static ssize_t read_head(struct connection *c, ssize_t length)
{
    size_t before = c->head_length;
    size_t room = MOST_HEAD - 1 - before;
    size_t taken = (size_t)length < room ? (size_t)length : room;
    memcpy(c->head + before, chunk, taken);
    c->head_length += (uint32_t)taken;
    c->head[c->head_length] = 0;
    char *end = memmem(c->head, c->head_length, "\r\n\r\n", 4);
    if (!end)
        return c->head_length == MOST_HEAD - 1 ? -1 : 0;
    end[2] = 0;
    char status[16];
    snprintf(status, sizeof status, "HTTP/1.1 %u ", c->exchange->status);
    if (strncmp(c->head, status, strlen(status)))
        return -1;
    if (c->exchange->status != 304) {
        const char *field = strcasestr(c->head, "\r\ncontent-length:");
        if (!field || strtoul(field + 17, NULL, 10) != c->exchange->body_length)
            return -1;
    }
    c->head_done = 1;
    return end + 4 - c->head - (ssize_t)before;
}

/* Whether these bytes are what should come next. */
static int is_right(const struct connection *c, const char *data, uint32_t length)
{
    return length <= c->exchange->body_length - c->got &&
           !memcmp(data, c->exchange->body + c->got, length);
}

/* Receive what comes next of a long body: the bytes of the window compared, the others counted. */
static ssize_t take_long(struct connection *c, int *is_wrong)
{
    uint32_t left = c->exchange->body_length - c->got, end = c->window + WINDOW;
    if (c->got >= c->window && c->got < end) {
        ssize_t got = blocked(recv(c->file, chunk, end - c->got, 0));
        *is_wrong = got > 0 && !is_right(c, chunk, (uint32_t)got);
        return got;
    }
    size_t most = c->got < c->window ? c->window - c->got : left + 1;
    ssize_t got = blocked(recv(c->file, NULL, most, MSG_TRUNC));
    *is_wrong = got > (ssize_t)left;
    return got;
}

static void pull(struct connection *c)
{
    while (c->exchange) {
        int is_wrong = 0, is_rest = is_long(c) && c->head_done;
        ssize_t got = is_rest ? take_long(c, &is_wrong) : take(c), at = 0;
        if (got <= 0) {
            if (got == 0)
                lose(c, &failed);
            return;
        }
        if (!c->head_done) {
            at = read_head(c, got);
            if (at < 0) {
                lose(c, &wrong);
                return;
            }
            if (at == 0)
                continue;
        }
        uint32_t length = (uint32_t)(got - at);
        if (is_wrong || (!is_rest && !is_right(c, chunk + at, length))) {
            lose(c, &wrong);
            return;
        }
        c->got += length;
        if (c->got == c->exchange->body_length) {
            right++;
            note(now() - c->due);
            if (closes)
                disconnect(c);
            rest(c);
            return;
        }
        if (!c->tls && !is_long(c) && got < CHUNK)
            return;
    }
}

static void turn(int patience)
{
    struct epoll_event events[MOST_EVENTS];
    int ready = epoll_wait(epoll, events, MOST_EVENTS, patience);
    for (int i = 0; i < ready; i++) {
        struct connection *c = events[i].data.ptr;
        if (!c->exchange) { /* an idle connection speaks, or ends */
            ssize_t got = c->file >= 0 ? take(c) : -1;
            if (got > 0)
                wrong++; /* more than was asked for */
            if (got == 0 && !closes) {
                failed++;
                disconnect(c);
                if (!held)
                    connect_one(c);
            }
            continue;
        }
        if (c->sent < c->exchange->request_length)
            push(c);
        if (c->exchange)
            pull(c);
    }
}

static void hold(void)
{
    for (int pass = 0; pass < 2; pass++) {
        for (size_t done = 0; done < count;) {
            for (; done < count && under_way < at_once; done++)
                if (idle[idle_first]->file >= 0)
                    ask(now());
                else
                    idle_first = (idle_first + 1) % count, idle_count--;
            turn(-1);
        }
        while (under_way)
            turn(-1);
        if (pass == 0) {
            held = 1;
            puts("held");
            fflush(stdout);
            getchar();
        }
    }
}

static void run(double seconds, double rate)
{
    double start = now(), end = start + seconds, due = start;
    for (double time = start; time < end; time = now()) {
        if (rate > 0) {
            for (; due <= time && idle_count; due += 1 / rate)
                ask(due);
            turn(0);
        } else {
            while (under_way < at_once && idle_count)
                ask(now());
            turn(100);
        }
    }
}

int main(int argc, char **argv)
{
    int holds = 0;
    if (argc < 7)
        errx(2, "usage: load_tcp PORT SCRIPT CONNECTIONS AT_ONCE SECONDS RATE [close] [tls] [hold]");
    port = (uint16_t)atoi(argv[1]);
    load_script(argv[2]);
    count = (size_t)atoi(argv[3]);
    at_once = (size_t)atoi(argv[4]);
    for (int i = 7; i < argc; i++) {
        closes |= !strcmp(argv[i], "close");
        holds |= !strcmp(argv[i], "hold");
        if (!strcmp(argv[i], "tls")) {
            context = SSL_CTX_new(TLS_client_method());
            SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
            SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
        }
    }
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    epoll = epoll_create1(0);
    all = calloc(count, sizeof *all);
    idle = calloc(count, sizeof(struct connection *));
    for (idle_count = 0; idle_count < count; idle_count++) {
        idle[idle_count] = &all[idle_count];
        all[idle_count].file = -1;
        if (!closes)
            connect_one(&all[idle_count]);
    }
    double start = now();
    if (holds)
        hold();
    else
        run(atof(argv[5]), atof(argv[6]));
    double took = now() - start;
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double busy = (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
                  (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    printf("{\"right\": %llu, \"wrong\": %llu, \"failed\": %llu, \"lost\": 0, \"seconds\": %.6f, "
           "\"p50\": %.9f, \"p99\": %.9f, \"load_cpu\": %.4f}\n",
           (unsigned long long)right, (unsigned long long)wrong, (unsigned long long)failed, took,
           percentile(0.5), percentile(0.99), busy / took);
    return 0;
}
