"""Every error a caller can meet, in one tree; the right column is its `code` for programs.

```
TrireidError(ValueError)         bad_request       the input cannot be used
├── InvalidValueError            invalid           a field's value
├── MediaTypeError               format            a request's body is not of the type that is read
├── ImageError                   corrupt           an image
│   ├── CorruptImageError        corrupt           is damaged or cut short
│   ├── ImageFormatError         format            has a format, or pixels, that are not read
│   ├── ImageTooLargeError       too_large         costs too much to decode
│   ├── ImageTooSmallError       too_small         has too few pixels
│   ├── MissingImageError        missing           is not there
│   └── NoDirectionError         no_direction      gets an embedding without a direction
├── SourceError                  bad_request       a SOURCE, a manifest or a row of it
├── ConfigError                  bad_request       a configuration or a setting
├── CheckpointError              bad_request       a checkpoint's keys, shapes or values
├── TrainingError                bad_request       a training run
│   ├── CheckpointWriteError     write_failed      could not write a checkpoint
│   ├── NoSpaceError             no_space          has no space for its checkpoints
│   └── TrainingDivergedError    diverged          stopped: its loss diverged
├── ArtifactError                bad_request       an exported network or its card
│   ├── DeviceError              device            cannot run: its GPU failed or is absent
│   └── VerificationError        bad_request       does not compute the same as its reference
├── GalleryError                 bad_request       a gallery, or an item of it
│   ├── GalleryClosedError       closed            is closed
│   ├── GalleryValueError        invalid           was given a value it does not take
│   ├── IndexFileError           index             has an index file that cannot be used
│   ├── ItemExistsError          exists            holds this id already
│   ├── ItemNotFoundError        not_found         does not hold this item
│   ├── RetentionError           too_many          would lose more than half of its items
│   ├── UnknownGalleryError      unknown_gallery   is not served
│   ├── UnknownIdentityError     unknown_identity  holds nothing of this identity
│   └── StoreError               store             cannot be read or written at all
│       ├── DiskFullError        disk_full         the disk is full
│       ├── GalleryLockedError   locked            another process writes
│       ├── GalleryMovedError    moved             has moved to another network
│       └── GalleryReadOnlyError read_only         may be read only
├── AccessError                  forbidden         a server refuses the caller
│   ├── ForbiddenError           forbidden         may not do this
│   ├── RateLimitError           rate              asks too often
│   └── UnauthorizedError        unauthorized      has no valid token
├── BusyError                    busy              there is too much to do; try again
│   └── DeadlineError            deadline          the caller's deadline has passed
├── AuditError                   audit             the audit cannot be written; nothing was done
│   └── AuditFullError           audit_full        its disk is full
└── ServiceError                 as answered       a server refused or failed, as its client sees it
    ├── BadAnswerError           answer            its answer cannot be read
    └── NoAnswerError            connection        it could not be reached
```

Each carries `field`: the field, file, row or key that is wrong, if there is one. Catch by class;
`code` is for HTTP and logs. Any other exception is a bug of ours.
"""

__all__ = [
    "AccessError",
    "ArtifactError",
    "AuditError",
    "AuditFullError",
    "BadAnswerError",
    "BusyError",
    "CheckpointError",
    "CheckpointWriteError",
    "ConfigError",
    "CorruptImageError",
    "DeadlineError",
    "DeviceError",
    "DiskFullError",
    "ForbiddenError",
    "GalleryClosedError",
    "GalleryError",
    "GalleryLockedError",
    "GalleryMovedError",
    "GalleryReadOnlyError",
    "GalleryValueError",
    "ImageError",
    "ImageFormatError",
    "ImageTooLargeError",
    "ImageTooSmallError",
    "IndexFileError",
    "InvalidValueError",
    "ItemExistsError",
    "ItemNotFoundError",
    "MediaTypeError",
    "MissingImageError",
    "NoAnswerError",
    "NoDirectionError",
    "NoSpaceError",
    "RateLimitError",
    "RetentionError",
    "ServiceError",
    "SourceError",
    "StoreError",
    "TrainingDivergedError",
    "TrainingError",
    "TrireidError",
    "UnauthorizedError",
    "UnknownGalleryError",
    "UnknownIdentityError",
    "VerificationError",
]


class TrireidError(ValueError):
    """The input cannot be used.

    Attributes:
        message: One line: what is wrong, with the value, and what to do.
        field: The part that is wrong as the caller knows it: a form field, a file, a row, a key;
            None if no part stands out.
        code: The class of the error, for programs that do not see the class.
    """

    code: str = "bad_request"

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.message, self.field = message, field


class InvalidValueError(TrireidError):
    """A field has a value that is not taken."""

    code = "invalid"


class MediaTypeError(TrireidError):
    """The body of a request is not of the type that is read."""

    code = "format"


class ImageError(TrireidError):
    """An image cannot be used."""

    code = "corrupt"


#: The name of `ImageError` before 0.2.0; it goes with 0.3.0.
PictureError = ImageError


