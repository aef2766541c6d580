#!/usr/bin/env bash
# The advice of `weir compare` follows from the figures: both directions, neither, and a mixed case.
set -euo pipefail
source "${WEIR_SOURCE:?}/test/support/cli.bash"

cat >"$dir/advice.c" <<'END'
#include "compare.h"

#include <stdio.h>
#include <stdlib.h>

const struct model models[MODELS] = {{"blocking", "", "", NULL}, {"nonblocking", "", "", NULL}};

const char *weir_version(void)
{
    return "test";
}

/* advice REQUESTS CPU NOISE: those of the non-blocking model, the blocking one's are 100 and 10.
 * NOISE percent are added in every other round and taken away in the others. */
int main(int argc, char **argv)
{
    static const struct load load = {.target = "t", .connections = 1, .size = 1, .round_ms = 1};
    static struct report report;
    double requests = atof(argv[1]), cpu = atof(argv[2]), noise = atof(argv[3]) / 100;

    report.load = load;
    for (int i = 0; i < COMPARE_ROUNDS; i++) {
        double factor = i % 2 ? 1 + noise : 1 - noise;
        report.samples[0][i] = (struct sample){100, 10, 1, 1, 1};
        report.samples[1][i] = (struct sample){requests * factor, cpu / factor, 1, 1, 1};
    }
    report_table(&report);
    return argc != 4;
}
END
cc -std=gnu17 -I"$WEIR_SOURCE/cli" -I"$WEIR_SOURCE/include" "$dir/advice.c" \
    "$WEIR_SOURCE/cli/compare_report.c" -o "$dir/advice"

advises() {
    expect 0 "$dir/advice" "$1" "$2" "$3"
    says "${out##*Advice: }" "$4"
}

advises 150 5 0 "choose non-blocking for this load: it takes 0.50 times the CPU per request and"
advises 100 5 0 "it takes 0.50 times the CPU per request, for as many"
advises 150 10 0 "choose non-blocking for this load: it answers 1.50 times as many"
advises 50 20 0 "choose blocking for this load, and have the simpler program too: it takes 0.50"
advises 100 20 0 "choose blocking for this load"
advises 50 5 0 "it depends: non-blocking takes less CPU (0.50 times), but blocking answers more"
advises 200 20 0 "it depends: blocking takes less CPU (0.50 times), but non-blocking answers more"
advises 100 10 0 "too close to call"
advises 108 9.3 0 "too close to call"
# A larger difference that the rounds do not agree on is none; one that stands out of the noise is.
advises 115 8.7 30 "too close to call"
advises 200 5 30 "choose non-blocking"
