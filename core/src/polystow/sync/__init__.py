"""Polystow for code that is not async: the same names and types, without `await`.

```python
from polystow import sync

with sync.open_storage("polystow.toml") as storage:
    info = storage.upload("report.pdf", Path("report.pdf"))
    print(storage.read_bytes(info.file_id))
```
"""

from polystow.sync._content import Content, NewFile
from polystow.sync._open import open_storage
from polystow.sync._portal import Backend
from polystow.sync._storage import Storage
from polystow.sync._streams import Listing, MultipartSession, ReadStream, WriteStream, ZipStream

__all__ = [
    "Backend",
    "Content",
    "Listing",
    "MultipartSession",
    "NewFile",
    "ReadStream",
    "Storage",
    "WriteStream",
    "ZipStream",
    "open_storage",
]
