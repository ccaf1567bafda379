"""What a bucket can be told, as values: each is the element of that name in the API reference.

A field is the API's in lower case with underscores; what has another name says so.
"""

from datetime import datetime
from typing import Any, Literal

from attrs import field, frozen

from polystow import Value

API_NAME = "api"
"""In a field's metadata: its name in the API."""

type Status = Literal["Enabled", "Disabled"]


def _named(name: str, default: Any = None) -> Any:  # noqa: ANN401 - as attrs.field
    return field(default=default, metadata={API_NAME: name})


@frozen(kw_only=True, eq=False, repr=False)
class PublicAccessBlock(Value):
    """What keeps a bucket from becoming public (PublicAccessBlockConfiguration)."""

    block_public_acls: bool = True
    ignore_public_acls: bool = True
    block_public_policy: bool = True
    restrict_public_buckets: bool = True


@frozen(kw_only=True, eq=False, repr=False)
class CorsRule(Value):
    """Which pages of other origins may do what (CORSRule)."""

    allowed_methods: tuple[str, ...]
    allowed_origins: tuple[str, ...]
    allowed_headers: tuple[str, ...] = ()
    expose_headers: tuple[str, ...] = ()
    max_age_seconds: int | None = None
    id: str | None = _named("ID")


@frozen(kw_only=True, eq=False, repr=False)
class Cors(Value):
    """The rules of a bucket (CORSConfiguration)."""

    rules: tuple[CorsRule, ...] = _named("CORSRules", ())


@frozen(kw_only=True, eq=False, repr=False)
class Tag(Value):
    """A tag (Tag)."""

    key: str
    value: str


@frozen(kw_only=True, eq=False, repr=False)
class LifecycleAnd(Value):
    """All of these (LifecycleRuleAndOperator)."""

    prefix: str | None = None
    tags: tuple[Tag, ...] = ()
    object_size_greater_than: int | None = None
    object_size_less_than: int | None = None


@frozen(kw_only=True, eq=False, repr=False)
class LifecycleFilter(Value):
    """One of these; none for all objects (LifecycleRuleFilter)."""

    prefix: str | None = None
    tag: Tag | None = None
    object_size_greater_than: int | None = None
    object_size_less_than: int | None = None
    all_of: LifecycleAnd | None = field(default=None, metadata={API_NAME: "And"})


@frozen(kw_only=True, eq=False, repr=False)
class LifecycleExpiration(Value):
    """When objects are deleted (LifecycleExpiration)."""

    date: datetime | None = None
    days: int | None = None
    expired_object_delete_marker: bool | None = None


@frozen(kw_only=True, eq=False, repr=False)
class LifecycleTransition(Value):
    """When objects go to another storage class (Transition)."""

    storage_class: str
    date: datetime | None = None
    days: int | None = None


@frozen(kw_only=True, eq=False, repr=False)
class NoncurrentTransition(Value):
    """When old versions go to another storage class (NoncurrentVersionTransition)."""

    storage_class: str
    noncurrent_days: int | None = None
    newer_noncurrent_versions: int | None = None


@frozen(kw_only=True, eq=False, repr=False)
class NoncurrentExpiration(Value):
    """When old versions are deleted (NoncurrentVersionExpiration)."""

    noncurrent_days: int | None = None
    newer_noncurrent_versions: int | None = None


@frozen(kw_only=True, eq=False, repr=False)
class AbortIncompleteUploads(Value):
    """When uploads that nobody completes are dropped (AbortIncompleteMultipartUpload)."""

    days_after_initiation: int


@frozen(kw_only=True, eq=False, repr=False)
class LifecycleRule(Value):
    """What happens to which objects (LifecycleRule)."""

    status: Status = "Enabled"
    id: str | None = _named("ID")
    filter: LifecycleFilter | None = None
    prefix: str | None = None
    expiration: LifecycleExpiration | None = None
    transitions: tuple[LifecycleTransition, ...] = ()
    noncurrent_version_transitions: tuple[NoncurrentTransition, ...] = ()
    noncurrent_version_expiration: NoncurrentExpiration | None = None
    abort_incomplete_multipart_upload: AbortIncompleteUploads | None = None


@frozen(kw_only=True, eq=False, repr=False)
class Lifecycle(Value):
    """The rules of a bucket (BucketLifecycleConfiguration)."""

    rules: tuple[LifecycleRule, ...] = ()


