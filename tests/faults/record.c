/* Loaded before a program (LD_PRELOAD), writes down what it does to the files under $RECORD_FOLDER, in order, to $RECORD_TO.
 * One record: kind, path length (16 bit), offset (64), data length (32), path, data. Kinds: W write, L set length, T empty,
 * C create, S sync, U unlink, M rename (data: the new name), P what the program wrote to its own $RECORD_PROMISES. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define FILES 4096
#define NEXT(type, name) ((type)dlsym(RTLD_NEXT, name))
typedef int (*opener)(const char *, int, ...);
typedef ssize_t (*writer)(int, const void *, size_t);

static int out = -1;
static const char *folder, *promises;
static char *paths[FILES];
static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void begin(void) {
    const char *to = getenv("RECORD_TO");
    folder = getenv("RECORD_FOLDER");
    promises = getenv("RECORD_PROMISES");
    if (folder && promises && to) out = NEXT(opener, "open")(to, O_WRONLY | O_CREAT | O_APPEND, 0644);
}

static void record(char kind, const char *path, int64_t offset, const void *data, uint32_t length) {
    if (out < 0) return;
    uint16_t path_length = strlen(path);
    char head[15] = {kind};
    memcpy(head + 1, &path_length, 2);
    memcpy(head + 3, &offset, 8);
    memcpy(head + 11, &length, 4);
    struct iovec parts[3] = {{head, 15}, {(void *)path, path_length}, {(void *)data, data ? length : 0}};
    pthread_mutex_lock(&one_at_a_time);
    if (writev(out, parts, 3) < 0) abort();
    pthread_mutex_unlock(&one_at_a_time);
}

static int ours(const char *path) {
    return folder && (strncmp(path, folder, strlen(folder)) == 0 || strcmp(path, promises) == 0);
}

static const char *path_of(int file) { return file >= 0 && file < FILES ? paths[file] : NULL; }

static void opened(int file, const char *path, int flags) {
    if (file < 0 || file >= FILES) return;
    free(paths[file]);
    paths[file] = ours(path) ? strdup(path) : NULL;
    if (paths[file] && flags & O_TRUNC) record('T', path, 0, NULL, 0);
    else if (paths[file] && flags & O_CREAT) record('C', path, 0, NULL, 0);
}

static void wrote(int file, int64_t offset, const void *data, ssize_t length) {
    const char *path = path_of(file);
    if (path && length > 0) record(strcmp(path, promises) ? 'W' : 'P', path, offset, data, length);
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        va_list more; \
        va_start(more, flags); \
        mode_t mode = va_arg(more, int); \
        va_end(more); \
        int file = NEXT(opener, #name)(path, flags, mode); \
        opened(file, path, flags); \
        return file; \
    }
OPEN(open)
OPEN(open64)

#define PWRITE(name, position) \
    ssize_t name(int file, const void *data, size_t length, position offset) { \
        ssize_t done = NEXT(ssize_t(*)(int, const void *, size_t, position), #name)(file, data, length, offset); \
        wrote(file, offset, data, done); \
        return done; \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t write(int file, const void *data, size_t length) {
    off_t offset = path_of(file) ? lseek(file, 0, SEEK_CUR) : 0;
    ssize_t done = NEXT(writer, "write")(file, data, length);
    wrote(file, offset, data, done);
    return done;
}

#define TRUNCATE(name, position) \
    int name(int file, position length) { \
        int failed = NEXT(int (*)(int, position), #name)(file, length); \
        if (!failed && path_of(file)) record('L', path_of(file), length, NULL, 0); \
        return failed; \
    }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

#define SYNC(name) \
    int name(int file) { \
        int failed = NEXT(int (*)(int), #name)(file); \
        if (!failed && path_of(file)) record('S', path_of(file), 0, NULL, 0); \
        return failed; \
    }
SYNC(fsync)
SYNC(fdatasync)

int close(int file) {
    if (file >= 0 && file < FILES) {
        free(paths[file]);
        paths[file] = NULL;
    }
    return NEXT(int (*)(int), "close")(file);
}

int unlink(const char *path) {
    int failed = NEXT(int (*)(const char *), "unlink")(path);
    if (!failed && ours(path)) record('U', path, 0, NULL, 0);
    return failed;
}

int rename(const char *from, const char *to) {
    int failed = NEXT(int (*)(const char *, const char *), "rename")(from, to);
    if (!failed && ours(to)) record('M', from, 0, to, strlen(to));
    return failed;
}