class CorruptImageError(ImageError):
    """An image is damaged or cut short."""


class ImageFormatError(ImageError):
    """An image has a format, or pixels, that are not read."""

    code = "format"


class ImageTooLargeError(ImageError):
    """An image costs too much to decode."""

    code = "too_large"


class ImageTooSmallError(ImageError):
    """An image has too few pixels."""

    code = "too_small"


class MissingImageError(ImageError):
    """An image that is needed is not given, or its file cannot be read."""

    code = "missing"


class NoDirectionError(ImageError):
    """The network's embedding of an image has length 0, or is not finite."""

    code = "no_direction"


class SourceError(TrireidError):
    """A SOURCE, a manifest or a row of it cannot be used."""


class ConfigError(TrireidError):
    """A configuration or a setting cannot be used."""


class CheckpointError(TrireidError):
    """A checkpoint's keys, shapes or values do not fit its configuration."""


class TrainingError(TrireidError):
    """A training run cannot start or go on."""


class CheckpointWriteError(TrainingError):
    """A checkpoint could not be written."""

    code = "write_failed"


class NoSpaceError(TrainingError):
    """The disk has no space for a run's checkpoints."""

    code = "no_space"


class TrainingDivergedError(TrainingError):
    """A run stopped itself because its loss or gradients diverged."""

    code = "diverged"


class ArtifactError(TrireidError):
    """An exported network cannot be read, is damaged, or does not fit its card."""


class DeviceError(ArtifactError):
    """A GPU is absent, or failed."""

    code = "device"


class VerificationError(ArtifactError):
    """A network does not compute the same as its reference."""


class GalleryError(TrireidError):
    """A gallery, or an item of it, cannot be read or changed as asked."""


class GalleryClosedError(GalleryError):
    """A gallery is closed."""

    code = "closed"


class GalleryValueError(GalleryError, InvalidValueError):
    """A gallery was given a value that it does not take."""

    code = "invalid"


class IndexFileError(GalleryError):
    """A gallery's index file cannot be used."""

    code = "index"


class ItemExistsError(GalleryError):
    """A gallery holds an item with this id already."""

    code = "exists"


class ItemNotFoundError(GalleryError):
    """A gallery does not hold this item."""

    code = "not_found"


class RetentionError(GalleryError):
    """More than half of a gallery has reached its age, and is kept unless forced."""

    code = "too_many"


class UnknownGalleryError(GalleryError):
    """A gallery of this name is not served."""

    code = "unknown_gallery"


class UnknownIdentityError(GalleryError):
    """A gallery holds nothing of this identity."""

    code = "unknown_identity"


class StoreError(GalleryError):
    """A gallery's store cannot be read or written: this holds for each of its items."""

    code = "store"


class DiskFullError(StoreError):
    """The disk has no space for what is to be written."""

    code = "disk_full"


class GalleryLockedError(StoreError):
    """Another process has been writing for long; worth another try."""

    code = "locked"


class GalleryMovedError(StoreError):
    """A gallery has moved to another network since it was opened, or since it was read."""

    code = "moved"

    def __init__(self, folder: object) -> None:
        super().__init__(f"{folder}: has moved to another network; open it again", str(folder))


class GalleryReadOnlyError(StoreError):
    """A gallery may be read, not changed."""

    code = "read_only"


class AccessError(TrireidError):
    """A server refuses the caller."""

    code = "forbidden"


class ForbiddenError(AccessError):
    """The caller may not do this."""


class RateLimitError(AccessError):
    """The caller asks too often; `retry_after`: seconds until the next request is taken."""

    code = "rate"

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class UnauthorizedError(AccessError):
    """The caller has no valid token."""

    code = "unauthorized"


class BusyError(TrireidError):
    """There is too much to do; worth another try."""

    code = "busy"


class DeadlineError(BusyError):
    """The caller's deadline has passed; worth another try."""

    code = "deadline"

    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason}, and this request's time is over; try again")


class AuditError(TrireidError):
    """A line of the audit cannot be written, so that the request was not carried out."""

    code = "audit"


class AuditFullError(AuditError):
    """The audit's disk is full."""

    code = "audit_full"


class ServiceError(TrireidError):
    """A server refused, failed, or could not be reached.

    Attributes:
        status: Of HTTP; None if there was no answer.
        code: As the server told it; `http` if it told none.
        request_id: The request's name in the server's log and audit.
    """

    code = "http"

    def __init__(
        self,
        message: str,
        field: str | None = None,
        code: str | None = None,
        *,
        status: int | None,
        request_id: str,
    ) -> None:
        super().__init__(message, field)
        self.code = code or self.code
        self.status, self.request_id = status, request_id

    @property
    def temporary(self) -> bool:
        """Whether another try may succeed: no answer, or the server was busy or failed."""
        return self.status is None or self.status == 429 or self.status >= 500


class BadAnswerError(ServiceError):
    """A server's answer cannot be read; it may not be a trireid server."""

    code = "answer"


class NoAnswerError(ServiceError):
    """A server could not be reached, or broke off."""

    code = "connection"
