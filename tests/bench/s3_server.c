/* A small S3 server for benchmarks: one thread, so fast that the client is what is measured.
 *
 *     cc -O2 -o s3_server s3_server.c -ldl
 *     ./s3_server PORT [certificate.pem key.pem]
 *
 * It prints its port when it listens, and ends when its standard input does. It believes every
 * signature. Small objects are kept; of large ones only the size is, and what is read of them is
 * one pattern again and again: byte i of an object is (i * 131 + (i >> 8)) & 255 with i modulo
 * 1 MiB. The bucket `listing` has 10,000 keys. TLS comes from libssl.so.3 by dlopen, so that no
 * header of it is needed.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define HEAD_BYTES 65536
#define SMALL_BYTES 262144
#define PATTERN_BYTES 1048576
#define SINK_BYTES 1048576
#define BUCKETS 65536
#define LISTED_KEYS 10000
#define PAGE_KEYS 1000

/* TLS */

static void *(*tls_new)(void *);
static int (*tls_set_fd)(void *, int), (*tls_accept)(void *), (*tls_error)(void *, int);
static int (*tls_read)(void *, void *, int), (*tls_write)(void *, const void *, int);
static void (*tls_free)(void *);
static void *tls_context;

static void *symbol(void *library, const char *name) {
    void *found = dlsym(library, name);
    if (!found) { fprintf(stderr, "libssl has no %s\n", name); exit(3); }
    return found;
}

static void load_tls(const char *certificate, const char *key) {
    void *library = dlopen("libssl.so.3", RTLD_NOW);
    if (!library) { fprintf(stderr, "no TLS: %s\n", dlerror()); exit(3); }
    void *(*method)(void) = symbol(library, "TLS_server_method");
    void *(*context_new)(void *) = symbol(library, "SSL_CTX_new");
    int (*use_chain)(void *, const char *) = symbol(library, "SSL_CTX_use_certificate_chain_file");
    int (*use_key)(void *, const char *, int) = symbol(library, "SSL_CTX_use_PrivateKey_file");
    long (*control)(void *, int, long, void *) = symbol(library, "SSL_CTX_ctrl");
    tls_new = symbol(library, "SSL_new");
    tls_set_fd = symbol(library, "SSL_set_fd");
    tls_accept = symbol(library, "SSL_accept");
    tls_error = symbol(library, "SSL_get_error");
    tls_read = symbol(library, "SSL_read");
    tls_write = symbol(library, "SSL_write");
    tls_free = symbol(library, "SSL_free");
    tls_context = context_new(method());
    if (use_chain(tls_context, certificate) != 1 || use_key(tls_context, key, 1) != 1) {
        fprintf(stderr, "the certificate or its key can't be read\n");
        exit(3);
    }
    /* SSL_CTRL_MODE: partial writes, from a buffer that may move. */
    control(tls_context, 33, 1 | 2, NULL);
}

/* Objects */

typedef struct object {
    struct object *next;
    char *key;
    char *data; /* NULL for a large one */
    size_t size;
} object;

static object *objects[BUCKETS];
static char pattern[PATTERN_BYTES], sink[SINK_BYTES], page[PAGE_KEYS * 512 + 4096];
static size_t uploaded; /* of the one multipart upload under way, whatever its id */

static uint32_t hash_of(const char *text) {
    uint32_t hash = 2166136261u;
    for (; *text; text++) hash = (hash ^ (unsigned char)*text) * 16777619u;
    return hash % BUCKETS;
}

static object *find(const char *key) {
    for (object *each = objects[hash_of(key)]; each; each = each->next)
        if (!strcmp(each->key, key)) return each;
    return NULL;
}

static void put(const char *key, char *data, size_t size) {
    object *kept = find(key);
    if (!kept) {
        uint32_t hash = hash_of(key);
        kept = calloc(1, sizeof *kept);
        kept->key = strdup(key);
        kept->next = objects[hash];
        objects[hash] = kept;
    }
    free(kept->data);
    kept->data = data;
    kept->size = size;
}

static void drop(const char *key) {
    for (object **each = &objects[hash_of(key)]; *each; each = &(*each)->next)
        if (!strcmp((*each)->key, key)) {
            object *gone = *each;
            *each = gone->next;
            free(gone->key);
            free(gone->data);
            free(gone);
            return;
        }
}

/* Connections */

