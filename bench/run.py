#!/usr/bin/env python3
"""Takes the figures and shows them: run.py BUILD_DIR [--quick] [FIGURE...]

Figures that miss their goal are shown as such and are no failure; programs that fail are.
Everything is also written to BUILD_DIR/bench/results.json.
"""
import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path

import figures_calls
import figures_echo
import figures_loops
import figures_proxy
import figures_servers
import figures_tasks
import figures_tls
import measure
from figure import Bench, Row

FIGURES = {figure.__name__: figure for figure in (
    *figures_calls.FIGURES, *figures_echo.FIGURES, *figures_tasks.FIGURES, *figures_tls.FIGURES,
    *figures_loops.FIGURES, *figures_proxy.FIGURES, *figures_servers.FIGURES)}


def first_line(path):
    try:
        return Path(path).read_text().splitlines()[0].strip()
    except (OSError, IndexError):
        return "unknown"


def processor():
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.machine()


def machine():
    return {
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "libc": " ".join(platform.libc_ver()),
        "congestion control": first_line("/proc/sys/net/ipv4/tcp_congestion_control"),
        "load at the start": "%.2f" % os.getloadavg()[0],
    }


def show(row):
    left = f"{row.what:<60}"
    right = f"{row.goal:<28} {row.verdict}".rstrip()
    gap = " " if len(row.measured) < 40 or right else ""
    print(f"  {left} {row.measured:<40}{gap}{right}".rstrip(), flush=True)


def take(name, bench):
    """Shows the rows of a figure as they come; returns them and whether its programs worked."""
    figure = FIGURES[name]
    rows, start = [], time.monotonic()
    print(f"\n{name}: {figure.__doc__}", flush=True)
    try:
        for row in figure(bench):
            show(row)
            rows.append(row)
    except measure.Skipped as why:
        show(Row("the rest", f"skipped: {why}"))
    except (measure.Failed, OSError) as why:
        print(f"  FAILED: {why}", flush=True)
        return rows, False
    print(f"  ({time.monotonic() - start:.0f} s)", flush=True)
    return rows, True


def main():
    parser = argparse.ArgumentParser(prog="dev bench")
    parser.add_argument("build", metavar="BUILD_DIR")
    parser.add_argument("--quick", action="store_true", help="fewer rounds: two minutes at most")
    parser.add_argument("figure", nargs="*", metavar="FIGURE", help=", ".join(FIGURES))
    options = parser.parse_intermixed_args()
    for name in options.figure:
        if name not in FIGURES:
            parser.error(f"there is no figure {name}: {', '.join(FIGURES)}")
    bench = Bench(options.build, options.quick)
    if not bench.program("calls").exists():
        parser.error(f"{bench.directory} has no programs: build them first (./dev build)")

    here = machine()
    print("\n".join(f"{key}: {value}" for key, value in here.items()))
    print("ratios: the median over paired rounds [10th–90th percentile]")
    result, failed = {"machine": here, "quick": options.quick, "figures": {}}, []
    for name in options.figure or FIGURES:
        rows, good = take(name, bench)
        if not good:
            failed.append(name)
        result["figures"][name] = [vars(row) for row in rows]
    (bench.directory / "results.json").write_text(
        json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    missed = [row["what"] for rows in result["figures"].values() for row in rows
              if row["verdict"] == "missed"]
    print(f"\n{len(missed)} goals missed" + "".join(f"\n  {what}" for what in missed))
    if failed:
        sys.exit(f"bench: failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
