"""Every error a caller can meet, in one tree.

```
TrireidError(ValueError)    what was given cannot be used; the message is one line: what, where, what to do
├── PictureError            a picture cannot be read, or is not one we take
├── SourceError             a SOURCE, a manifest or a row of it
├── ConfigError             a configuration that no network of the family fits
├── CheckpointError         a checkpoint's keys, shapes or values
├── ArtifactError           an exported network or its card
│   └── VerificationError   a network is not the same as the one it was held against
├── GalleryError            a gallery, or an item of it
├── DeadlineError           the caller's deadline passed before its images were decoded
└── ServiceError            a server, as a client of it sees it: it refused, failed, or could not be reached
```

Each carries `field`: the field, file, row or key at fault, where there is one. Anything else that
escapes is a bug of ours.
"""


class TrireidError(ValueError):
    """What was given cannot be used.

    `field` names the part at fault as the caller knows it: a form field, a file, a row, a key; None
    where no part stands out. `code` tells kinds of fault apart for programs.
    """

    def __init__(self, message: str, field: str | None = None, code: str = "bad_request") -> None:
        super().__init__(message)
        self.message, self.field, self.code = message, field, code


class PictureError(TrireidError):
    """A picture cannot be read, or is not one we take.

    `code`: `corrupt`, `format`, `too_small`, `too_large`, `missing`, or `no_direction` where a
    network can say nothing of it.
    """

    def __init__(self, message: str, field: str | None = None, code: str = "corrupt") -> None:
        super().__init__(message, field, code)


class SourceError(TrireidError):
    """A SOURCE, a manifest or a row of it cannot be used."""


class ConfigError(TrireidError):
    """A configuration that no network of the family fits."""


class CheckpointError(TrireidError):
    """A checkpoint's keys, shapes or values do not fit the network that its configuration
    describes.
    """


class ArtifactError(TrireidError):
    """An exported network cannot be read, is damaged, or does not fit its card."""


class VerificationError(ArtifactError):
    """A network has shown that it is not the same as the one it was held against."""


class GalleryError(TrireidError):
    """A gallery, or an item of it, cannot be read or changed as asked."""


class DeadlineError(TrireidError):
    """The caller's deadline has passed. `code`: `deadline`; worth another try."""

    def __init__(self, why: str) -> None:
        super().__init__(f"{why}, and this request's time is over; try again", None, "deadline")


class ServiceError(TrireidError):
    """A server did not do what it was asked: it refused, failed, or could not be reached.

    `status`: of HTTP, None where there was no answer; `code`: as the server told it, `connection`
    where there was no answer; `request_id`: by which the server's log and audit know the request.
    """

    def __init__(
        self,
        message: str,
        field: str | None = None,
        code: str = "error",
        *,
        status: int | None,
        request_id: str,
    ) -> None:
        super().__init__(message, field, code)
        self.status, self.request_id = status, request_id

    @property
    def temporary(self) -> bool:
        """Whether it may go better later: there was no answer, or the server was busy or ill."""
        return self.status is None or self.status == 429 or self.status >= 500
