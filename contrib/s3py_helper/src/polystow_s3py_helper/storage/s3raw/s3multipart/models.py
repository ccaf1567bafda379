"""What uploads in parts give and take, under botocore's names."""

from datetime import datetime

from pydantic import BaseModel, Field


class InitiateResult(BaseModel):
    """An upload that has begun."""

    upload_id: str = Field(..., alias="uploadId")
    bucket: str
    key: str


class CompletedPart(BaseModel):
    """A part that was uploaded."""

    part_number: int = Field(..., alias="PartNumber")
    e_tag: str = Field(..., alias="ETag")


class PartInfo(BaseModel):
    """A part that the service has."""

    part_number: int = Field(..., alias="PartNumber")
    size: int = Field(..., alias="Size")
    last_modified: datetime = Field(..., alias="LastModified")
    e_tag: str = Field(..., alias="ETag")


class ListPartsResult(BaseModel):
    """The parts that the service has."""

    parts: list[PartInfo] = Field(default_factory=list[PartInfo], alias="Parts")


class CompleteResult(BaseModel):
    """The object that the parts have become."""

    location: str = Field(..., alias="Location")
    bucket: str = Field(..., alias="Bucket")
    key: str = Field(..., alias="Key")
