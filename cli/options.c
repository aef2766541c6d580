#include "cli.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define SECONDS_MAX 1e9

int next_option(int argc, char **argv, const char *letters, const struct option *list,
                const char *help, int *ret_status)
{
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): there is one thread */
    int option = getopt_long(argc, argv, letters, list, NULL);

    if (option == 'h') {
        fputs(help, stdout);
        *ret_status = EXIT_SUCCESS;
        return 0;
    }
    if (option == '?') { /* getopt_long has said what is wrong */
        fprintf(stderr, "see `%s --help`\n", argv[0]);
        *ret_status = EXIT_WRONG_USE;
        return 0;
    }
    return option;
}

bool parse_count(const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
    char *end = NULL;
    unsigned long long value;

    if (!isdigit((unsigned char)text[0]))
        return false;
    errno = 0;
    value = strtoull(text, &end, 10);
    if (errno != 0 || *end != '\0' || value < min || value > max)
        return false;
    *ret = value;
    return true;
}

bool parse_seconds(const char *text, int64_t *ret_ms)
{
    char *end = NULL;
    double value;

    if (!isdigit((unsigned char)text[0]) && text[0] != '.')
        return false;
    value = strtod(text, &end);
    if (*end != '\0' || !isfinite(value) || value < 0.001 || value > SECONDS_MAX)
        return false;
    *ret_ms = (int64_t)(value * 1000);
    return true;
}