enum { HEAD, BODY, ANSWER };
enum { SIZE, DATA, DATA_END, TRAILER };

typedef struct {
    int fd, state, method_is_head, closes, wants_write, accepted;
    void *tls;
    char head[HEAD_BYTES + 1];
    size_t head_length, head_end;
    /* The request */
    char method[16], path[4096], query[4096];
    char range[128];
    size_t length, received, decoded;
    int chunked, aws_chunked, chunk_state;
    size_t chunk_left;
    char chunk_line[64];
    int chunk_line_length;
    char *body; /* of a small one */
    /* The answer */
    char answer[2048];
    size_t answer_length, answer_sent;
    const char *data; /* NULL for the pattern */
    size_t data_offset, data_left;
} connection;

static long receive(connection *c, void *buffer, size_t size) {
    if (!c->tls) {
        long count = recv(c->fd, buffer, size, 0);
        if (count < 0) return errno == EAGAIN ? -1 : 0;
        return count;
    }
    int count = tls_read(c->tls, buffer, (int)size);
    if (count > 0) return count;
    int error = tls_error(c->tls, count);
    return error == 2 || error == 3 ? -1 : 0;
}

static long transmit(connection *c, const void *buffer, size_t size) {
    if (!c->tls) {
        long count = send(c->fd, buffer, size, MSG_NOSIGNAL);
        if (count < 0) return errno == EAGAIN ? -1 : 0;
        return count;
    }
    int count = tls_write(c->tls, buffer, (int)(size > 1 << 20 ? 1 << 20 : size));
    if (count > 0) return count;
    int error = tls_error(c->tls, count);
    return error == 2 || error == 3 ? -1 : 0;
}

static const char *header(connection *c, const char *name, char *value, size_t size) {
    size_t length = strlen(name);
    for (char *line = strstr(c->head, "\r\n"); line && line < c->head + c->head_end;
         line = strstr(line + 2, "\r\n"))
        if (!strncasecmp(line + 2, name, length) && line[2 + length] == ':') {
            char *start = line + 3 + length;
            while (*start == ' ') start++;
            char *end = strstr(start, "\r\n");
            size_t count = (size_t)(end - start) < size - 1 ? (size_t)(end - start) : size - 1;
            memcpy(value, start, count);
            value[count] = 0;
            return value;
        }
    return NULL;
}

static void answer(connection *c, const char *status, const char *headers, const char *data,
                   size_t offset, size_t size) {
    c->answer_length = (size_t)snprintf(
        c->answer, sizeof c->answer,
        "HTTP/1.1 %s\r\nDate: Fri, 27 Nov 2026 12:00:00 GMT\r\nServer: bench\r\n"
        "x-amz-request-id: 4442587FB7D0A2F9\r\n%sContent-Length: %zu\r\n\r\n",
        status, headers, size);
    c->answer_sent = 0;
    c->data = data;
    c->data_offset = offset;
    c->data_left = c->method_is_head ? 0 : size;
    c->state = ANSWER;
}

static void xml(connection *c, const char *status, const char *text) {
    answer(c, status, "Content-Type: application/xml\r\n", text, 0, strlen(text));
}

static const char *parameter(connection *c, const char *name) {
    static char value[1024];
    size_t length = strlen(name);
    for (char *at = c->query; at && *at; at = strchr(at, '&') ? strchr(at, '&') + 1 : NULL)
        if (!strncmp(at, name, length) && (at[length] == '=' || !at[length] || at[length] == '&')) {
            size_t count = 0;
            char *from = at + length + (at[length] == '=');
            while (from[count] && from[count] != '&' && count < sizeof value - 1) count++;
            memcpy(value, from, count);
            value[count] = 0;
            return value;
        }
    return NULL;
}

