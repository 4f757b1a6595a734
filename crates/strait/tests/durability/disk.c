/* Records, for a process that is started with it (LD_PRELOAD), everything that reaches the disk:
 * writes, truncations, names, and which of it was synced. The record is a file outside of what
 * is recorded; replaying it tells what a power cut would have left (`disk.rs`). On demand it
 * also lets writes fail as on a full disk, and syncs as on a broken one.
 *
 *   STRAIT_DISK_ROOT   the directory whose files are recorded
 *   STRAIT_DISK_LOG    where
 *   STRAIT_DISK_FAULT  a file of one letter: 0 none, 1 writes fail (ENOSPC), 2 syncs fail (EIO),
 *                      3 syncs of files named *.db do
 *
 * Processes that a recorded one starts are recorded too, whatever environment they are given.
 *
 * A record is written after its effect, by one call, so that whoever learns of an effect comes
 * after it in the log. A sync has two: what precedes the first is durable once there is the
 * second. So has a new name: a process that is killed between its effect and the second still
 * moved what it had synced. Not recorded: the shared memory of SQLite, which is rebuilt, and modes.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { CREATE = 1, MKDIR, WRITE, TRUNCATE, SYNC, SYNCED, RENAME, REMOVE, RENAMING, NOT_RENAMED };

struct record {
    uint32_t op, from, to, data;
    uint64_t at;
};

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

static int log_fd(void) {
    static atomic_int fd = -1;
    if (fd < 0) {
        const char *path = getenv("STRAIT_DISK_LOG");
        int opened = REAL(open)(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        int none = -1;
        if (!atomic_compare_exchange_strong(&fd, &none, opened)) close(opened);
    }
    return fd;
}

static char fault(void) {
    static _Atomic(char *) page;
    if (!page) {
        int fd = REAL(open)(getenv("STRAIT_DISK_FAULT"), O_RDONLY | O_CLOEXEC);
        page = mmap(NULL, 1, PROT_READ, MAP_SHARED, fd, 0);
        close(fd);
    }
    return *page;
}

static int recorded(const char *path) {
    const char *root = getenv("STRAIT_DISK_ROOT");
    size_t length = root ? strlen(root) : 0, all = strlen(path);
    int below = length && !strncmp(path, root, length) && (!path[length] || path[length] == '/');
    return below && !(all > 4 && !strcmp(path + all - 4, "-shm"));
}

static void record(int op, const char *from, const char *to, uint64_t at, const void *data,
                   size_t length) {
    int saved = errno;
    struct record head = {op, strlen(from), to ? strlen(to) : 0, length, at};
    struct iovec parts[] = {{&head, sizeof head},
                            {(void *)from, head.from},
                            {(void *)to, head.to},
                            {(void *)data, length}};
    REAL(writev)(log_fd(), parts, 4);
    errno = saved;
}

/* The path of an open file; 0 if it is none of the recorded ones. */
static int path_of(int fd, char *path) {
    int saved = errno;
    char link[32];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    path[length > 0 ? length : 0] = 0;
    errno = saved;
    return recorded(path);
}

/* The absolute path of a name; 0 if it is none of the recorded ones. */
static int resolve(int dir, const char *name, char *path) {
    char base[PATH_MAX] = "";
    if (name[0] != '/') {
        if (dir == AT_FDCWD) {
            if (!getcwd(base, sizeof base)) return 0;
        } else {
            path_of(dir, base);
        }
    }
    snprintf(path, PATH_MAX, "%.2000s%s%.2000s", base, base[0] ? "/" : "", name);
    return recorded(path);
}

static int refuse(int error) {
    errno = error;
    return -1;
}

static int open_recorded(int dir, const char *name, int flags, mode_t mode) {
    char path[PATH_MAX];
    if (!(flags & (O_CREAT | O_TRUNC)) || !resolve(dir, name, path))
        return REAL(openat)(dir, name, flags, mode);
    struct stat found;
    int existed = !fstatat(dir, name, &found, 0);
    if (!existed && fault() == '1') return refuse(ENOSPC);
    int fd = REAL(openat)(dir, name, flags, mode);
    if (fd >= 0 && !existed) record(CREATE, path, NULL, 0, NULL, 0);
    else if (fd >= 0 && (flags & O_TRUNC)) record(TRUNCATE, path, NULL, 0, NULL, 0);
    return fd;
}

static mode_t mode_of(int flags, va_list arguments) {
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
}

#define OPEN(name)                                                                                 \
    int name(const char *path, int flags, ...) {                                                   \
        va_list arguments;                                                                         \
        va_start(arguments, flags);                                                                \
        mode_t mode = mode_of(flags, arguments);                                                   \
        va_end(arguments);                                                                         \
        return open_recorded(AT_FDCWD, path, flags, mode);                                         \
    }
