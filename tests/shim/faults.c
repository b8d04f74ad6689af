/* Faults that only the C library can play, for a process that loads this before
 * it (LD_PRELOAD). Each is asked for by a file, so that it can begin and end while
 * the process runs:
 *
 *   BATON_FSYNC_FAILS=FILE  while FILE exists, fsync and fdatasync fail with EIO
 *   BATON_CLOCK_OFFSET=FILE the wall clock is off by the seconds that FILE holds;
 *                           the monotonic clock is not
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int fails(void) {
    const char *file = getenv("BATON_FSYNC_FAILS");
    int saved = errno, is_there = file && syscall(SYS_faccessat, AT_FDCWD, file, F_OK) == 0;
    errno = is_there ? EIO : saved;
    return is_there;
}

static time_t offset(void) {
    const char *file = getenv("BATON_CLOCK_OFFSET");
    char text[24] = "";
    int saved = errno, fd = file ? open(file, O_RDONLY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        if (read(fd, text, sizeof text - 1) < 0) text[0] = 0;
        close(fd);
    }
    errno = saved;
    return atol(text);
}

int fsync(int fd) { return fails() ? -1 : (int)syscall(SYS_fsync, fd); }

int fdatasync(int fd) { return fails() ? -1 : (int)syscall(SYS_fdatasync, fd); }

int clock_gettime(clockid_t clock, struct timespec *at) {
    int failed = (int)syscall(SYS_clock_gettime, clock, at);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) at->tv_sec += offset();
    return failed;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    (void)zone;
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at) {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