static void list(connection *c) {
    const char *token = parameter(c, "continuation-token");
    if (!token) token = parameter(c, "start-after");
    int first = 0;
    while (token && *token && (*token < '0' || *token > '9')) token++;
    if (token && *token) first = atoi(token) + 1;
    int last = first + PAGE_KEYS > LISTED_KEYS ? LISTED_KEYS : first + PAGE_KEYS;
    int more = last < LISTED_KEYS;
    char *at = page;
    at += sprintf(at,
                  "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\""
                  "http://s3.amazonaws.com/doc/2006-03-01/\"><Name>listing</Name><Prefix></Prefix>"
                  "<MaxKeys>1000</MaxKeys><KeyCount>%d</KeyCount><IsTruncated>%s</IsTruncated>"
                  "<EncodingType>url</EncodingType>",
                  last - first, more ? "true" : "false");
    if (more) at += sprintf(at, "<NextContinuationToken>k%05d</NextContinuationToken>", last - 1);
    for (int i = first; i < last; i++)
        at += sprintf(at,
                      "<Contents><Key>folder/key%05d</Key><LastModified>2026-11-27T12:00:00.000Z"
                      "</LastModified><ETag>&quot;9a0364b9e99bb480dd25e1f0284c8555&quot;</ETag>"
                      "<Size>1024</Size><StorageClass>STANDARD</StorageClass></Contents>",
                      i);
    at += sprintf(at, "</ListBucketResult>");
    answer(c, "200 OK", "Content-Type: application/xml\r\n", page, 0, (size_t)(at - page));
}

static void carry_out(connection *c) {
    int is_put = !strcmp(c->method, "PUT"), is_post = !strcmp(c->method, "POST");
    int is_get = !strcmp(c->method, "GET") || c->method_is_head;
    const char *key = strchr(c->path + 1, '/');
    int on_bucket = !key || !key[1];
    const char *etag = "ETag: \"9a0364b9e99bb480dd25e1f0284c8555\"\r\n";
    if (is_post && parameter(c, "uploads")) {
        uploaded = 0;
        xml(c, "200 OK",
            "<?xml version=\"1.0\"?><InitiateMultipartUploadResult><Bucket>b</Bucket><Key>k</Key>"
            "<UploadId>upload-1</UploadId></InitiateMultipartUploadResult>");
    } else if (is_post && parameter(c, "uploadId")) {
        put(c->path, NULL, uploaded);
        xml(c, "200 OK",
            "<?xml version=\"1.0\"?><CompleteMultipartUploadResult><Bucket>b</Bucket><Key>k</Key>"
            "<ETag>\"9a0364b9e99bb480dd25e1f0284c8555-2\"</ETag></CompleteMultipartUploadResult>");
    } else if (is_post) {
        xml(c, "200 OK", "<?xml version=\"1.0\"?><DeleteResult><Deleted><Key>k</Key>"
                         "</Deleted></DeleteResult>");
    } else if (is_put && parameter(c, "partNumber")) {
        uploaded += c->decoded;
        answer(c, "200 OK", etag, NULL, 0, 0);
    } else if (is_put && !on_bucket) {
        put(c->path, c->body, c->decoded);
        c->body = NULL;
        answer(c, "200 OK", etag, NULL, 0, 0);
    } else if (is_get && on_bucket && parameter(c, "location")) {
        xml(c, "200 OK", "<?xml version=\"1.0\"?><LocationConstraint>us-east-1"
                         "</LocationConstraint>");
    } else if (is_get && on_bucket && !c->method_is_head) {
        list(c);
    } else if (on_bucket) {
        answer(c, "200 OK", "x-amz-bucket-region: us-east-1\r\n", NULL, 0, 0);
    } else if (!strcmp(c->method, "DELETE")) {
        drop(c->path);
        c->answer_length = (size_t)sprintf(c->answer, "HTTP/1.1 204 No Content\r\nServer: bench"
                                                      "\r\nx-amz-request-id: 4442587FB7D0A2F9"
                                                      "\r\n\r\n");
        c->answer_sent = c->data_left = 0;
        c->state = ANSWER;
    } else {
        object *found = find(c->path);
        if (!found) {
            xml(c, "404 Not Found",
                "<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code><Message>none</Message>"
                "</Error>");
        } else {
            char headers[512];
            size_t first = 0, last = found->size ? found->size - 1 : 0;
            int length = snprintf(headers, sizeof headers,
                                  "%sLast-Modified: Fri, 27 Nov 2026 12:00:00 GMT\r\n"
                                  "Content-Type: application/octet-stream\r\n"
                                  "Accept-Ranges: bytes\r\n",
                                  etag);
            const char *status = "200 OK";
            char *dash = strchr(c->range, '-');
            if (!strncmp(c->range, "bytes=", 6) && dash) {
                size_t end = strtoull(dash + 1, NULL, 10);
                if (dash == c->range + 6) first = end < found->size ? found->size - end : 0;
                else {
                    first = strtoull(c->range + 6, NULL, 10);
                    if (dash[1] && end < last) last = end;
                }
                status = "206 Partial Content";
                snprintf(headers + length, sizeof headers - (size_t)length,
                         "Content-Range: bytes %zu-%zu/%zu\r\n", first, last, found->size);
            }
            answer(c, status, headers, found->data, first, found->size ? last - first + 1 : 0);
        }
    }
}

