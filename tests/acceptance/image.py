#!/usr/bin/env python3
"""Writes an OCI image directory as text, to be compared with another.

image.py layer OCI BEGAN    what the topmost layer changes
image.py tree OCI BEGAN     all layers put together

Each name with its type, mode, owner, size, time, link target, extended
attributes, content and other names. A time after BEGAN (seconds) is "now".

How an engine finds what has changed depends on the storage: what lies in the
upper directory, or a comparison of two trees. The second does not see that a
directory has another time only, and removes a directory's entries one by one
where the first says that it is another directory now. So times of directories
are not told, what a layer stores unchanged is left out, and of whiteouts only
the effect is told: a line "- NAME".
"""

import hashlib
import json
import sys
import tarfile
from collections import defaultdict

# Logs and caches: they hold times, and sizes that come with those.
VARYING = ("var/log/", "var/cache/ldconfig/", "var/lib/dpkg/status-old")


def layers(oci):
    def blob(digest):
        return f"{oci}/blobs/" + digest.replace(":", "/")

    with open(f"{oci}/index.json") as file:
        index = json.load(file)
    with open(blob(index["manifests"][0]["digest"])) as file:
        manifest = json.load(file)
    return [blob(layer["digest"]) for layer in manifest["layers"]]


def read(path, began):
    """Names of one layer: what is told of each, and which are one object."""
    names, group = {}, {}
    with tarfile.open(path) as tar:
        for member in tar:
            name = member.name.removeprefix("./").rstrip("/")
            if member.islnk():
                first = member.linkname.removeprefix("./")
                names[name], group[name] = names[first], group[first]
                continue
            varies = name.startswith(VARYING)
            content = ""
            if member.isreg() and not varies:
                digest = hashlib.sha256(tar.extractfile(member).read()).hexdigest()
                content = f"{member.size} {digest}"
            time = member.mtime if member.mtime < began else "now"
            if member.isdir():
                time = "-"
            xattrs = sorted(
                (key.removeprefix("SCHILY.xattr."), value)
                for key, value in member.pax_headers.items()
                if key.startswith("SCHILY.xattr.")
            )
            device = f"{member.devmajor}:{member.devminor}" if member.isdev() else ""
            kind = "file" if member.isreg() else member.type.decode()
            names[name] = (
                f"{kind} {member.mode:o} {member.uid}:{member.gid} {time} "
                f"{member.linkname} {device} {xattrs} {content}"
            )
            group[name] = (path, name)
    return names, group


def show(names, group):
    together = defaultdict(list)
    for name in names:
        together[group[name]].append(name)
    for name in sorted(names):
        others = sorted(other for other in together[group[name]] if other != name)
        print(repr(name), names[name], f"= {others}" if others else "")


def is_whiteout(name):
    return name.rpartition("/")[2].startswith(".wh.")


def merge(stack):
    """As unpacking does: whiteouts hide what lies below their layer."""
    names, group = {}, {}

    def remove(top):
        for name in [n for n in names if n == top or n.startswith(top + "/")]:
            del names[name], group[name]

    for above, above_group in stack:
        for name in above:
            parent, _, last = name.rpartition("/")
            inside = parent + "/" if parent else ""
            if last == ".wh..wh..opq":
                for hidden in [n for n in names if n.startswith(inside)]:
                    del names[hidden], group[hidden]
            elif last.startswith(".wh."):
                remove(inside + last.removeprefix(".wh."))
        for name, told in above.items():
            if is_whiteout(name):
                continue
            if not told.startswith("5 ") and name in names:
                remove(name)
            names[name], group[name] = told, above_group[name]
    return names, group


def main():
    what, oci, began = sys.argv[1], sys.argv[2], int(sys.argv[3])
    stack = [read(path, began) for path in layers(oci)]
    if what == "tree":
        show(*merge(stack))
        return
    below, _ = merge(stack[:-1])
    after, _ = merge(stack)
    names, group = stack[-1]
    for name, told in list(names.items()):
        if is_whiteout(name) or below.get(name) == told:
            del names[name]
    show(names, group)
    for name in sorted(below.keys() - after.keys()):
        print("-", repr(name))


main()
