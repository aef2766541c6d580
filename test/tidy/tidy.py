#!/usr/bin/env python3
"""The project's own rules: tidy.py [LIBRARY]

Prints `file:line: what is wrong: what to do` for each place that breaks one, and fails if there
is any. With the path of libweir.so it also compares what the library shows with what the public
headers promise.
"""
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SELF = "test/tidy/tidy.py"

MAX_FUNCTION_LINES = 70
MAX_FILE_LINES = 700
MAX_EXAMPLE_LINES = 65
MAX_COLUMNS = 100

# What src/sys.h wraps. Not free(), close on a memory stream and the like: those cannot fail in a
# way that a caller could see.
DOOR = set("""
    _exit accept accept4 bind calloc clock_gettime close connect dup dup2 dup3 epoll_create1
    epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd fcntl fopen fork fread fstat
    getaddrinfo getenv getpeername getsockname getsockopt gettimeofday inotify_add_watch
    inotify_init1 ioctl listen lseek lstat madvise malloc mmap mprotect munmap nanosleep open
    openat pipe pipe2 poll ppoll pread pthread_create pwrite read readv realloc reallocarray
    recv recvfrom recvmmsg recvmsg sched_yield secure_getenv select send sendfile sendmmsg
    sendmsg sendto setsockopt shutdown signalfd sleep socket socketpair splice stat strdup
    strndup syscall time timerfd_create timerfd_settime unlink usleep write writev
""".split())
DOORS = {"src/sys.h", "src/sys.c"}

# Who alone may include what.
SOLE_INCLUDERS = {
    r"ares(_\w+)?\.h": {"src/resolve/ares.c"},
    r"openssl/.*": {"src/tls/private.h"},
    r"liburing(/.*)?\.h": {"src/loop/io_uring.c"},
    r"(uv|event|event2/.*)\.h": set(),
}
ALSO_ALLOWED = {"examples/foreign_loop.c": {"uv.h"}}

# In pieces, so that this file does not break the rule it states.
FOREIGN = re.compile("|".join([
    r"(?<![\w.])/" + r"(work|farm|root)/", r"deb\." + r"debian\.org", r"archive\." + r"ubuntu\.com",
    r"registry\." + r"npmjs", r"py" + r"pi\.org", r"proxy\.golang" + r"\.org",
]))
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX)\b")

problems = []


def report(path, line, wrong, remedy):
    problems.append(f"{path}:{line}: {wrong}: {remedy}")


def project_files():
    """What git tracks or would, or, where there is no git, everything but what was built."""
    try:
        listing = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, capture_output=True, check=True).stdout.decode()
        names = listing.split("\0")
    except (OSError, subprocess.CalledProcessError):
        names = [str(p.relative_to(ROOT)) for p in ROOT.rglob("*")]
        names = [n for n in names if not re.match(r"(\.git|build|build-[^/]*|\.cache)/", n)]
    return sorted({n for n in names if n and (ROOT / n).is_file()})


def read_text(name):
    data = (ROOT / name).read_bytes()
    try:
        return None if b"\0" in data else data.decode("utf-8")
    except UnicodeDecodeError:
        return None


def code_only(text):
    """C with comments and literals blanked out; lines and columns stay."""
    pattern = r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''
    return re.sub(pattern, lambda m: re.sub(r"[^\n]", " ", m[0]), text, flags=re.S)


def calls(code, names):
    """(line, name) of each direct call; members, methods and longer names are not meant."""
    for number, line in enumerate(code.split("\n"), 1):
        for match in re.finditer(r"(?<![\w.>])(\w+)\s*\(", line):
            if match[1] in names:
                yield number, match[1]


def includes(text):
    for number, line in enumerate(text.split("\n"), 1):
        match = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
        if match:
            yield number, match[1] == "<", match[2]


def check_text(name, text):
    lines = text.split("\n")
    source = re.search(r"\.(c|h|cc|py|sh|cmake|map|in)$|(^|/)(dev|run|CMakeLists\.txt)$", name)
    if text and not text.endswith("\n"):
        report(name, len(lines), "no newline at the end", "add one")
    for number, line in enumerate(lines, 1):
        if line != line.rstrip():
            report(name, number, "trailing whitespace", "remove it")
        if "\t" in line and not name.endswith(".go"):
            report(name, number, "a tab", "indent with spaces")
        if source and len(line) > MAX_COLUMNS:
            report(name, number, f"{len(line)} columns", f"keep to {MAX_COLUMNS}")
        if name != SELF and FOREIGN.search(line):
            report(name, number, "a path or host of one machine", "leave it out")
        if name != SELF and UNFINISHED.search(line):
            report(name, number, "unfinished", "finish it, or leave the note out")
    if source and len(lines) - 1 > MAX_FILE_LINES:
        report(name, len(lines) - 1, f"{len(lines) - 1} lines", "split the file by role")