@frozen(kw_only=True, eq=False, repr=False)
class IndexDocument(Value):
    """What stands for a folder (IndexDocument)."""

    suffix: str


@frozen(kw_only=True, eq=False, repr=False)
class ErrorDocument(Value):
    """What is shown in place of an error (ErrorDocument)."""

    key: str


@frozen(kw_only=True, eq=False, repr=False)
class RedirectAll(Value):
    """Where all requests are sent (RedirectAllRequestsTo)."""

    host_name: str
    protocol: Literal["http", "https"] | None = None


@frozen(kw_only=True, eq=False, repr=False)
class RoutingCondition(Value):
    """Which requests (Condition)."""

    http_error_code_returned_equals: str | None = None
    key_prefix_equals: str | None = None


@frozen(kw_only=True, eq=False, repr=False)
class Redirect(Value):
    """Where they are sent (Redirect)."""

    host_name: str | None = None
    http_redirect_code: str | None = None
    protocol: Literal["http", "https"] | None = None
    replace_key_prefix_with: str | None = None
    replace_key_with: str | None = None


@frozen(kw_only=True, eq=False, repr=False)
class RoutingRule(Value):
    """Which requests are sent elsewhere (RoutingRule)."""

    redirect: Redirect
    condition: RoutingCondition | None = None


@frozen(kw_only=True, eq=False, repr=False)
class Website(Value):
    """A bucket as a website (WebsiteConfiguration)."""

    index_document: IndexDocument | None = None
    error_document: ErrorDocument | None = None
    redirect_all_requests_to: RedirectAll | None = None
    routing_rules: tuple[RoutingRule, ...] = ()


@frozen(kw_only=True, eq=False, repr=False)
class NotificationRule(Value):
    """A part of a key that counts (FilterRule)."""

    name: str
    value: str


@frozen(kw_only=True, eq=False, repr=False)
class NotificationKeys(Value):
    """Which keys (S3KeyFilter)."""

    filter_rules: tuple[NotificationRule, ...] = ()


@frozen(kw_only=True, eq=False, repr=False)
class NotificationFilter(Value):
    """Which objects (NotificationConfigurationFilter)."""

    key: NotificationKeys | None = None


@frozen(kw_only=True, eq=False, repr=False)
class TopicNotification(Value):
    """Events that go to SNS (TopicConfiguration)."""

    topic_arn: str
    events: tuple[str, ...]
    id: str | None = None
    filter: NotificationFilter | None = None


@frozen(kw_only=True, eq=False, repr=False)
class QueueNotification(Value):
    """Events that go to SQS (QueueConfiguration)."""

    queue_arn: str
    events: tuple[str, ...]
    id: str | None = None
    filter: NotificationFilter | None = None


@frozen(kw_only=True, eq=False, repr=False)
class LambdaNotification(Value):
    """Events that go to a function (LambdaFunctionConfiguration)."""

    lambda_function_arn: str
    events: tuple[str, ...]
    id: str | None = None
    filter: NotificationFilter | None = None


@frozen(kw_only=True, eq=False, repr=False)
class EventBridge(Value):
    """All events go to EventBridge (EventBridgeConfiguration)."""


@frozen(kw_only=True, eq=False, repr=False)
class Notifications(Value):
    """Who is told of what happens (NotificationConfiguration); none switches it off."""

    topic_configurations: tuple[TopicNotification, ...] = ()
    queue_configurations: tuple[QueueNotification, ...] = ()
    lambda_function_configurations: tuple[LambdaNotification, ...] = ()
    event_bridge_configuration: EventBridge | None = None


@frozen(kw_only=True, eq=False, repr=False)
class Switch(Value):
    """Whether something is done (its Status)."""

    status: Status


@frozen(kw_only=True, eq=False, repr=False)
class Minutes(Value):
    """How long (ReplicationTimeValue)."""

    minutes: int


@frozen(kw_only=True, eq=False, repr=False)
class ReplicationTime(Value):
    """Within what time (ReplicationTime)."""

    status: Status
    time: Minutes


@frozen(kw_only=True, eq=False, repr=False)
class ReplicationMetrics(Value):
    """What is measured (Metrics)."""

    status: Status
    event_threshold: Minutes | None = None


@frozen(kw_only=True, eq=False, repr=False)
class ReplicaEncryption(Value):
    """With which key (EncryptionConfiguration)."""

    replica_kms_key_id: str | None = _named("ReplicaKmsKeyID")


