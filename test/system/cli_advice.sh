#!/usr/bin/env bash
# The advice of `weir compare` follows from the figures: threads or tasks, neither, a mixed case,
# which loop, and whether a poller is worth a program of its own.
set -euo pipefail
source "${WEIR_SOURCE:?}/test/support/cli.bash"

cat >"$dir/advice.c" <<'END'
#include "compare.h"

#include <stdio.h>
#include <stdlib.h>

const char *weir_version(void)
{
    return "test";
}

/* advice NOISE [REQUESTS CPU]...: those of the poller, of tasks, and of tasks on another loop; the
 * threads have 100 and 10. NOISE percent are added in every other round and taken away in the
 * others. */
int main(int argc, char **argv)
{
    static const struct model models[] = {
        {.title = "", .explanation = "", .model = "threads"},
        {.title = "", .explanation = ""},
        {.title = "", .explanation = "", .model = "tasks", .loop = "one"},
        {.title = "", .explanation = "", .model = "tasks", .loop = "other"},
    };
    static struct report report;
    double noise = atof(argv[1]) / 100;

    report.load = (struct load){.target = "t", .connections = 1, .size = 1, .round_ms = 1};
    report.count = (size_t)argc / 2;
    for (size_t c = 0; c < report.count; c++) {
        report.columns[c].model = &models[c];
        for (int i = 0; i < COMPARE_ROUNDS; i++) {
            double factor = i % 2 ? 1 + noise : 1 - noise;
            double requests = c == 0 ? 100 : atof(argv[2 * c]) * factor;
            double cpu = c == 0 ? 10 : atof(argv[2 * c + 1]) / factor;
            report.columns[c].samples[i] = (struct sample){requests, cpu, 1, 1, 1};
        }
    }
    report_table(&report);
    return argc % 2;
}
END
cc -std=gnu17 -I"$WEIR_SOURCE/cli" -I"$WEIR_SOURCE/include" "$dir/advice.c" \
    "$WEIR_SOURCE/cli/compare_report.c" -o "$dir/advice"

# advises NOISE POLLER TASKS [OTHER] WANTED: each of the three is "REQUESTS CPU".
advises() {
    local wanted=${*: -1}
    expect 0 "$dir/advice" ${*:1:$#-1}
    says "${out##*Advice: }" "$wanted"
}

# Tasks against threads.
advises 0 "100 10" "150 5" "as tasks (WEIR_MODEL=tasks WEIR_LOOP=one): that takes 0.50 times the"
advises 0 "100 10" "150 5" "answers 1.50 times as many per second, compared with threads."
advises 0 "100 10" "100 5" "that takes 0.50 times the CPU per request, for as many"
advises 0 "100 10" "150 10" "WEIR_LOOP=one): that answers 1.50 times as many requests per second"
advises 0 "100 10" "50 20" "as threads (WEIR_MODEL=threads): that takes 0.50 times the CPU"
advises 0 "100 10" "100 20" "as threads (WEIR_MODEL=threads): that takes 0.50"
advises 0 "100 10" "50 5" "tasks take less CPU (0.50 times), but threads answer more requests"
advises 0 "100 10" "200 20" "threads take less CPU (0.50 times), but tasks answer more requests"
advises 0 "100 10" "100 10" "threads or tasks is too close to call"
advises 0 "100 10" "108 9.3" "threads or tasks is too close to call"
# A larger difference that the rounds do not agree on is none; one that stands out of the noise is.
advises 30 "100 10" "115 8.7" "threads or tasks is too close to call"
advises 30 "100 10" "200 5" "as tasks"

# Of several loops the one that is clearly better, else the first.
advises 0 "100 10" "150 5" "150 4" "WEIR_LOOP=other): that takes 0.40 times the CPU"
advises 0 "100 10" "150 5" "150 6" "WEIR_LOOP=one): that takes 0.50 times the CPU"
advises 0 "100 10" "150 5" "155 4.9" "WEIR_LOOP=one): that takes 0.50 times the CPU"

# A poller has to be better than what was advised, not than the other.
advises 0 "150 5" "150 5" "A poller gains nothing over that."
advises 0 "100 10" "50 20" "A poller gains nothing over that."
advises 0 "150 4" "150 5" "0.80 times the CPU per request, for as many requests per second"
advises 0 "150 5" "50 20" "1.50 times as many per second, compared with threads."
