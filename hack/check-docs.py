#!/usr/bin/env python3
"""Checks that what the Markdown files name is there: links and their anchors, paths, make targets, commands, options."""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Options of other programs that the documents use.
FOREIGN = set("""help version install create-namespace namespace wait set timeout for apply from-file unix-socket test package
 copy-to profile target no-default-features locked release lib config name""".split())
SPAN = re.compile(r"`+([^`\n]+)`+")


def documents():
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
                            cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / line for line in listed.stdout.splitlines()]


def read(path):
    return (ROOT / path).read_text()


def kebab(name):
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).replace("_", "-").lower()


def options():
    """Every --option of our programs, from their args.rs."""
    found = set()
    for program in "sidecar", "operator", "cli":
        for arguments, field in re.findall(r"#\[arg\((.*?)\)\]\s*(?:pub(?:\(crate\))? )?(\w+):",
                                           read(f"{program}/src/args.rs"), re.S):
            named = re.search(r'long = "([^"]+)"', arguments)
            if named or "long" in arguments:
                found.add(named.group(1) if named else kebab(field))
    return found


def commands(program):
    """The subcommands of a program."""
    found = set()
    for body in re.findall(r"enum (?:Audit)?Command \{(.*?)\n\}", read(f"{program}/src/args.rs"), re.S):
        found |= {kebab(name) for name in re.findall(r"^    ([A-Z]\w*)", body, re.M)}
    return found


def slugs(text):
    """The anchors that a code host makes of headings."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def code(text):
    blocks = re.findall(r"^```.*?\n(.*?)^```", text, re.S | re.M)
    return blocks + SPAN.findall(re.sub(r"^```.*?^```", "", text, flags=re.S | re.M))


def main():
    bad = []
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", read("Makefile"), re.M))
    ours, top = options(), {path.name for path in ROOT.iterdir()}
    run = {"chaperone-sidecar": commands("sidecar"), "kubectl[ -]chaperone": commands("cli")}
    for path in documents():
        text, name = path.read_text(), path.relative_to(ROOT)
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:", link):
                continue
            file, _, anchor = link.partition("#")
            target = (path.parent / file).resolve() if file else path
            if not target.exists():
                bad.append(f"{name}: the link {link} leads nowhere")
            elif anchor and anchor not in slugs(target.read_text()):
                bad.append(f"{name}: the link {link} names no heading")
        for part in code(text):
            bad += [f"{name}: there is no `make {word}`" for word in re.findall(r"\bmake ([a-z][a-z0-9-]*)", part) if word not in targets]
            bad += [f"{name}: no program has --{word}" for word in re.findall(r"(?<![\w-])--([a-z][a-z0-9-]*)", part)
                    if word not in ours | FOREIGN]
            for program, known in run.items():
                bad += [f"{name}: there is no `{words}`" for words, word in re.findall(rf"({program} ([a-z][a-z-]*))", part)
                        if word not in known]
            if re.fullmatch(r"[\w.-]+(/[\w.-]+)+/?", part) and part.split("/")[0] in top and not (ROOT / part).exists() \
                    and not part.startswith("target/"):
                bad.append(f"{name}: there is no {part}")
    print(*bad, sep="\n", end="\n" if bad else "")
    return bool(bad)


sys.exit(main())
