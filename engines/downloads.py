"""Downloads the engines with Maven, Go and uv, and caches them."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable

from textrecords import terminal
from textrecords.errors import Failure

CACHE = pathlib.Path(
    os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache", "textrecords-engines"
)
# The single jars of Beam's job servers, which Beam would download, aren't available for any
# version; their classes are, up to this one.
BEAM = "2.62.0"
FLINK = "1.19.3"
SPARK = "3.5.9"
PRISM = "2.77.0"
UV = pathlib.Path(sys.executable).with_name("uv")
POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>textrecords</groupId>
  <artifactId>engine</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.beam</groupId>
      <artifactId>{name}</artifactId>
      <version>{version}</version>
    </dependency>
  </dependencies>
</project>
"""


class Unavailable(Failure):
    """Something that an engine needs isn't available; the message is one line."""


def job_server(name: str, main_class: str, others: Iterable[pathlib.Path] = ()) -> pathlib.Path:
    """Returns a jar that starts one of Beam's job servers.

    Args:
      name: of its library; the library's dependencies are put in the same folder.
      main_class: the class to start.
      others: more jars that it needs, which aren't among the library's dependencies.
    """

    def make(folder: pathlib.Path) -> None:
        (folder / "pom.xml").write_text(POM.format(name=name, version=BEAM))
        _run("mvn", "-B", "-q", "-f", folder / "pom.xml", "dependency:copy-dependencies",
             "-DincludeScope=runtime", f"-DoutputDirectory={folder}")  # fmt: skip
        jars = [path.name for path in sorted(folder.glob("*.jar"))]
        jars += [path.as_uri() for path in sorted(others)]
        with zipfile.ZipFile(folder / "job-server.jar", "w") as jar:
            jar.writestr("META-INF/MANIFEST.MF", _manifest(main_class, jars))

    return _kept(f"{name}-{BEAM}", make) / "job-server.jar"


def package(name: str, version: str) -> pathlib.Path:
    """Returns the folder of a package from PyPI, without its dependencies."""

    def make(folder: pathlib.Path) -> None:
        _run(UV, "pip", "install", "--quiet", "--no-deps", "--target", folder, f"{name}=={version}")

    return _kept(f"{name}-{version}", make)


def prism() -> pathlib.Path:
    """Returns the path of the Prism program."""

    def make(folder: pathlib.Path) -> None:
        path = f"github.com/apache/beam/sdks/v2/go/cmd/prism@v{PRISM}"
        _run("go", "install", path, env={**os.environ, "GOBIN": str(folder)})

    return _kept(f"prism-{PRISM}", make) / "prism"


def _kept(name: str, make: Callable[[pathlib.Path], None]) -> pathlib.Path:
    """Returns the folder with this name in the cache; makes it if it doesn't exist."""
    folder = CACHE / name
    if not folder.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        terminal.say(f"downloading {name}, only once")
        with tempfile.TemporaryDirectory(dir=CACHE, prefix=f".{name}-") as parent:
            new = pathlib.Path(parent, name)
            new.mkdir()
            make(new)
            try:
                new.rename(folder)
            except OSError:
                if not folder.exists():  # otherwise another process has made it meanwhile
                    raise
    return folder


def _manifest(main_class: str, jars: list[str]) -> str:
    """Returns a jar's manifest: lines have at most 72 bytes, and are continued after a space."""
    lines = ["Manifest-Version: 1.0", f"Main-Class: {main_class}", f"Class-Path: {' '.join(jars)}"]
    folded = [line[:70] + "".join(f"\n {line[at : at + 69]}" for at in range(70, len(line), 69))
              for line in lines]  # fmt: skip
    return "\n".join(folded) + "\n"


def _run(*command: object, env: dict[str, str] | None = None) -> None:
    words = [str(word) for word in command]
    if shutil.which(words[0]) is None:
        raise Unavailable(f"{words[0]} isn't installed: install it")
    done = subprocess.run(words, env=env, capture_output=True, text=True)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise Unavailable(f"`{' '.join(words)}` failed: {lines[-1] if lines else done.returncode}")
