/*
 * replay.c: runs the stored programs of engine.c, for which any compiler will do: they are a regression test.
 *
 *   replay FOLDER [name]
 *
 * A program's file has the two digests of its results as its name, with and without fused multiply-adds, so that every
 * machine compares itself with the one on which it was written. With "name", the files get their names.
 */
#define _DEFAULT_SOURCE /* dirent.h */
#include "engine.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

enum { LONGEST = 4096 };

static long passed, failed;

/* Whether the file has a program of as many digests as this CPU can compute. */
static void replay(const char *folder, const char *name, int rename_it)
{
    char path[LONGEST], right[LONGEST], digest[64];
    static uint8_t bytes[1 << 16];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    const size_t n = file == NULL ? 0 : fread(bytes, 1, sizeof bytes, file);
    if (file == NULL || !feof(file)) {
        printf("FAILED %s cannot be read\n", path);
        failed++;
        return;
    }
    fclose(file);
    const digests found = run_program(bytes, n);
    snprintf(digest, sizeof digest, "%016llx-%016llx", (unsigned long long)found.fused,
             (unsigned long long)found.scalar);
    snprintf(right, sizeof right, "%s/%s", folder, digest);
    const size_t known = found.fused == 0 ? strlen("0123456789abcdef") : 0;
    if (rename_it ? rename(path, right) == 0 : strcmp(name + known, digest + known) == 0) {
        passed++;
        return;
    }
    printf("FAILED %s computes %s\n", path, digest);
    failed++;
}

int main(int n_arguments, char **arguments)
{
    DIR *folder = n_arguments < 2 ? NULL : opendir(arguments[1]);
    if (folder == NULL) {
        printf("no folder of programs\n");
        return 1;
    }
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;)
        if (entry->d_name[0] != '.')
            replay(arguments[1], entry->d_name, n_arguments > 2);
    closedir(folder);
    printf("%ld passed, %ld failed\n", passed, failed);
    return failed > 0 || passed == 0;
}
