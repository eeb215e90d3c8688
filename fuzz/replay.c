/* SPDX-License-Identifier: MIT */
/* fuzz/replay.c: runs a fuzz target over every file of the folders given, without libFuzzer. A
 * folder that is not there is skipped; a file named by itself is run, so that a finding can be
 * replayed. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { FILE_MAX = 1 << 20, PATH_ROOM = 4096, DEPTH_MAX = 8 };

static unsigned long files;

static int run_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        return 1;
    }
    uint8_t *octets = malloc(FILE_MAX);
    size_t n = octets ? fread(octets, 1, FILE_MAX, f) : 0;
    (void)fclose(f);
    /* exactly as long as the input, so that a sanitizer sees a read beyond it */
    uint8_t *data = malloc(n ? n : 1);
    if (!octets || !data) {
        (void)fprintf(stderr, "%s: out of memory\n", path);
        free(octets);
        free(data);
        return 1;
    }
    for (size_t i = 0; i < n; i++)
        data[i] = octets[i];
    free(octets);
    (void)LLVMFuzzerTestOneInput(data, n);
    free(data);
    files++;
    return 0;
}

static int run(const char *path, int depth)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return 0;
    if (!S_ISDIR(st.st_mode))
        return run_file(path);
    DIR *d = depth < DEPTH_MAX ? opendir(path) : NULL;
    if (!d)
        return 1;
    int failed = 0;
    for (const struct dirent *e; (e = readdir(d));) {
        char sub[PATH_ROOM];
        if (e->d_name[0] == '.')
            continue;
        int n = snprintf(sub, sizeof(sub), "%s/%s", path, e->d_name);
        failed |= n < 0 || (size_t)n >= sizeof(sub) ? 1 : run(sub, depth + 1);
    }
    (void)closedir(d);
    return failed;
}

int main(int argc, char **argv)
{
    int failed = 0;
    for (int i = 1; i < argc; i++)
        failed |= run(argv[i], 0);
    (void)printf("%lu files\n", files);
    return failed;
}
