/* Shifts the clocks of the process that loads this library. The environment variable CLOCKS names a
   file with two numbers of seconds. The first is added to the wall clock, and the second to the
   clock that counts suspension. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int clock_gettime(clockid_t clock, struct timespec *time) {
    static int (*asked)(clockid_t, struct timespec *);
    if (!asked)
        asked = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int code = asked(clock, time);
    const char *path = getenv("CLOCKS");
    FILE *file = path && (clock == CLOCK_REALTIME || clock == CLOCK_BOOTTIME) ? fopen(path, "r") : NULL;
    if (file) {
        long wall = 0, boot = 0;
        if (fscanf(file, "%ld %ld", &wall, &boot) == 2)
            time->tv_sec += clock == CLOCK_REALTIME ? wall : boot;
        fclose(file);
    }
    return code;
}
