/*
 * main() for the fuzz targets where libFuzzer is not linked in: replays every file of the
 * directories and files it is given, so that the seeds, and whatever a fuzzer once found, stay
 * a test under any compiler. Each input is also tried cut short at every length and with each
 * byte changed in three ways, bounded to the first BENT_MAX bytes.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define BENT_MAX 600
#define INPUT_MAX (4u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A copy of exactly @size bytes, so that a sanitizer sees one byte too far. */
static void run(const uint8_t *data, size_t size)
{
    uint8_t *exact = malloc(size != 0 ? size : 1);

    if (exact == NULL) {
        abort();
    }
    memcpy(exact, data, size);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
}

static void run_bent(uint8_t *data, size_t size)
{
    static const uint8_t masks[] = {0x01, 0x80, 0xff};

    run(data, size);
    for (size_t i = 0; i < size && i < BENT_MAX; i++) {
        run(data, i);
        for (size_t k = 0; k < sizeof(masks); k++) {
            data[i] ^= masks[k];
            run(data, size);
            data[i] ^= masks[k];
        }
    }
}

static int replay_file(const char *path)
{
    static uint8_t data[INPUT_MAX];
    FILE *f = fopen(path, "rb");
    size_t size = 0;

    if (f == NULL) {
        perror(path);
        return -1;
    }
    size = fread(data, 1, sizeof(data), f);
    fclose(f);
    run_bent(data, size);
    return 1;
}

/* How many files were replayed, or -1. */
static int replay(const char *path)
{
    struct stat st;
    DIR *dir = NULL;
    int files = 0;

    if (stat(path, &st) == 0 && !S_ISDIR(st.st_mode)) {
        return replay_file(path);
    }
    if ((dir = opendir(path)) == NULL) {
        perror(path);
        return -1;
    }
    for (struct dirent *e = readdir(dir); e != NULL && files >= 0; e = readdir(dir)) {
        char name[4096];

        if (e->d_name[0] == '.') {
            continue;
        }
        snprintf(name, sizeof(name), "%s/%s", path, e->d_name);
        files = replay_file(name) < 0 ? -1 : files + 1;
    }
    closedir(dir);
    return files;
}

int main(int argc, char **argv)
{
    int total = 0;

    for (int i = 1; i < argc; i++) {
        int n = replay(argv[i]);

        if (n < 0) {
            return 1;
        }
        total += n;
    }
    printf("%d inputs replayed\n", total);
    return total > 0 ? 0 : 1;
}