static void begin(connection *c) {
    char value[256], *space, *end, *question;
    c->method_is_head = c->chunked = c->aws_chunked = c->chunk_state = 0;
    c->length = c->received = c->decoded = 0;
    c->chunk_line_length = 0;
    c->range[0] = c->query[0] = 0;
    space = strchr(c->head, ' ');
    end = space ? strchr(space + 1, ' ') : NULL;
    if (!end || space - c->head > 15 || end - space > 4000) { c->closes = 1; return; }
    memcpy(c->method, c->head, (size_t)(space - c->head));
    c->method[space - c->head] = 0;
    memcpy(c->path, space + 1, (size_t)(end - space - 1));
    c->path[end - space - 1] = 0;
    if ((question = strchr(c->path, '?'))) {
        strcpy(c->query, question + 1);
        *question = 0;
    }
    c->method_is_head = !strcmp(c->method, "HEAD");
    header(c, "range", c->range, sizeof c->range);
    if (header(c, "content-length", value, sizeof value)) c->length = strtoull(value, NULL, 10);
    c->chunked = header(c, "transfer-encoding", value, sizeof value) != NULL;
    c->aws_chunked = header(c, "x-amz-content-sha256", value, sizeof value) &&
                     !strncmp(value, "STREAMING", 9);
    if (header(c, "expect", value, sizeof value)) {
        static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
        transmit(c, go_on, sizeof go_on - 1);
    }
    c->body = NULL;
    if (!c->chunked && c->length <= SMALL_BYTES) c->body = malloc(c->length + 1);
    c->state = BODY;
}

/* One layer of chunks, of HTTP or of AWS; both at once are taken for AWS's inside of HTTP's. */
static void take(connection *c, const char *data, size_t size) {
    if (!c->chunked && !c->aws_chunked) {
        if (c->body) memcpy(c->body + c->decoded, data, size);
        c->decoded += size;
        return;
    }
    while (size) {
        if (c->chunk_state == DATA) {
            size_t count = size < c->chunk_left ? size : c->chunk_left;
            if (c->body) memcpy(c->body + c->decoded, data, count);
            c->decoded += count;
            c->chunk_left -= count;
            data += count;
            size -= count;
            if (!c->chunk_left) c->chunk_state = DATA_END;
        } else {
            char byte = *data++;
            size--;
            if (byte != '\n') {
                if (c->chunk_line_length < 63) c->chunk_line[c->chunk_line_length++] = byte;
                continue;
            }
            c->chunk_line[c->chunk_line_length] = 0;
            int empty = c->chunk_line_length <= 1;
            c->chunk_line_length = 0;
            if (c->chunk_state == DATA_END) c->chunk_state = SIZE;
            else if (c->chunk_state == SIZE) {
                c->chunk_left = strtoull(c->chunk_line, NULL, 16);
                c->chunk_state = c->chunk_left ? DATA : TRAILER;
            } else if (empty && c->chunked) c->received = c->length = 1; /* the end */
        }
    }
}

/* What was read; false if the connection is to be closed. */
static int step(connection *c);

static int read_body(connection *c) {
    size_t left = c->head_length - c->head_end;
    if (c->chunked) c->length = SIZE_MAX;
    if (left) {
        if (!c->chunked && left > c->length - c->received) left = c->length - c->received;
        take(c, c->head + c->head_end, left);
        if (!c->chunked) c->received += left;
        memmove(c->head, c->head + c->head_end + left, c->head_length - c->head_end - left);
        c->head_length -= c->head_end + left;
    } else c->head_length = 0;
    c->head_end = 0;
    while (c->received < c->length) {
        size_t wanted = c->chunked ? SINK_BYTES : c->length - c->received;
        long count = receive(c, sink, wanted < SINK_BYTES ? wanted : SINK_BYTES);
        if (count < 0) return 1;
        if (!count) return 0;
        if (!c->chunked) c->received += (size_t)count;
        take(c, sink, (size_t)count);
    }
    carry_out(c);
    free(c->body);
    c->body = NULL;
    return 1;
}