def check_functions(name, code):
    start = None
    for number, line in enumerate(code.split("\n"), 1):
        if line.rstrip() == "{":
            start = number
        elif line.rstrip() == "}" and start:
            if number - start + 1 > MAX_FUNCTION_LINES:
                report(name, start, f"a function of {number - start + 1} lines",
                       f"split it by purpose ({MAX_FUNCTION_LINES} at most)")
            start = None


def check_includes(name, text):
    for number, system, header in includes(text):
        if header in ALSO_ALLOWED.get(name, ()):
            continue
        for pattern, allowed in SOLE_INCLUDERS.items():
            if not re.fullmatch(pattern, header) or name in allowed:
                continue
            if name.startswith(("src/", "include/", "cli/", "examples/")):
                report(name, number, f"includes {header}",
                       "that is for " + (" ".join(allowed) or "bench/ and test/") + " alone")
        if name.startswith(("cli/", "examples/")):
            beside = (ROOT / name).parent / header
            own = not system and ".." not in header and beside.is_file()
            inside = (ROOT / "src" / header).is_file() or header.startswith(("weir/", ".."))
            if header != "weir.h" and not own and (inside or not system):
                report(name, number, f"includes {header}", "weir.h and system headers only")


def check_c(name, text):
    code = code_only(text)
    check_functions(name, code)
    check_includes(name, text)
    if name.startswith("src/") and name not in DOORS:
        for number, function in calls(code, DOOR):
            report(name, number, f"calls {function}() directly", "go through src/sys.h")
    for number, _ in calls(code, {"system"}):
        report(name, number, "calls system()", "use posix_spawn() or a script")
    if name.startswith("test/"):
        for number, function in calls(code, {"sleep", "usleep", "nanosleep", "clock_nanosleep"}):
            report(name, number, f"calls {function}()", "wait for what is meant to happen")
    if name.startswith("examples/") and text.count("\n") > MAX_EXAMPLE_LINES:
        report(name, text.count("\n"), "a long example", f"{MAX_EXAMPLE_LINES} lines at most")


def check_public_header(name, text):
    """Each declaration, or run of declarations without an empty line, has a comment above it.
    Returns the names that the header exports."""
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        if not line.startswith("WEIR_API"):
            continue
        above = number - 2
        while above >= 0 and lines[above].strip() and not lines[above].rstrip().endswith("*/"):
            above -= 1
        if above < 0 or not lines[above].strip():
            report(name, number, "a public call without a comment", "document it right above")
    code = re.sub(r"^\s*#.*?(?<!\\)$", "", code_only(text), flags=re.M | re.S)
    return set(re.findall(r"\bWEIR_API\b[^;{(]*?\b(weir_\w+)\s*(?:\(|;|\[)", code))


def check_exports(library, promised):
    listing = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True,
                             check=True, text=True).stdout
    shown = {f[2].split("@")[0] for f in map(str.split, listing.splitlines()) if f[1] != "A"}
    for symbol in sorted(promised - shown):
        report("include/weir", 0, f"{symbol} is not exported by {library}", "define it in src/")
    for symbol in sorted(shown - promised):
        report(library, 0, f"exports {symbol}", "declare it WEIR_API in include/weir/, or hide it")


def check_shell(name, text):
    first = text.split("\n", 1)[0]
    if not (name.endswith(".sh") or re.match(r"#!.*\b(ba)?sh\b", first)):
        return
    shell = "bash" if "bash" in first or not first.startswith("#!") else "sh"
    result = subprocess.run([shell, "-n", str(ROOT / name)], capture_output=True, text=True)
    if result.returncode:
        report(name, 1, "shell syntax", result.stderr.strip().replace("\n", "; "))


def check_samples(name, text):
    """The C programs in the documents compile as they stand."""
    for match in re.finditer(r"^```c\n(.*?)^```", text, flags=re.M | re.S):
        if not re.search(r"\bmain\s*\(", match[1]):
            continue
        with tempfile.NamedTemporaryFile("w", suffix=".c") as sample:
            sample.write(match[1])
            sample.flush()
            command = ["cc", "-std=gnu17", "-Wall", "-Werror", "-fsyntax-only",
                       f"-I{ROOT}/include", sample.name]
            result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            reason = re.search(r"error: (.*)", result.stderr)
            report(name, text.count("\n", 0, match.start()) + 1, "the sample does not compile",
                   reason[1] if reason else result.stderr)


def main():
    promised = set()
    for name in project_files():
        text = None if name.startswith("fuzz/corpus/") else read_text(name)
        if text is None:
            continue
        check_text(name, text)
        check_shell(name, text)
        if re.search(r"\.[ch]$", name):
            check_c(name, text)
        if re.match(r"include/.*\.h$", name):
            promised |= check_public_header(name, text)
        if name.endswith(".md"):
            check_samples(name, text)
    if len(sys.argv) > 1:
        check_exports(sys.argv[1], promised)
    print("\n".join(problems) or "tidy: nothing to say")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