OPEN(open)
OPEN(open64)

int openat64(int dir, const char *path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return open_recorded(dir, path, flags, mode);
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t at) {
    char path[PATH_MAX];
    int ours = path_of(fd, path);
    if (ours && fault() == '1') return refuse(ENOSPC);
    ssize_t written = REAL(pwrite)(fd, data, length, at);
    if (ours && written > 0) record(WRITE, path, NULL, at, data, written);
    return written;
}

ssize_t pwrite64(int fd, const void *data, size_t length, off_t at) {
    return pwrite(fd, data, length, at);
}

ssize_t write(int fd, const void *data, size_t length) {
    char path[PATH_MAX];
    int ours = path_of(fd, path);
    if (ours && fault() == '1') return refuse(ENOSPC);
    ssize_t written = REAL(write)(fd, data, length);
    if (ours && written > 0)
        record(WRITE, path, NULL, lseek(fd, 0, SEEK_CUR) - written, data, written);
    return written;
}

int ftruncate(int fd, off_t length) {
    char path[PATH_MAX];
    int done = REAL(ftruncate)(fd, length);
    if (!done && path_of(fd, path)) record(TRUNCATE, path, NULL, length, NULL, 0);
    return done;
}

int ftruncate64(int fd, off_t length) { return ftruncate(fd, length); }

static int sync_fails(const char *path) {
    size_t length = strlen(path);
    int database = length > 3 && !strcmp(path + length - 3, ".db");
    return fault() == '2' || (fault() == '3' && database);
}

static int sync_recorded(int fd, int (*sync)(int)) {
    static _Atomic uint32_t next;
    char path[PATH_MAX];
    if (!path_of(fd, path)) return sync(fd);
    uint64_t number = (uint64_t)getpid() << 32 | next++;
    record(SYNC, path, NULL, number, NULL, 0);
    if (sync_fails(path)) return refuse(EIO);
    int done = sync(fd);
    if (!done) record(SYNCED, path, NULL, number, NULL, 0);
    return done;
}

int fsync(int fd) { return sync_recorded(fd, REAL(fsync)); }

int fdatasync(int fd) { return sync_recorded(fd, REAL(fdatasync)); }

int rename(const char *from, const char *to) {
    char source[PATH_MAX], target[PATH_MAX];
    if (!resolve(AT_FDCWD, from, source) || !resolve(AT_FDCWD, to, target))
        return REAL(rename)(from, to);
    record(RENAMING, source, target, 0, NULL, 0);
    int done = REAL(rename)(from, to);
    record(done ? NOT_RENAMED : RENAME, source, target, 0, NULL, 0);
    return done;
}

static int removed(int done, int dir, const char *name) {
    char path[PATH_MAX];
    if (!done && resolve(dir, name, path)) record(REMOVE, path, NULL, 0, NULL, 0);
    return done;
}

int unlink(const char *name) { return removed(REAL(unlink)(name), AT_FDCWD, name); }

int rmdir(const char *name) { return removed(REAL(rmdir)(name), AT_FDCWD, name); }

int unlinkat(int dir, const char *name, int flags) {
    return removed(REAL(unlinkat)(dir, name, flags), dir, name);
}

int mkdir(const char *name, mode_t mode) {
    char path[PATH_MAX];
    if (fault() == '1' && resolve(AT_FDCWD, name, path)) return refuse(ENOSPC);
    int done = REAL(mkdir)(name, mode);
    if (!done && resolve(AT_FDCWD, name, path)) record(MKDIR, path, NULL, 0, NULL, 0);
    return done;
}

/* The environment of a process that is started: what it is given, and what records it. */
int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
                 const posix_spawnattr_t *attributes, char *const arguments[],
                 char *const environment[]) {
    static const char *const names[] = {"LD_PRELOAD", "STRAIT_DISK_ROOT", "STRAIT_DISK_LOG",
                                        "STRAIT_DISK_FAULT"};
    enum { NAMES = sizeof names / sizeof *names };
    size_t given = 0, count = 0;
    while (environment && environment[given]) given++;
    char *passed[given + NAMES + 1], made[NAMES][PATH_MAX + 32];
    for (size_t name = 0; name < NAMES; name++) {
        const char *value = getenv(names[name]);
        if (!value) continue;
        snprintf(made[name], sizeof made[name], "%s=%.4000s", names[name], value);
        passed[count++] = made[name];
    }
    for (size_t at = 0; at < given; at++) passed[count++] = environment[at];
    passed[count] = NULL;
    return REAL(posix_spawnp)(pid, file, actions, attributes, arguments, passed);
}
