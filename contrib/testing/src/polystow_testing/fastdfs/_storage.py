"""The storage server: takes, changes, describes and returns files."""

import collections
import re
import time
from collections.abc import Callable

from polystow_testing.fastdfs._contents import Spool
from polystow_testing.fastdfs._faults import Faults
from polystow_testing.fastdfs._file_ids import NAME_BYTES, path_index_of, slave_name
from polystow_testing.fastdfs._group import Group, GroupFile
from polystow_testing.fastdfs._metadata import merge, overwrite
from polystow_testing.fastdfs._node import Node
from polystow_testing.fastdfs._requests import (
    Conversation,
    Payload,
    Refusal,
    Reply,
    invalid,
    not_found,
)
from polystow_testing.fastdfs._wire import (
    EXTENSION_BYTES,
    GROUP_BYTES,
    PREFIX_BYTES,
    Command,
    Header,
    Status,
    Widths,
    decode_int,
    encode_file_info,
    pad,
    unpad,
)

MAX_SHORT_BODY_BYTES = 256 * 1024
SERVER_PICKS_PATH = 0xFF
SKIP_CRC_FLAG = 1
METADATA_SUFFIX = "-m"
_NAME_PART = re.compile(r"[A-Za-z0-9._-]*")


class Storage(Node):
    """One storage server of `group`.

    Args:
        group: Whose files it serves.
        old_download_range: Refuse a download past the end with 22, as before 6.15.4.
        faults: Shared by all nodes.
        widths: Of the addresses in replies.
        network_timeout_s: See `Node`.
    """

    def __init__(
        self,
        group: Group,
        *,
        old_download_range: bool,
        faults: Faults,
        widths: Widths,
        network_timeout_s: float | None,
    ) -> None:
        super().__init__(
            "storage", group.name, faults=faults, widths=widths, network_timeout_s=network_timeout_s
        )
        self.group = group
        self._old_download_range = old_download_range
        self._succeeded: collections.Counter[int] = collections.Counter()
        self._short: dict[int, Callable[[bytes, int], Reply]] = {
            Command.QUIT: lambda _body, _flags: Reply(raw=b"", close=True),
            Command.ACTIVE_TEST: self._active_test,
            Command.DELETE: self._delete,
            Command.SET_METADATA: self._set_metadata,
            Command.DOWNLOAD: self._download,
            Command.GET_METADATA: self._get_metadata,
            Command.FILE_INFO: self._file_info,
            Command.TRUNCATE: self._truncate,
            Command.REGENERATE_APPENDER_NAME: self._regenerate,
        }
        self._long: dict[int, Callable[[int], Conversation]] = {
            Command.UPLOAD: lambda length: self._upload(length, appender=False),
            Command.UPLOAD_APPENDER: lambda length: self._upload(length, appender=True),
            Command.UPLOAD_SLAVE: self._upload_slave,
            Command.APPEND: self._append,
            Command.MODIFY: self._modify,
        }

    def conversation(self, header: Header) -> Conversation:
        """Answer one request."""
        command, length = header.command, header.body_length
        if (short := self._short.get(command)) is not None:
            if length > MAX_SHORT_BODY_BYTES:
                raise invalid()
            reply = short((yield length), header.status)
        elif (long := self._long.get(command)) is not None:
            reply = yield from long(length)
        else:
            raise invalid()
        self._succeeded[command] += 1
        return reply

    def counters(self) -> tuple[int, ...]:
        """Return the first fields of a storage record: requests and successes by kind."""
        fields: list[int] = []
        for commands in (
            (Command.UPLOAD, Command.UPLOAD_APPENDER, Command.UPLOAD_SLAVE),
            (Command.APPEND,),
            (Command.MODIFY,),
            (Command.TRUNCATE,),
            (Command.SET_METADATA,),
            (Command.DELETE,),
            (Command.DOWNLOAD,),
            (Command.GET_METADATA,),
        ):
            fields.append(sum(self.requests[command] for command in commands))
            fields.append(sum(self._succeeded[command] for command in commands))
        return tuple(fields)

    def _active_test(self, body: bytes, _: int) -> Reply:
        if body:
            raise invalid()
        return Reply()

    # Names and files

    def _name(self, field: bytes) -> str:
        """Check a file name (`F`): its form and its store path."""
        try:
            # A C string: what follows a NUL isn't seen.
            name = unpad(field).decode("latin-1")
            path_index = path_index_of(name)
        except ValueError:
            raise invalid() from None
        if path_index >= self.group.path_count:
            raise invalid()
        return name

    def _name_in_group(self, field: bytes) -> str:
        """Check group and file name (`G F`)."""
        if unpad(field[:GROUP_BYTES]) != self.group.name.encode():
            raise invalid()
        return self._name(field[GROUP_BYTES:])

    def _file(self, name: str) -> GroupFile:
        file = self.group.find(name, self.endpoint)
        if file is None:
            raise not_found()
        return file

    def _appender(self, name: str) -> GroupFile:
        if len(name) < NAME_BYTES:
            raise invalid()
        file = self._file(name)
        if not file.is_appender:
            raise invalid()
        return file

    def _id_reply(self, file: GroupFile) -> Reply:
        return Reply(body=pad(self.group.name, GROUP_BYTES) + file.name.encode())

    # Uploads

    def _receive(self, length: int, spool: Spool) -> Conversation:
        """Take a payload; what came of it is dropped when the client goes away."""
        try:
            yield Payload(spool, length)
        except GeneratorExit:
            spool.discard()
            raise
        return Reply()

    def _upload(self, length: int, *, appender: bool) -> Conversation:
        if length < 15:
            raise invalid()
        head = yield 15
        path_index, size = head[0], decode_int(head, 1)
        extension = _extension(head[9:])
        if size < 0 or size != length - 15:
            raise invalid()
        if path_index == SERVER_PICKS_PATH:
            path_index = self.group.next_path_index()
        elif path_index >= self.group.path_count:
            raise invalid()
        self._check_room(size)
        spool = self.group.store.spool()
        yield from self._receive(size, spool)
        file = self.group.create(
            spool,
            source=self.endpoint,
            path_index=path_index,
            extension=extension,
            appender=appender,
        )
        return self._id_reply(file)

    def _upload_slave(self, length: int) -> Conversation:
        fixed = 16 + PREFIX_BYTES + EXTENSION_BYTES
        if length <= fixed:
            raise invalid()
        head = yield fixed
        master_length, size = decode_int(head), decode_int(head, 8)
        prefix = _text(unpad(head[16 : 16 + PREFIX_BYTES]))
        extension = _extension(head[16 + PREFIX_BYTES :])
        if not 0 < master_length <= length - fixed or size != length - fixed - master_length:
            raise invalid()
        if not prefix or (prefix == METADATA_SUFFIX and not extension):
            raise invalid()
        master = self._name((yield master_length))
        self._file(master)
        name = slave_name(master, prefix, extension)
        if name in self.group.files:
            raise Refusal(Status.EXISTS)
        self._check_room(size)
        spool = self.group.store.spool()
        yield from self._receive(size, spool)
        if name in self.group.files:
            spool.discard()
            raise Refusal(Status.EXISTS)
        return self._id_reply(self.group.create_slave(name, spool, source=self.endpoint))

    def _check_room(self, size: int) -> None:
        if not self.group.has_room_for(size):
            raise Refusal(Status.NO_SPACE)

    # Changes to appender files

    def _append(self, length: int) -> Conversation:
        if length <= 16:
            raise invalid()
        head = yield 16
        name_length, size = decode_int(head), decode_int(head, 8)
        if not 0 < name_length <= length - 16 or size != length - 16 - name_length:
            raise invalid()
        field = yield name_length
        file = self._appender(self._name(field))
        if size == 0:
            return Reply(body=head + field)
        yield from self._splice(file, None, size)
        return Reply()

    def _modify(self, length: int) -> Conversation:
        if length <= 24:
            raise invalid()
        head = yield 24
        name_length, offset, size = decode_int(head), decode_int(head, 8), decode_int(head, 16)
        if not 0 < name_length <= length - 24 or size != length - 24 - name_length or offset < 0:
            raise invalid()
        field = yield name_length
        file = self._appender(self._name(field))
        if offset > file.content.size_bytes:
            raise invalid()
        if size == 0:
            return Reply(body=head + field)
        yield from self._splice(file, offset, size)
        return Reply()

    def _splice(self, file: GroupFile, offset: int | None, size: int) -> Conversation:
        self._check_room(size)
        spool = self.group.store.spool()
        try:
            yield Payload(spool, size)
        except GeneratorExit:
            # The real server (6.16.1) takes an append that is cut off back, and a modification not.
            if offset is None or self.group.files.get(file.name) is not file:
                spool.discard()
            else:
                self._apply(file, offset, spool)
            raise
        if self.group.files.get(file.name) is not file:
            spool.discard()
            raise not_found()
        self._apply(file, file.content.size_bytes if offset is None else offset, spool)
        return Reply()

    def _apply(self, file: GroupFile, offset: int, spool: Spool) -> None:
        file.content.splice(offset, spool)
        file.modified = int(time.time())

    def _truncate(self, body: bytes, _: int) -> Reply:
        if len(body) <= 16:
            raise invalid()
        name_length, size = decode_int(body), decode_int(body, 8)
        if name_length != len(body) - 16 or size < 0:
            raise invalid()
        file = self._appender(self._name(body[16:]))
        if size == file.content.size_bytes:
            return Reply(body=body)
        self._check_room(size - file.content.size_bytes)
        file.content.truncate(size)
        file.modified = int(time.time())
        return Reply()

    def _regenerate(self, body: bytes, _: int) -> Reply:
        file = self._appender(self._name(body))
        return self._id_reply(self.group.regenerate(file, source=self.endpoint))

    # Whole files

    def _delete(self, body: bytes, _: int) -> Reply:
        self.group.delete(self._file(self._name_in_group(body)))
        return Reply()

    def _download(self, body: bytes, _: int) -> Reply:
        if len(body) <= 16 + GROUP_BYTES:
            raise invalid()
        offset, wanted = decode_int(body), decode_int(body, 8)
        if offset < 0 or wanted < 0:
            raise invalid()
        content = self._file(self._name_in_group(body[16:])).content
        size = content.size_bytes
        if offset >= size or (self._old_download_range and offset + wanted > size):
            raise invalid()
        length = size - offset
        return Reply(body=content.part(offset, min(length, wanted) if wanted else length))

    def _file_info(self, body: bytes, flags: int) -> Reply:
        file = self._file(self._name_in_group(body))
        crc32 = file.crc32
        # The server goes by the length: a slave with so short a name passes for a normal file.
        if file.is_appender or len(file.name) > NAME_BYTES:
            crc32 = 0 if flags & SKIP_CRC_FLAG else file.content.crc32()
        return Reply(
            body=encode_file_info(
                file.content.size_bytes, file.modified, crc32, file.source.host, self.widths
            )
        )

    # Metadata

    def _set_metadata(self, body: bytes, _: int) -> Reply:
        fixed = 17 + GROUP_BYTES
        if len(body) <= fixed:
            raise invalid()
        name_length, block_length, flag = decode_int(body), decode_int(body, 8), body[16:17]
        if name_length <= 0 or block_length < 0 or len(body) != fixed + name_length + block_length:
            raise invalid()
        if flag not in (b"O", b"M"):
            raise invalid()
        file = self._file(self._name_in_group(body[17 : fixed + name_length]))
        block = body[fixed + name_length :]
        file.metadata = overwrite(block) if flag == b"O" else merge(file.metadata, block)
        return Reply()

    def _get_metadata(self, body: bytes, _: int) -> Reply:
        file = self._file(self._name_in_group(body))
        if file.metadata is None:
            raise not_found()
        return Reply(body=file.metadata)


def _text(field: bytes) -> str:
    """Check what becomes part of a name: letters, digits, `.`, `_` and `-` are allowed."""
    text = field.decode("latin-1")
    if not _NAME_PART.fullmatch(text):
        raise invalid()
    return text


def _extension(field: bytes) -> str:
    return _text(unpad(field))