static int write_answer(connection *c) {
    size_t head_left = c->answer_length - c->answer_sent;
    while (head_left || c->data_left) {
        const char *from = c->data ? c->data + c->data_offset
                                   : pattern + c->data_offset % PATTERN_BYTES;
        size_t room = c->data ? c->data_left : PATTERN_BYTES - c->data_offset % PATTERN_BYTES;
        size_t count = c->data_left < room ? c->data_left : room;
        long sent;
        if (head_left && !c->tls) {
            struct iovec both[2] = {{c->answer + c->answer_sent, head_left}, {(void *)from, count}};
            sent = writev(c->fd, both, 2);
            if (sent < 0) sent = errno == EAGAIN ? -1 : 0;
        } else if (head_left && count &&
                   c->answer_length + count <= sizeof c->answer) {
            memcpy(c->answer + c->answer_length, from, count); /* one record of TLS */
            c->answer_length += count;
            c->data_offset += count;
            c->data_left -= count;
            head_left += count;
            continue;
        } else if (head_left) sent = transmit(c, c->answer + c->answer_sent, head_left);
        else sent = transmit(c, from, count);
        if (sent < 0) return 1;
        if (!sent) return 0;
        size_t of_head = (size_t)sent < head_left ? (size_t)sent : head_left;
        c->answer_sent += of_head;
        head_left -= of_head;
        c->data_offset += (size_t)sent - of_head;
        c->data_left -= (size_t)sent - of_head;
    }
    c->state = HEAD;
    return 1;
}

static int step(connection *c) {
    for (;;) {
        if (c->tls && !c->accepted) {
            int done = tls_accept(c->tls);
            if (done != 1) return tls_error(c->tls, done) == 2 || tls_error(c->tls, done) == 3;
            c->accepted = 1;
        }
        if (c->state == HEAD) {
            c->head[c->head_length] = 0;
            char *end = c->head_length ? strstr(c->head, "\r\n\r\n") : NULL;
            if (!end) {
                if (c->head_length == HEAD_BYTES) return 0;
                long count = receive(c, c->head + c->head_length, HEAD_BYTES - c->head_length);
                if (count < 0) return 1;
                if (!count) return 0;
                c->head_length += (size_t)count;
                continue;
            }
            c->head_end = (size_t)(end + 4 - c->head);
            begin(c);
            if (c->closes) return 0;
        }
        if (c->state == BODY) {
            if (!read_body(c)) return 0;
            if (c->state == BODY) return 1;
        }
        if (!write_answer(c)) return 0;
        if (c->state == ANSWER) return 1;
    }
}

int main(int count, char **arguments) {
    if (count != 2 && count != 4) { fprintf(stderr, "usage: PORT [CERTIFICATE KEY]\n"); return 2; }
    if (count == 4) load_tls(arguments[2], arguments[3]);
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < PATTERN_BYTES; i++) pattern[i] = (char)(i * 131 + (i >> 8));
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), yes = 1;
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((uint16_t)atoi(arguments[1]));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 1024)) {
        perror("bind");
        return 1;
    }
    getsockname(listener, (struct sockaddr *)&address, &size);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    int poll = epoll_create1(0);
    static connection at_listener, at_input;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &at_listener}, events[256];
    epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
    event.data.ptr = &at_input;
    epoll_ctl(poll, EPOLL_CTL_ADD, 0, &event);
    for (;;) {
        int ready = epoll_wait(poll, events, 256, -1);
        for (int i = 0; i < ready; i++) {
            connection *c = events[i].data.ptr;
            if (c == &at_input) {
                char byte;
                if (read(0, &byte, 1) <= 0) return 0;
            } else if (c == &at_listener) {
                int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
                if (fd < 0) continue;
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
                c = calloc(1, sizeof *c);
                c->fd = fd;
                if (tls_context) {
                    c->tls = tls_new(tls_context);
                    tls_set_fd(c->tls, fd);
                }
                event.events = EPOLLIN | EPOLLOUT | EPOLLET;
                event.data.ptr = c;
                epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
            } else if (!step(c)) {
                close(c->fd);
                if (c->tls) tls_free(c->tls);
                free(c->body);
                free(c);
            }
        }
    }
}
