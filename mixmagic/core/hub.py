"""Names of model files on Hugging Face: `hf/OWNER/REPO/FILE.gguf`, or `hf/OWNER/REPO@REVISION/…`.

May import `errors` alone; every other module may import it.
"""

from __future__ import annotations

import re
import urllib.parse
from typing import NamedTuple

_NAME = re.compile(
    r"hf/(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>refs/[^/@]+/[^/@]+|[^/@]+))?(?:/(?P<file>.*))?",
    re.ASCII | re.DOTALL,
)
_SPLIT = re.compile(r"-(\d{5})-of-(\d{5})(\.gguf)$", re.IGNORECASE)
MAIN = "main"


class HubFile(NamedTuple):
    """A file in a repository of Hugging Face.

    Attributes:
        repo: `OWNER/REPO`.
        file: Its path in the repository; empty if only the repository is named.
        revision: A branch, a tag or a commit.
    """

    repo: str
    file: str
    revision: str = MAIN

    @classmethod
    def parse(cls, name: str) -> HubFile | None:
        """Return the file that a name means; `None` if the name does not have this form.

        A slash in a revision is written `%2F`, as in Hugging Face's own paths.

        Example:
            >>> HubFile.parse("hf/Qwen/Qwen3-0.6B-GGUF@v1/Qwen3-0.6B-Q8_0.gguf").revision
            'v1'
        """
        match = _NAME.fullmatch(name)
        if match is None:
            return None
        file, revision = match["file"] or "", urllib.parse.unquote(match["revision"] or MAIN)
        steps = [*file.split("/"), *revision.split("/")] if file else revision.split("/")
        if any(step in ("", ".", "..") or "\\" in step or "\0" in step for step in steps):
            return None
        return cls(match["repo"], file, revision)

    @property
    def name(self) -> str:
        """The name, as `parse` reads it."""
        quoted = urllib.parse.quote(self.revision, safe="")
        revision = "" if self.revision == MAIN else f"@{quoted}"
        return f"hf/{self.repo}{revision}/{self.file}"

    @property
    def parts(self) -> list[str]:
        """The files to fetch: several if a large model is split, of which the first is named."""
        split = _SPLIT.search(self.file)
        if split is None:
            return [self.file]
        stem = self.file[: split.start()]
        return [f"{stem}-{n:05}-of-{split[2]}{split[3]}" for n in range(1, int(split[2]) + 1)]
