# SPDX-License-Identifier: Apache-2.0
"""Writes what a release is made of, as SPDX 2.3 in JSON.

    python3 tools/release/sbom.py BINARY OBJECTS BUILD VERSIONS EPOCH > sbom.spdx.json

BINARY is the linked program, OBJECTS the linker's list of its objects, BUILD the scratch folder of
its build (Package.resolved's checkouts), VERSIONS tools/release/versions, EPOCH the seconds of
the commit.
"""

import hashlib
import json
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

# Static libraries by the Debian package that they are taken from, and what else lies in them.
DEBIAN = {
    "libopenblas-pthread-dev": (
        "OpenBLAS", "BSD-3-Clause",
        "libopenblas.a: kernels of all processors, one of which is chosen at run time, and LAPACK."),
    "zlib1g-dev": ("zlib", "Zlib", "libz.a"),
    "libstdc++-12-dev": ("libstdc++", "GPL-3.0-or-later WITH GCC-exception-3.1", "libstdc++.a"),
    "libgcc-12-dev": ("libgcc", "GPL-3.0-or-later WITH GCC-exception-3.1", "libgcc.a, libgcc_eh.a"),
}


def debian_version(package):
    said = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Version}", package], check=True, capture_output=True, text=True)
    return said.stdout


def package(name, version, licence, **more):
    identifier = "SPDXRef-" + "".join(c if c.isalnum() else "-" for c in name)
    return {
        "SPDXID": identifier, "name": name, "versionInfo": version, "licenseConcluded": licence,
        "licenseDeclared": licence, "copyrightText": "NOASSERTION",
        "downloadLocation": "NOASSERTION", "filesAnalyzed": False, **more,
    }


def purl(locator):
    return {"externalRefs": [{
        "referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": locator,
    }]}


def swift_packages(objects, checkouts, versions):
    """The packages of which an object was linked, with their versions."""
    modules = {Path(line).parent.name.removesuffix(".build") for line in objects.splitlines()}
    for checkout in sorted(checkouts.iterdir()):
        sources = {folder.name for folder in (checkout / "Sources").iterdir() if folder.is_dir()}
        if sources & modules:
            name = checkout.name
            version = versions[name]
            more = purl(f"pkg:swift/github.com/apple/{name}@{version}")
            if name == "swift-crypto":
                more["comment"] = "With copies of BoringSSL (Apache-2.0) and XKCP (CC0-1.0)."
            yield package(name, version, "Apache-2.0", **more)


def linked_packages(objects, checkouts, versions):
    """Those packages; stops where one is missing that the program cannot be without."""
    found = list(swift_packages(objects, checkouts, versions))
    missing = {"swift-argument-parser", "swift-crypto"} - {one["name"] for one in found}
    if missing:
        sys.exit(f"sbom.py: no object of {', '.join(sorted(missing))} among those that were linked")
    return found


def document(binary, objects, build, versions, epoch):
    digest = hashlib.sha256(binary.read_bytes()).hexdigest()
    version = subprocess.run([binary, "--version"], check=True, capture_output=True, text=True)
    version = version.stdout.strip()
    regate = package(
        "regate", version, "Apache-2.0", primaryPackagePurpose="APPLICATION",
        comment="The program, linked for Linux on x86-64. Of the system it needs glibc alone.",
        checksums=[{"algorithm": "SHA256", "checksumValue": digest}])
    parts = [
        package(
            "swift-runtime", versions["swift"],
            "Apache-2.0 WITH Swift-exception",
            comment="The toolchain that compiled the program, and its static libraries: standard "
            "library, Dispatch, Foundation with ICU (Unicode-3.0).",
            **purl(f"pkg:generic/swift@{versions['swift']}")),
        *linked_packages(objects.read_text(), build / "checkouts", versions),
    ]
    for name, (title, licence, comment) in DEBIAN.items():
        exact = debian_version(name)
        more = purl(f"pkg:deb/debian/{name}@{exact.replace('+', '%2B').replace(':', '%3A')}?arch=amd64")
        parts.append(package(title, exact, licence, comment=comment, **more))
    return {
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"regate-{version}-linux-x86_64",
        "documentNamespace": f"https://spdx.org/spdxdocs/regate-{version}-{digest}",
        "creationInfo": {
            "created": datetime.fromtimestamp(epoch, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "creators": ["Tool: tools/release.sh"],
        },
        "packages": [regate, *parts],
        "relationships": [
            {"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES",
             "relatedSpdxElement": regate["SPDXID"]},
            *({"spdxElementId": regate["SPDXID"], "relationshipType": "STATIC_LINK",
               "relatedSpdxElement": part["SPDXID"]} for part in parts),
        ],
    }


def main():
    binary, objects, build, exact, epoch = sys.argv[1:]
    lines = [line.split() for line in Path(exact).read_text().splitlines()]
    versions = {line[0]: line[1] for line in lines if line and not line[0].startswith("#")}
    sbom = document(Path(binary), Path(objects), Path(build), versions, int(epoch))
    json.dump(sbom, sys.stdout, indent=2)
    print()


main()
