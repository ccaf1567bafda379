"""One async API and one kind of file id over every place a file can live.

Applications use `open_storage` and `Storage`; drivers implement `StorageDriver` and announce
themselves with a `DriverSpec`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from polystow._admin_values import (
        AUTHENTICATED,
        EVERYONE,
        Acl,
        AclOptions,
        CannedAcl,
        ContainerInfo,
        ContainerPage,
        Counter,
        CreateContainerOptions,
        DeleteContainerOptions,
        Grant,
        ObjectVersion,
        Permission,
        TagOptions,
        Versioning,
        VersionPage,
        check_tags,
        parse_container,
    )
    from polystow._arguments import ReadArguments, UploadArguments, WriteArguments
    from polystow._body import (
        Body,
        BytesBody,
        Content,
        FileObjectBody,
        PathBody,
        StreamBody,
        make_body,
    )
    from polystow._composite import CompositeDriver, NewObject, WritePolicy
    from polystow._conditions import check_read
    from polystow._config import build_config
    from polystow._containers import ContainerMap, ContainerNames
    from polystow._crc32 import crc32_of
    from polystow._digests import combine_crc, combine_crc32
    from polystow._driver import (
        API_VERSION,
        Capabilities,
        ReadStream,
        Route,
        Saved,
        StorageDriver,
        SupportsAcl,
        SupportsAppend,
        SupportsBareIds,
        SupportsContainers,
        SupportsCopy,
        SupportsDeleteMany,
        SupportsHealth,
        SupportsList,
        SupportsMetadata,
        SupportsMultipart,
        SupportsPresign,
        SupportsRoutes,
        SupportsTags,
        SupportsVersions,
        WriteAt,
    )
    from polystow._encryption import Encryption
    from polystow._errors import (
        AlreadyExistsError,
        BackendUnavailableError,
        ChecksumMismatchError,
        ConfigError,
        ConfigProblem,
        ContainerNotEmptyError,
        DriverConflictError,
        DriverLoadError,
        DriverNotFoundError,
        FileTooLargeError,
        InvalidFileTypeError,
        InvalidMetadataError,
        InvalidPartError,
        InvalidPathError,
        LifecycleError,
        NoRouteError,
        NoSpaceError,
        NotFoundError,
        NotModifiedError,
        OperationTimeoutError,
        Outcome,
        PartOrderError,
        PartTooSmallError,
        PermissionDeniedError,
        PreconditionFailedError,
        RangeNotSatisfiableError,
        RateLimitedError,
        StorageError,
        TransportError,
        TruncatedBodyError,
        UnsupportedOperationError,
        UploadNotFoundError,
        errors_about,
    )
    from polystow._explain import Explanation, Setting
    from polystow._fetch_rules import FetchRules
    from polystow._health import Health
    from polystow._ids import (
        FileId,
        ObjectPath,
        check_key,
        format_file_id,
        format_uri,
        parse_id,
        parse_object_path,
    )
    from polystow._layers import DeadlineLayer, Layer, Operation, wrap
    from polystow._listing import KeysFrom, PlannedPage, plan_page
    from polystow._memory import MemoryConfig, MemoryDriver
    from polystow._mount import Mount
    from polystow._multipart import MultipartSession
    from polystow._naming import check_filename, exact_path, is_new_key, new_key
    from polystow._open import open_storage, validate_config
    from polystow._opening import StorageSource
    from polystow._outbox import Outbox
    from polystow._pages import Listing
    from polystow._policy import Attempt, Request, RequestPolicy, RequestPolicyConfig
    from polystow._progress import Progress
    from polystow._ranges import ByteRange, ContentRange
    from polystow._registry import InstalledDriver, Registry
    from polystow._retry import Retry, retry
    from polystow._secret import Secret
    from polystow._sources import ConfigSource, config_from_env, config_from_toml
    from polystow._spec import DriverContext, DriverSpec
    from polystow._storage import Storage
    from polystow._threads import clean_up_in_thread, in_thread
    from polystow._tracing import Span, TracingLayer, log_span
    from polystow._uploading import NewFile, UploadBatch, UploadFailure
    from polystow._uris import Uri
    from polystow._validation import FileRules, ValidationLayer
    from polystow._value import Value
    from polystow._values import (
        DEFAULT_CHUNK_SIZE_BYTES,
        BatchResult,
        Checksum,
        CompleteOptions,
        CopyOptions,
        DeleteOptions,
        DriverInfo,
        Failure,
        KeyPolicy,
        Limits,
        ListOptions,
        ListPage,
        MetadataOptions,
        MultipartPage,
        MultipartUpload,
        NameHint,
        ObjectHeaders,
        ObjectInfo,
        Part,
        PartLimits,
        PartOptions,
        PresignMethod,
        PresignOptions,
        ReadOptions,
        ResponseHeaders,
        StatOptions,
        Target,
        WriteOptions,
    )
    from polystow._write_stream import WriteStream
    from polystow._zip import ZipStream
    from polystow._zip_fetch import ZipMember

__all__ = [
    "API_VERSION",
    "AUTHENTICATED",
    "DEFAULT_CHUNK_SIZE_BYTES",
    "EVERYONE",
    "Acl",
    "AclOptions",
    "AlreadyExistsError",
    "Attempt",
    "BackendUnavailableError",
    "BatchResult",
    "Body",
    "ByteRange",
    "BytesBody",
    "CannedAcl",
    "Capabilities",
    "Checksum",
    "ChecksumMismatchError",
    "CompleteOptions",
    "CompositeDriver",
    "ConfigError",
    "ConfigProblem",
    "ConfigSource",
    "ContainerInfo",
    "ContainerMap",
    "ContainerNames",
    "ContainerNotEmptyError",
    "ContainerPage",
    "Content",
    "ContentRange",
    "CopyOptions",
    "Counter",
    "CreateContainerOptions",
    "DeadlineLayer",
    "DeleteContainerOptions",
    "DeleteOptions",
    "DriverConflictError",
    "DriverContext",
    "DriverInfo",
    "DriverLoadError",
    "DriverNotFoundError",
    "DriverSpec",
    "Encryption",
    "Explanation",
    "Failure",
    "FetchRules",
    "FileId",
    "FileObjectBody",
    "FileRules",
    "FileTooLargeError",
    "Grant",
    "Health",
    "InstalledDriver",
    "InvalidFileTypeError",
    "InvalidMetadataError",
    "InvalidPartError",
    "InvalidPathError",
    "KeyPolicy",
    "KeysFrom",
    "Layer",
    "LifecycleError",
    "Limits",
    "ListOptions",
    "ListPage",
    "Listing",
    "MemoryConfig",
    "MemoryDriver",
    "MetadataOptions",
    "Mount",
    "MultipartPage",
    "MultipartSession",
    "MultipartUpload",
    "NameHint",
    "NewFile",
    "NewObject",
    "NoRouteError",
    "NoSpaceError",
    "NotFoundError",
    "NotModifiedError",
    "ObjectHeaders",
    "ObjectInfo",
    "ObjectPath",
    "ObjectVersion",
    "Operation",
    "OperationTimeoutError",
    "Outbox",
    "Outcome",
    "Part",
    "PartLimits",
    "PartOptions",
    "PartOrderError",
    "PartTooSmallError",
    "PathBody",
    "Permission",
    "PermissionDeniedError",
    "PlannedPage",
    "PreconditionFailedError",
    "PresignMethod",
    "PresignOptions",
    "Progress",
    "RangeNotSatisfiableError",
    "RateLimitedError",
    "ReadArguments",
    "ReadOptions",
    "ReadStream",
    "Registry",
    "Request",
    "RequestPolicy",
    "RequestPolicyConfig",
    "ResponseHeaders",
    "Retry",
    "Route",
    "Saved",
    "Secret",
    "Setting",
    "Span",
    "StatOptions",
    "Storage",
    "StorageDriver",
    "StorageError",
    "StorageSource",
    "StreamBody",
    "SupportsAcl",
    "SupportsAppend",
    "SupportsBareIds",
    "SupportsContainers",
    "SupportsCopy",
    "SupportsDeleteMany",
    "SupportsHealth",
    "SupportsList",
    "SupportsMetadata",
    "SupportsMultipart",
    "SupportsPresign",
    "SupportsRoutes",
    "SupportsTags",
    "SupportsVersions",
    "TagOptions",
    "Target",
    "TracingLayer",
    "TransportError",
    "TruncatedBodyError",
    "UnsupportedOperationError",
    "UploadArguments",
    "UploadBatch",
    "UploadFailure",
    "UploadNotFoundError",
    "Uri",
    "ValidationLayer",
    "Value",
    "VersionPage",
    "Versioning",
    "WriteArguments",
    "WriteAt",
    "WriteOptions",
    "WritePolicy",
    "WriteStream",
    "ZipMember",
    "ZipStream",
    "build_config",
    "check_filename",
    "check_key",
    "check_read",
    "check_tags",
    "clean_up_in_thread",
    "combine_crc",
    "combine_crc32",
    "config_from_env",
    "config_from_toml",
    "crc32_of",
    "errors_about",
    "exact_path",
    "format_file_id",
    "format_uri",
    "in_thread",
    "is_new_key",
    "log_span",
    "make_body",
    "new_key",
    "open_storage",
    "parse_container",
    "parse_id",
    "parse_object_path",
    "plan_page",
    "retry",
    "validate_config",
    "wrap",
]

# Modules are imported when something of theirs is asked for: all of them together take longer than
# the first request does.
_HOMES = {
    "_admin_values": (
        "AUTHENTICATED EVERYONE Acl AclOptions CannedAcl ContainerInfo ContainerPage Counter "
        "CreateContainerOptions DeleteContainerOptions Grant ObjectVersion Permission "
        "TagOptions Versioning VersionPage check_tags parse_container"
    ),
    "_arguments": "ReadArguments UploadArguments WriteArguments",
    "_body": "Body BytesBody Content FileObjectBody PathBody StreamBody make_body",
    "_composite": "CompositeDriver NewObject WritePolicy",
    "_conditions": "check_read",
    "_config": "build_config",
    "_containers": "ContainerMap ContainerNames",
    "_crc32": "crc32_of",
    "_digests": "combine_crc combine_crc32",
    "_driver": (
        "API_VERSION Capabilities ReadStream Route Saved StorageDriver SupportsAcl "
        "SupportsAppend SupportsBareIds SupportsContainers SupportsCopy SupportsDeleteMany "
        "SupportsHealth SupportsList SupportsMetadata SupportsMultipart SupportsPresign "
        "SupportsRoutes SupportsTags SupportsVersions WriteAt"
    ),
    "_encryption": "Encryption",
    "_errors": (
        "AlreadyExistsError BackendUnavailableError ChecksumMismatchError ConfigError "
        "ConfigProblem ContainerNotEmptyError DriverConflictError DriverLoadError "
        "DriverNotFoundError FileTooLargeError InvalidFileTypeError InvalidMetadataError "
        "InvalidPartError InvalidPathError LifecycleError NoRouteError NoSpaceError "
        "NotFoundError NotModifiedError OperationTimeoutError Outcome PartOrderError "
        "PartTooSmallError PermissionDeniedError PreconditionFailedError "
        "RangeNotSatisfiableError RateLimitedError StorageError TransportError "
        "TruncatedBodyError UnsupportedOperationError UploadNotFoundError errors_about"
    ),
    "_explain": "Explanation Setting",
    "_fetch_rules": "FetchRules",
    "_health": "Health",
    "_ids": "FileId ObjectPath check_key format_file_id format_uri parse_id parse_object_path",
    "_layers": "DeadlineLayer Layer Operation wrap",
    "_listing": "KeysFrom PlannedPage plan_page",
    "_memory": "MemoryConfig MemoryDriver",
    "_mount": "Mount",
    "_multipart": "MultipartSession",
    "_naming": "check_filename exact_path is_new_key new_key",
    "_open": "open_storage validate_config",
    "_opening": "StorageSource",
    "_outbox": "Outbox",
    "_pages": "Listing",
    "_policy": "Attempt Request RequestPolicy RequestPolicyConfig",
    "_progress": "Progress",
    "_ranges": "ByteRange ContentRange",
    "_registry": "InstalledDriver Registry",
    "_retry": "Retry retry",
    "_secret": "Secret",
    "_sources": "ConfigSource config_from_env config_from_toml",
    "_spec": "DriverContext DriverSpec",
    "_storage": "Storage",
    "_threads": "clean_up_in_thread in_thread",
    "_tracing": "Span TracingLayer log_span",
    "_uploading": "NewFile UploadBatch UploadFailure",
    "_uris": "Uri",
    "_validation": "FileRules ValidationLayer",
    "_value": "Value",
    "_values": (
        "DEFAULT_CHUNK_SIZE_BYTES BatchResult Checksum CompleteOptions CopyOptions "
        "DeleteOptions DriverInfo Failure KeyPolicy Limits ListOptions ListPage MetadataOptions "
        "MultipartPage MultipartUpload NameHint ObjectHeaders ObjectInfo Part PartLimits "
        "PartOptions PresignMethod PresignOptions ReadOptions ResponseHeaders StatOptions "
        "Target WriteOptions"
    ),
    "_write_stream": "WriteStream",
    "_zip": "ZipStream",
    "_zip_fetch": "ZipMember",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}


if not TYPE_CHECKING:  # to whom every name would exist otherwise

    def __getattr__(name: str) -> object:
        home = _HOME_OF.get(name)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value: object = getattr(import_module(f"{__name__}.{home}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return __all__