@frozen(kw_only=True, eq=False, repr=False)
class ReplicaOwner(Value):
    """Whose replicas are (AccessControlTranslation)."""

    owner: Literal["Destination"] = "Destination"


@frozen(kw_only=True, eq=False, repr=False)
class ReplicationDestination(Value):
    """Where replicas go (Destination); `bucket` is an ARN."""

    bucket: str
    account: str | None = None
    storage_class: str | None = None
    access_control_translation: ReplicaOwner | None = None
    encryption_configuration: ReplicaEncryption | None = None
    replication_time: ReplicationTime | None = None
    metrics: ReplicationMetrics | None = None


@frozen(kw_only=True, eq=False, repr=False)
class ReplicationAnd(Value):
    """All of these (ReplicationRuleAndOperator)."""

    prefix: str | None = None
    tags: tuple[Tag, ...] = ()


@frozen(kw_only=True, eq=False, repr=False)
class ReplicationFilter(Value):
    """One of these (ReplicationRuleFilter)."""

    prefix: str | None = None
    tag: Tag | None = None
    all_of: ReplicationAnd | None = field(default=None, metadata={API_NAME: "And"})


@frozen(kw_only=True, eq=False, repr=False)
class ReplicationSource(Value):
    """What else is replicated (SourceSelectionCriteria)."""

    sse_kms_encrypted_objects: Switch | None = None
    replica_modifications: Switch | None = None


@frozen(kw_only=True, eq=False, repr=False)
class ReplicationRule(Value):
    """Which objects are replicated (ReplicationRule)."""

    destination: ReplicationDestination
    status: Status = "Enabled"
    id: str | None = _named("ID")
    priority: int | None = None
    prefix: str | None = None
    filter: ReplicationFilter | None = None
    source_selection_criteria: ReplicationSource | None = None
    existing_object_replication: Switch | None = None
    delete_marker_replication: Switch | None = None


@frozen(kw_only=True, eq=False, repr=False)
class Replication(Value):
    """Where a bucket is replicated to (ReplicationConfiguration)."""

    role: str
    rules: tuple[ReplicationRule, ...] = ()


@frozen(kw_only=True, eq=False, repr=False)
class DefaultKey(Value):
    """With what objects are encrypted (ServerSideEncryptionByDefault)."""

    sse_algorithm: str = _named("SSEAlgorithm", "AES256")
    kms_master_key_id: str | None = _named("KMSMasterKeyID")


@frozen(kw_only=True, eq=False, repr=False)
class EncryptionRule(Value):
    """How objects are encrypted (ServerSideEncryptionRule)."""

    apply_server_side_encryption_by_default: DefaultKey | None = None
    bucket_key_enabled: bool | None = None


@frozen(kw_only=True, eq=False, repr=False)
class DefaultEncryption(Value):
    """How new objects are encrypted (ServerSideEncryptionConfiguration)."""

    rules: tuple[EncryptionRule, ...] = ()


@frozen(kw_only=True, eq=False, repr=False)
class DefaultRetention(Value):
    """How long new objects are kept (DefaultRetention)."""

    mode: Literal["GOVERNANCE", "COMPLIANCE"]
    days: int | None = None
    years: int | None = None


@frozen(kw_only=True, eq=False, repr=False)
class ObjectLockRule(Value):
    """What counts for new objects (ObjectLockRule)."""

    default_retention: DefaultRetention


@frozen(kw_only=True, eq=False, repr=False)
class ObjectLock(Value):
    """Whether objects can be locked (ObjectLockConfiguration)."""

    object_lock_enabled: Literal["Enabled"] = "Enabled"
    rule: ObjectLockRule | None = None


@frozen(kw_only=True, eq=False, repr=False)
class OwnershipRule(Value):
    """Whose objects are, and whether ACLs count (OwnershipControlsRule)."""

    object_ownership: Literal["BucketOwnerPreferred", "ObjectWriter", "BucketOwnerEnforced"]


@frozen(kw_only=True, eq=False, repr=False)
class Ownership(Value):
    """Whose objects are (OwnershipControls)."""

    rules: tuple[OwnershipRule, ...] = ()


@frozen(kw_only=True, eq=False, repr=False)
class Policy(Value):
    """Who may do what, in AWS's policy language: a JSON document as text."""

    policy: str
