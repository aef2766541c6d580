/* Feeds a fuzz target with every file of the directories that are named: what the fuzzer once
 * found stays found, with any compiler. Exits with 77, "skipped", when there is no file at all. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Exactly as large as the input, so that a read beyond it is seen. */
static int replay_file(const char *path, size_t size)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = malloc(size ? size : 1);
    int ok = file && data && fread(data, 1, size, file) == size;

    if (ok)
        LLVMFuzzerTestOneInput(data, size);
    else
        perror(path);
    free(data);
    if (file)
        fclose(file);
    return ok ? 0 : -1;
}

static int replay_directory(const char *path, int *count)
{
    DIR *directory = opendir(path);
    struct dirent *entry;
    int rc = 0;

    while (directory && rc == 0 && (entry = readdir(directory))) {
        char name[4096];
        struct stat status;

        snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
        if (stat(name, &status) == 0 && S_ISREG(status.st_mode)) {
            rc = replay_file(name, (size_t)status.st_size);
            *count += 1;
        }
    }
    if (directory)
        closedir(directory);
    return rc;
}

int main(int argc, char **argv)
{
    int count = 0;

    for (int i = 1; i < argc; i++)
        if (replay_directory(argv[i], &count) < 0)
            return EXIT_FAILURE;
    if (count == 0) {
        puts("skipped: the corpus is empty");
        return 77;
    }
    printf("%d inputs\n", count);
    return EXIT_SUCCESS;
}
