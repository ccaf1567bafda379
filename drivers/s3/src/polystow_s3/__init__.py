"""The S3 driver of Polystow.

Installed, it is found by its entry point under the name `s3`; importing it imports no SDK.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from polystow_s3._config import S3Config
from polystow_s3._credentials import (
    ChainCredentials,
    Credentials,
    CredentialsProvider,
    CredentialsSource,
    MetadataCredentials,
    ProfileCredentials,
    credentials_from_env,
    credentials_from_url,
    environment_credentials,
    merge_credentials,
)
from polystow_s3._spec import SPEC

if TYPE_CHECKING:
    from polystow_s3._driver import S3Driver
    from polystow_s3._locks import ArchiveState, Retention
    from polystow_s3._presign import PostPolicy, PresignedPost
    from polystow_s3._setting_values import (
        AbortIncompleteUploads,
        Cors,
        CorsRule,
        DefaultEncryption,
        DefaultKey,
        DefaultRetention,
        EncryptionRule,
        ErrorDocument,
        EventBridge,
        IndexDocument,
        LambdaNotification,
        Lifecycle,
        LifecycleAnd,
        LifecycleExpiration,
        LifecycleFilter,
        LifecycleRule,
        LifecycleTransition,
        Minutes,
        NoncurrentExpiration,
        NoncurrentTransition,
        NotificationFilter,
        NotificationKeys,
        NotificationRule,
        Notifications,
        ObjectLock,
        ObjectLockRule,
        Ownership,
        OwnershipRule,
        Policy,
        PublicAccessBlock,
        QueueNotification,
        Redirect,
        RedirectAll,
        ReplicaEncryption,
        ReplicaOwner,
        Replication,
        ReplicationAnd,
        ReplicationDestination,
        ReplicationFilter,
        ReplicationMetrics,
        ReplicationRule,
        ReplicationSource,
        ReplicationTime,
        RoutingCondition,
        RoutingRule,
        Switch,
        Tag,
        TopicNotification,
        Website,
    )
    from polystow_s3._settings import (
        CORS,
        ENCRYPTION,
        LIFECYCLE,
        NOTIFICATIONS,
        OBJECT_LOCK,
        OWNERSHIP,
        POLICY,
        PUBLIC_ACCESS_BLOCK,
        REPLICATION,
        WEBSITE,
        BucketSetting,
    )

__all__ = [
    "CORS",
    "ENCRYPTION",
    "LIFECYCLE",
    "NOTIFICATIONS",
    "OBJECT_LOCK",
    "OWNERSHIP",
    "POLICY",
    "PUBLIC_ACCESS_BLOCK",
    "REPLICATION",
    "SPEC",
    "WEBSITE",
    "AbortIncompleteUploads",
    "ArchiveState",
    "BucketSetting",
    "ChainCredentials",
    "Cors",
    "CorsRule",
    "Credentials",
    "CredentialsProvider",
    "CredentialsSource",
    "DefaultEncryption",
    "DefaultKey",
    "DefaultRetention",
    "EncryptionRule",
    "ErrorDocument",
    "EventBridge",
    "IndexDocument",
    "LambdaNotification",
    "Lifecycle",
    "LifecycleAnd",
    "LifecycleExpiration",
    "LifecycleFilter",
    "LifecycleRule",
    "LifecycleTransition",
    "MetadataCredentials",
    "Minutes",
    "NoncurrentExpiration",
    "NoncurrentTransition",
    "NotificationFilter",
    "NotificationKeys",
    "NotificationRule",
    "Notifications",
    "ObjectLock",
    "ObjectLockRule",
    "Ownership",
    "OwnershipRule",
    "Policy",
    "PostPolicy",
    "PresignedPost",
    "ProfileCredentials",
    "PublicAccessBlock",
    "QueueNotification",
    "Redirect",
    "RedirectAll",
    "ReplicaEncryption",
    "ReplicaOwner",
    "Replication",
    "ReplicationAnd",
    "ReplicationDestination",
    "ReplicationFilter",
    "ReplicationMetrics",
    "ReplicationRule",
    "ReplicationSource",
    "ReplicationTime",
    "Retention",
    "RoutingCondition",
    "RoutingRule",
    "S3Config",
    "S3Driver",
    "Switch",
    "Tag",
    "TopicNotification",
    "Website",
    "credentials_from_env",
    "credentials_from_url",
    "environment_credentials",
    "merge_credentials",
]

# What only asks for the spec does not pay for the driver's modules.
_LATER = {
    **dict.fromkeys(("PostPolicy", "PresignedPost"), "polystow_s3._presign"),
    **dict.fromkeys(("ArchiveState", "Retention"), "polystow_s3._locks"),
    **dict.fromkeys(
        (
            "BucketSetting",
            "CORS",
            "ENCRYPTION",
            "LIFECYCLE",
            "NOTIFICATIONS",
            "OBJECT_LOCK",
            "OWNERSHIP",
            "POLICY",
            "PUBLIC_ACCESS_BLOCK",
            "REPLICATION",
            "WEBSITE",
        ),
        "polystow_s3._settings",
    ),
    "S3Driver": "polystow_s3._driver",
}


if not TYPE_CHECKING:  # to whom every name would exist otherwise

    def __getattr__(name: str) -> object:
        if name in _LATER:
            return getattr(import_module(_LATER[name]), name)
        if name in __all__:
            return getattr(import_module("polystow_s3._setting_values"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
