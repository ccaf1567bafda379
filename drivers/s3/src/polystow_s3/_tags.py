"""Tags of objects and buckets (User Guide, "Categorizing your storage using tags")."""

from collections.abc import Mapping

from polystow import InvalidMetadataError, TagOptions
from polystow_s3._client import Call, Client
from polystow_s3._errors import AbsentError, Subject
from polystow_s3._names import Place, place_of

_MAX_TAGS = {"object": 10, "bucket": 50}
_MAX_NAME = 128
_MAX_VALUE = 256


async def get(client: Client, path: str, options: TagOptions) -> Mapping[str, str]:
    """Ask with GetObjectTagging or GetBucketTagging, which fails for a bucket that has none."""
    place = place_of(path, options.version)
    subject = Subject("get_tags", path, bucket=place.bucket)
    try:
        answer = await client.call(Call(f"get_{place.kind}_tagging", place.params, subject))
    except AbsentError:
        return {}
    return {tag["Key"]: tag["Value"] for tag in answer.get("TagSet") or ()}


async def put(client: Client, path: str, tags: Mapping[str, str], options: TagOptions) -> None:
    """Replace with PutObjectTagging or PutBucketTagging; none at all deletes.

    Raises:
        InvalidMetadataError: S3 keeps no such tags.
    """
    place = place_of(path, options.version)
    _check(tags, place, path)
    subject = Subject("set_tags", path, bucket=place.bucket, changes=True)
    if not tags:
        await client.call(Call(f"delete_{place.kind}_tagging", place.params, subject))
        return
    tag_set = [{"Key": name, "Value": value} for name, value in tags.items()]
    params = {**place.params, "Tagging": {"TagSet": tag_set}}
    await client.call(Call(f"put_{place.kind}_tagging", params, subject))


def _check(tags: Mapping[str, str], place: Place, path: str) -> None:
    most = _MAX_TAGS[place.kind]
    if len(tags) > most:
        raise InvalidMetadataError(
            f"{len(tags)} tags are too many: S3 keeps {most} with a {place.kind}", path=path
        )
    for name, value in tags.items():
        if not 0 < len(name) <= _MAX_NAME or len(value) > _MAX_VALUE:
            raise InvalidMetadataError(
                f"the tag {name[:80]!r} can't be kept: names have 1 to {_MAX_NAME} characters, "
                f"values at most {_MAX_VALUE}",
                path=path,
            )
